"""Two language models in one search, against an enumeration of all that can be said.

Models, lexicons, weights and emissions are drawn at random; the second weight has any sign.
"""

import random

import numpy as np
import pytest
from random_searches import ALL, Case, random_arpa, words_of
from small_words import SMALL

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.automaton import CompiledNgramLM, automaton_file
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import ArpaFile, CompiledSearch
from lm.search.context import Context, Entry
from lm.search.setup import SearchError, prepare
from lm.search.streaming import CompiledStream
from lm.search.two_models import TwoFiles

WAYS = ("state", "history")


class TwoCase(Case):
    """A random case with another model, which lacks a word where `lacking`."""

    def __init__(self, seed, folder, lacking=False):
        super().__init__(seed, folder)
        draw = random.Random(-1 - seed)
        if self.arpa is None:
            self.arpa = random_arpa(self.folder / "lm.arpa", draw)
            self.model = CompiledNgramLM(automaton_file(self.arpa, self.folder), self.words)
        known = ("A", "AB", "BE") if lacking else tuple(self.words[:-1])
        self.other = random_arpa(self.folder / "other.arpa", draw, known)
        self.second = CompiledNgramLM(automaton_file(self.other, self.folder), self.words)
        self.weights = DecodingWeights(
            draw.uniform(0.3, 3),
            self.weights.word_score,
            sil_score=self.weights.sil_score,
            second_lm_weight=draw.choice((-1, 1)) * draw.uniform(0.1, 2),
        )

    def said(self, words) -> float:
        """Both models' log10 p of a sentence; the second by its weight beside the first's."""
        first, model = super().said(words), self.model
        self.model = self.second
        second = super().said(words)
        self.model = model
        return first + second * self.weights.second_lm_weight / self.weights.lm_weight

    def compiled(self, recombine, beam=ALL, threshold=float(ALL), nbest=1, **more):
        options = BeamOptions(beam, None, threshold, nbest, recombine, **more)
        return CompiledSearch.open(
            SMALL,
            self.weights,
            options,
            self.lexicon,
            self.arpa,
            self.folder,
            self.hotwords,
            second=self.other,
        )

    def batched(self, recombine, beam=ALL, threshold=float(ALL), nbest=1):
        files = [ArpaFile(path, self.folder) for path in (self.arpa, self.other)]
        both = TwoFiles(*files, self.weights.second_lm_weight)
        setup = prepare(SMALL, self.lexicon, both, self.hotwords)
        options = BeamOptions(beam, None, threshold, nbest, recombine)
        return BatchedSearch(setup, both.of(self.weights.second_ratio), self.weights, options)


def check(found, expected, case, seed):
    """Hypotheses, best first, are the best of all that can be said, with their scores."""
    best = sorted(expected.values(), reverse=True)[: len(found)]
    assert [one.score for one in found] == pytest.approx(best, abs=1e-4), seed
    for one in found:
        assert one.score == pytest.approx(expected[words_of(one)], abs=1e-4), seed
        assert one.lm_score == pytest.approx(case.said(words_of(one)), abs=1e-4), seed


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("way", WAYS)
def test_the_best_sentences_are_those_of_all(tmp_path, way, block):
    """Of the best path and of lists, with words that the second model lacks, and with phrases."""
    for seed in range(15 * block, 15 * (block + 1)):
        case = TwoCase(seed, tmp_path, lacking=seed % 3 == 0)
        if seed % 5 == 0:
            case.hotwords = {"A BE": case.draw.uniform(-1, 2)}
        emission = case.emission(case.draw.randint(1, 6))
        expected = case.enumerated(emission)
        for nbest in (1, min(4, len(expected))):
            [found] = case.compiled(way, nbest=nbest)(emission[None], [len(emission)])
            assert len(found) == nbest
            check(found, expected, case, seed)


def test_the_batched_search_finds_the_same(tmp_path):
    for seed in range(100, 120):
        case = TwoCase(seed, tmp_path)
        emission = case.emission(case.draw.randint(1, 6))
        for way in WAYS:
            [found] = case.batched(way)(emission[None], [len(emission)])
            check(found, case.enumerated(emission), case, seed)


