"""n-best lists scored again: the same as by hand, kept for tuning, and every failure heard."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.searches.simulation import Simulation
from lm.decoding import BeamOptions, DecodingWeights
from lm.lattice import confidences
from lm.rescoring import lm_scores, ranked
from lm.score_parts import parts_of
from lm.search.alignment import aligned
from lm.search.compiled import CompiledSearch
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import CHARACTERS, Vocabulary
from w2v2cli.data.locations import LmLocation
from w2v2cli.recognition.searching.build import open_language_model
from w2v2cli.recognition.searching.lattices import inner_beam
from w2v2cli.recognition.searching.processes import SearchFailed, SearchPool
from w2v2cli.recognition.searching.rescoring import Rescoring, RescoringPool
from w2v2cli.recognition.searching.spec import SearchSpec

VOCABULARY = Vocabulary.from_labels(CHARACTERS)
WORDS = "ONE WON TWO TOO TO FOUR FOR FORE".split()
FIRST, SECOND = DecodingWeights(1.0, 0.0), DecodingWeights(2.0, 0.7)


def arpa(path, scores) -> LmLocation:
    return arpa_of(path, dict(zip(WORDS, scores, strict=True)))


def arpa_of(path, scores) -> LmLocation:
    """log10 p by word; None for those that the model lacks."""
    known = {word: score for word, score in scores.items() if score is not None}
    lines = "\n".join(f"{score}\t{word}" for word, score in known.items())
    path.write_text(
        f"\\data\\\nngram 1={len(known) + 3}\n\n"
        f"\\1-grams:\n-3\t<unk>\n0\t<s>\n-1\t</s>\n{lines}\n\n\\end\\\n"
    )
    return LmLocation(str(path), path, None, "arpa")


@pytest.fixture
def spec(tmp_path):
    first = arpa(tmp_path / "first.arpa", [-1.0] * len(WORDS))
    return SearchSpec(
        CHARACTERS,
        "compiled",
        first.path,
        spell_words=True,
        weights=FIRST,
        options=BeamOptions(50, nbest=6),
        cache=tmp_path / "cache",
    )


@pytest.fixture
def second(tmp_path):
    return arpa(tmp_path / "second.arpa", [-0.3 * i - 0.1 for i in range(len(WORDS))])


@pytest.fixture(scope="module")
def emissions():
    return Simulation(VOCABULARY, mistaken=0.25, seed=2)(
        ["ONE TWO FOUR", "TOO", "FOR TO", "WON"] * 3
    )


def opened(location, spec):
    return open_language_model(location, cache=spec.cache, device="cpu", lm_cache_gb=1.0)


def by_hand(spec, second, emissions, weights, **more):
    search = CompiledSearch.open(
        VOCABULARY, FIRST, spec.options, Lexicon.from_words(WORDS, VOCABULARY), spec.lm, spec.cache
    )
    nbests = [search(emission[None], [len(emission)])[0] for emission in emissions]
    scores = lm_scores(nbests, opened(second, spec))
    return [ranked(n, s, weights, **more) for n, s in zip(nbests, scores, strict=True)]


def test_it_is_the_search_and_then_the_scoring(spec, second, emissions):
    how = Rescoring(second, SECOND, first_pass_weight=0.4, nbest=6)
    with RescoringPool(SearchPool(spec, 2), how, nbest=3) as pool:
        pool.wait_until_ready()
        found = [
            future.result(timeout=60)
            for future in [pool.submit(emission) for emission in emissions]
        ]
    expected = by_hand(spec, second, emissions, SECOND, first_pass_weight=0.4)
    assert found == [nbest[:3] for nbest in expected]
    firsts = by_hand(spec, LmLocation("first", spec.lm, None, "arpa"), emissions, FIRST)
    assert [nbest[0].text for nbest in found] != [
        nbest[0].text for nbest in firsts
    ]  # or nothing was shown


def inner_of(spec, searches):
    """A first pass that notes the weights of every search."""
    inner = SearchPool(spec, 1)

    def counted(emission, weights=None, context=None, submit=inner.submit):
        searches.append(weights)
        return submit(emission)

    inner.submit = counted
    return inner


def test_kept_lists_are_searched_once_and_ranked_by_any_weights(spec, second, emissions):
    searches = []
    how = Rescoring(second, SECOND, nbest=6)
    with RescoringPool(inner_of(spec, searches), how, nbest=6, keep=True) as pool:
        for weights in (SECOND, DecodingWeights(0.0, 0.0), DecodingWeights(4.0, -2.0)):
            found = [
                future.result(timeout=60)
                for future in [pool.submit(e, weights) for e in emissions[:4]]
            ]
            assert found == by_hand(spec, second, emissions[:4], weights)
    assert searches == [None] * 4  # the first pass keeps its own weights
    each = [SECOND, DecodingWeights(0.0, 0.0), DecodingWeights(4.0, -2.0)]
    searches.clear()
    with RescoringPool(inner_of(spec, searches), how, nbest=6, keep=True) as pool:
        asked = [pool.submit_each(e, each) for e in emissions[:4]]
        found = [[future.result(timeout=60) for future in futures] for futures in asked]
    assert [list(rows) for rows in zip(*found, strict=True)] == [
        [
            [parts_of(h, weights) for h in found]
            for found in by_hand(spec, second, emissions[:4], weights)
        ]
        for weights in each
    ]
    assert searches == [None] * 4


def over_lattices(spec, second, emissions, weights, nbest, first_weight=0.0, **wanted):
    """What the second pass over lattices finds."""
    beam = BeamOptions(50, nbest=nbest, lattice_beam=40.0, **wanted)
    inner = SearchPool(replace(spec, options=inner_beam(beam)), 1)
    how = Rescoring(second, weights, first_weight, over="lattice")
    with RescoringPool(inner, how, nbest, beam=beam) as pool:
        pool.wait_until_ready()
        futures = [pool.submit(emission) for emission in emissions]
        return [future.result(timeout=60) for future in futures]


def test_over_lattices_it_finds_what_lists_of_everything_have(spec, second, emissions):
    """The same words, times and scores; a list of six lacks some of them."""
    some = emissions[:4]
    long = replace(spec, options=BeamOptions(50, nbest=50))
    lists = by_hand(long, second, some, SECOND, first_pass_weight=0.4)
    found = over_lattices(spec, second, some, SECOND, 3, 0.4)
    for nbest, listed in zip(found, lists, strict=True):
        assert [h.text for h in nbest] == [h.text for h in listed[:3]]
        for one, other in zip(nbest, listed, strict=False):
            assert (one.symbols, one.frames, one.words) == (
                other.symbols,
                other.frames,
                other.words,
            )
            scores = (one.score, one.lm_score, one.acoustic_score)
            assert scores == pytest.approx(
                (other.score, other.lm_score, other.acoustic_score), abs=1e-4
            )
    firsts = by_hand(spec, LmLocation("first", spec.lm, None, "arpa"), some, FIRST)
    assert [nbest[0].text for nbest in found] != [nbest[0].text for nbest in firsts]


def test_over_lattices_words_have_posteriors_of_the_new_scores(spec, second, emissions):
    wanted = {"confidences": True, "lattice": True, "posterior_scale": 0.5}
    for [one] in over_lattices(spec, second, emissions[:2], SECOND, 1, **wanted):
        path = one.lattice.best_path()
        assert one.lattice.scores[path].sum() == pytest.approx(one.score)
        ends = one.lattice.times[one.lattice.ends[path]].tolist()
        starts = one.lattice.times[one.lattice.starts[path]].tolist()
        spans = [(w.text, s, e) for w, s, e in zip(one.words, starts, ends, strict=False)]
        expected = confidences(one.lattice, one.lattice.posteriors(0.5), spans)
        assert [word.confidence for word in one.words] == pytest.approx(expected, abs=1e-6)


def best_alignment(emission, words):
    """Log p of the best way to write these words; `test_alignment.py` shows that it is."""
    spelled = [[list(VOCABULARY.spell(word))] for word in words]
    path = aligned(emission, spelled, CHARACTERS.index("|"), VOCABULARY.blank, 0.0)
    if path is None:
        return -np.inf
    return float(emission[np.arange(len(emission)), path.symbols].sum(dtype=np.float64))


def test_over_lattices_hot_words_have_their_floor(tmp_path, emissions):
    """Against all sequences of up to three words, scored one by one from the formula."""
    first = {word: -0.7 - 0.2 * i for i, word in enumerate(WORDS)}
    second = {word: -0.7 - 0.2 * i for i, word in zip((3, 6, 1, 0, 7, 2, 5, 4), WORDS, strict=True)}
    first |= {"TOO": None, "FORE": None}
    second |= {"FOUR": None, "WON": None}
    files = [arpa_of(tmp_path / f"{i}.arpa", table) for i, table in enumerate((first, second))]
    hot, floor, first_weight = {"FOUR": 1.5, "FORE": 0.5, "TOO TO": 2.0}, -1.4, 0.6
    floored = {word for phrase in hot for word in phrase.split()}
    spec = SearchSpec(
        CHARACTERS,
        "compiled",
        files[0].path,
        spell_words=True,
        weights=FIRST,
        hotwords=hot,
        hotwords_floor=floor,
        cache=tmp_path / "cache",
    )

    def log_prob(table, words):
        lacking = (floor if word in floored else -3.0 for word in words)
        known = [table[word] for word in words]
        return sum(k if k is not None else n for k, n in zip(known, lacking, strict=True)) - 1.0

    def score(words, emission):
        bonus = sum(hot.get(word, 0.0) for word in words)
        bonus += sum(hot["TOO TO"] for pair in itertools.pairwise(words) if pair == ("TOO", "TO"))
        said = SECOND.lm_weight * log_prob(second, words) + SECOND.word_score * len(words)
        said += first_weight * log_prob(first, words) + bonus
        return best_alignment(emission, words) + said

    every = [words for n in range(4) for words in itertools.product(WORDS, repeat=n)]
    some, floors = emissions[:4], 0
    again = over_lattices(spec, files[1], some, SECOND, 3, first_weight)
    for emission, found in zip(some, again, strict=True):
        expected = sorted(((score(words, emission), words) for words in every), reverse=True)[:3]
        assert [h.text for h in found] == [" ".join(words) for _, words in expected]
        assert [h.score for h in found] == pytest.approx([s for s, _ in expected], abs=1e-3)
        for one, (_, words) in zip(found, expected, strict=True):
            assert one.lm_score == pytest.approx(log_prob(second, words), abs=1e-4)
            floors += "FOUR" in words
    assert floors


def test_failures_are_heard(spec, second, emissions, tmp_path):
    (tmp_path / "broken.arpa").write_text("\\data\\\n")
    broken = LmLocation("broken", tmp_path / "broken.arpa", None, "arpa")
    with RescoringPool(SearchPool(spec, 1), Rescoring(broken, SECOND), 1) as pool:
        with pytest.raises(SearchFailed, match="broken.arpa"):
            pool.wait_until_ready()
        with pytest.raises(SearchFailed, match="broken.arpa"):
            pool.submit(emissions[0]).result(timeout=60)
    with RescoringPool(SearchPool(spec, 1), Rescoring(second, SECOND), 1) as pool:
        with pytest.raises(SearchFailed, match="32 symbols was expected"):
            pool.submit(emissions[0][:, :7]).result(timeout=60)
        assert pool.submit(emissions[0]).result(timeout=60)
    with pytest.raises(SearchFailed, match="stopped"):
        pool.submit(emissions[0]).result(timeout=60)
    with pytest.raises(ValueError, match="is a KenLM binary that was built without"):
        opened(LmLocation("lm.bin", tmp_path / "lm.bin", None, "kenlm"), spec)