def test_a_narrow_beam_is_alike_in_both_engines(tmp_path):
    """Also where a word gains by a negative weight, which no bound foresees."""
    for seed in range(200, 215):
        case = TwoCase(seed, tmp_path)
        emission = case.emission(25)
        [[one]] = case.compiled("state", 5, 6.0)(emission[None], [25])
        [[other]] = case.batched("state", 5, 6.0)(emission[None], [25])
        assert words_of(one) == words_of(other), seed
        assert one.score == pytest.approx(other.score, abs=1e-3)


def test_the_paths_of_the_lattice_have_both_scores(tmp_path):
    for seed in range(300, 312):
        case = TwoCase(seed, tmp_path)
        emission = case.emission(5)
        search = case.compiled("state", lattice=True, lattice_beam=float(ALL))
        [[best]] = search(emission[None], [5])
        lattice = best.lattice
        path = lattice.best_path()
        assert lattice.scores[path].sum() == pytest.approx(best.score, abs=1e-4)
        assert lattice.lm[path].sum() == pytest.approx(best.lm_score, abs=1e-4)


def test_pieces_of_a_sentence_are_the_sentence(tmp_path):
    """Both models' states are carried over a cut, here between two words."""
    for seed in range(400, 412):
        case = TwoCase(seed, tmp_path)
        case.hotwords, cut = {}, np.full((1, 4), -30.0, np.float32)
        cut[0, 1] = 0.0  # a boundary
        first, then = case.emission(4), case.emission(4)
        whole = np.concatenate([first, cut, then])
        [[expected]] = case.compiled("state")(whole[None], [len(whole)])
        search = case.compiled("state")
        piece = np.concatenate([first, cut])
        found = search(piece[None], [5], contexts=[Context(goes_on=True)])[0]
        entries = tuple(Entry(words_of(one), one.score) for one in found)
        [[last]] = search(then[None], [4], contexts=[Context(entries)])
        words = (*entries[last.entry].words, *words_of(last))
        if len(entries) < 16:  # else some were dropped
            assert words == words_of(expected), seed


def test_a_stream_hears_both(tmp_path):
    for seed in range(500, 508):
        case = TwoCase(seed, tmp_path)
        emission = case.emission(12)
        [[best]] = case.compiled("state")(emission[None], [12])
        live = CompiledStream(case.compiled("state"))
        heard = [live.advance(emission[i : i + 3]) for i in range(0, 12, 3)]
        words = [word.text for one in [*heard, live.end_sentence()] for word in one.final]
        assert tuple(words) == words_of(best), seed


def test_the_words_with_the_fewest_errors_are_scored_by_both(tmp_path):
    for seed in range(600, 612):
        case = TwoCase(seed, tmp_path)
        emission = case.emission(6)
        [[found]] = case.compiled("state", mbr=True, mbr_scale=0.2)(emission[None], [6])
        expected = case.enumerated(emission)[words_of(found)]
        assert found.score == pytest.approx(expected, abs=1e-4), seed


def test_models_that_cannot_score_together_are_refused(tmp_path):
    case = TwoCase(1, tmp_path)
    text = case.other.read_text()
    no_unknown = [line for line in text.splitlines() if not line.endswith("\t<unk>")]
    count = text.split("ngram 1=")[1].split("\n")[0]
    lines = "\n".join(no_unknown).replace(f"ngram 1={count}", f"ngram 1={int(count) - 1}", 1)
    case.other.write_text("\n".join(x for x in lines.split("\n") if "<unk>" not in x) + "\n")
    case.weights = DecodingWeights(1.0, second_lm_weight=-0.2)
    with pytest.raises(SearchError, match="has no <unk>.*-0.2 turns into a reward of 20"):
        case.compiled("state")
    case.weights = DecodingWeights(1.0, second_lm_weight=0.2)
    case.compiled("state")
    case.other = random_arpa(
        tmp_path / "small.arpa", random.Random(1), tuple(word.lower() for word in case.words[:-1])
    )
    with pytest.raises(SearchError, match="bring the language models to one case"):
        case.compiled("state")
    with pytest.raises(ValueError, match="must be above 0 for the first of two language models"):
        DecodingWeights(0.0, second_lm_weight=1.0)
