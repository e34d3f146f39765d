"""The compiled search against everything it could have found, in threads, with hot words."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from small_words import SMALL, TRIGRAMS, enumerated, padded, random_emission, said

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.automaton import CompiledNgramLM, automaton_file
from lm.score_parts import parts_of
from lm.search.compiled import CompiledSearch
from lm.search.paths import FoundPath, FoundPaths, hypotheses, outlined
from lm.search.setup import SearchError
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

PHONES = Vocabulary.from_labels(("<pad>", "aa", "b"))
WORDS = ("A", "AB", "BA")


@pytest.fixture
def searching(arpa, tmp_path):
    """What makes searches over the words above, with the model above."""

    def search(
        weights, beam=5000, threshold=1e6, tokens=None, nbest=1, lexicon=None, lm=arpa, **more
    ):
        lexicon = Lexicon.from_words(WORDS, SMALL) if lexicon is None else lexicon
        options = BeamOptions(beam, tokens, threshold, nbest)
        return CompiledSearch.open(SMALL, weights, options, lexicon, lm, tmp_path / "cache", **more)

    return search


@pytest.fixture
def model(arpa, tmp_path):
    return CompiledNgramLM(automaton_file(arpa, tmp_path / "cache"), [*WORDS, "BB", "<unk>"])


def letters_of(words=WORDS) -> dict[str, list[str]]:
    return {word: [word] for word in words}


def check(found, expected, nbest=1) -> None:
    """The n best of everything there is; equal scores may stand in any order."""
    best = sorted(expected.values(), reverse=True)[:nbest]
    assert [h.score for h in found] == pytest.approx(best, abs=1e-3)
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(expected[tuple(hypothesis.text.split())], abs=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_it_finds_the_best_of_all_word_sequences(searching, model, seed):
    draw = random.Random(seed).uniform
    weights = DecodingWeights(draw(0, 2), draw(-1, 1), sil_score=draw(-0.5, 0.5))
    emission = random_emission(6, seed)
    [found] = searching(weights, nbest=5)(emission[None], [6])
    check(found, enumerated(emission, weights, letters_of(), model), 5)
    assert found[0].lm_score == pytest.approx(said(model, found[0].text.split()), abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_homophones_and_second_spellings(searching, model, tmp_path, seed):
    (tmp_path / "lexicon.txt").write_text("A\tA |\nAB\tA B |\nAB\tB B |\nBA\tA |\nBA\tB |\n")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", SMALL)
    weights, emission = DecodingWeights(1.5, 0.5), random_emission(7, seed)
    [found] = searching(weights, nbest=3, lexicon=lexicon)(emission[None], [7])
    spellings = {"A": ["A", "BA"], "AB": ["AB"], "BB": ["AB"], "B": ["BA"]}
    check(found, enumerated(emission, weights, spellings, model), 3)


@pytest.mark.parametrize("seed", range(6))
def test_hot_words_are_added_and_new_ones_spelled(searching, model, seed):
    hotwords = {"BB": 2.5, "A": -1.0, "BA": 0.7}
    weights, emission = DecodingWeights(0.8, 0.1), random_emission(6, seed)
    [found] = searching(weights, nbest=4, hotwords=hotwords)(emission[None], [6])
    check(
        found,
        enumerated(emission, weights, letters_of([*WORDS, "BB"]), model, hotwords=hotwords),
        4,
    )


def test_a_hot_word_that_the_alphabet_cannot_spell_is_named(searching):
    search = searching(DecodingWeights(), hotwords={"A": 1.0, "CAB": 3.0})
    assert list(search.setup.warnings) == [
        "The hot word 'CAB' cannot be spelled in the model's alphabet."
    ]


def test_without_a_language_model(searching):
    weights, emission = DecodingWeights(word_score=0.3), random_emission(7, 3)
    [found] = searching(weights, nbest=6, lm=None)(emission[None], [7])
    check(found, enumerated(emission, weights, letters_of(), None), 6)


def test_words_outside_the_lexicon_are_what_their_letters_spell(searching):
    """As in flashlight, the beginning of a lexicon's word may end as an unknown one."""
    lexicon = Lexicon.from_words(["AB", "BA"], SMALL)
    emission = np.full((8, 4), -6.0, np.float32)
    emission[range(8), [2, 3, 1, 0, 3, 0, 1, 0]] = -0.1  # AB|B|
    [[forbidden]] = searching(DecodingWeights(0.1, 0.0), lexicon=lexicon)(emission[None], [8])
    assert set(forbidden.text.split()) <= {"AB", "BA"}
    spelled = Lexicon.from_words(["AB", "B", "BA"], SMALL)
    [[expected]] = searching(DecodingWeights(0.1, 0.0), lexicon=spelled)(emission[None], [8])
    assert expected.text == "AB B"


def test_phones_make_words_without_a_boundary(tmp_path):
    (tmp_path / "lexicon.txt").write_text("bob\tb aa b\nah\taa\n")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", PHONES)
    emission = np.full((8, 3), -6.0, np.float32)
    emission[range(8), [2, 2, 1, 2, 0, 1, 0, 0]] = -0.1
    search = CompiledSearch.open(PHONES, DecodingWeights(0, 0), BeamOptions(100), lexicon)
    [[found]] = search(emission[None], [8])
    assert [(w.text, w.start, w.end) for w in found.words] == [("bob", 0, 4), ("ah", 5, 6)]


@pytest.mark.parametrize("recombine", ["state", "history"])
@pytest.mark.parametrize("unk_score", [-math.inf, -1.0])
def test_parts_are_those_of_the_hypotheses(searching, tmp_path, recombine, unk_score):
    path = tmp_path / "lexicon.txt"
    path.write_text("A\tA |\nAB\tA B |\nAB\tB B |\nBA\tA |\n")
    lexicon = Lexicon.read(path, SMALL)
    for seed in range(8):
        draw = random.Random(seed).uniform
        sil_score = draw(-0.5, 0.5) if seed % 2 else 0.0
        weights = DecodingWeights(draw(0, 2), draw(-1, 1), unk_score, sil_score)
        search = searching(weights, beam=60, nbest=12, lexicon=lexicon)
        search.options = replace(search.options, recombine=recombine, mbr=seed == 7)
        batch, lengths = padded([random_emission(n, seed) for n in (9, 5, 7)])
        found = search(batch, [*lengths[:2], 0])
        parts = search.parts(batch, [*lengths[:2], 0], [weights] * 3)
        assert parts == [[parts_of(h, weights) for h in each] for each in found]
        assert len({one.text for one in parts[0]}) > 5 and parts[2] == [("", 0.0, 0.0, 0, 0)]


def test_parts_of_paths_of_any_shape(searching):
    """Some words end where no letter has begun, which a hypothesis leaves out."""
    setup, weights = searching(DecodingWeights()).setup, DecodingWeights(sil_score=0.5)
    for seed in range(20):
        draw = np.random.default_rng(seed)
        symbols = draw.integers(0, 4, (6, 9)).astype(np.int32)
        words = draw.choice([-1, -1, 0, 1, 2, len(setup.words) - 1], (6, 9)).astype(np.int32)
        scores, entries = draw.normal(size=(6, 3)), draw.integers(0, 2, 6).tolist()
        frames = np.log(draw.dirichlet([1.0] * 4, 8)).astype(np.float32)
        paths = map(FoundPath, symbols, words, *scores.T.tolist(), entries)
        expected = [parts_of(h, weights) for h in hypotheses(frames, paths, setup, 6)]
        found = FoundPaths(symbols, words, scores, entries)
        assert outlined(frames, found, setup, 6, weights) == expected
        assert outlined(frames, found, setup, 2, weights) == expected[:2]
    assert sum(one.words for one in expected) < (words >= 0).sum()


def test_threads_and_batches_change_nothing(searching):
    emissions = [
        random_emission(frames, seed) for seed, frames in enumerate((30, 1, 25, 40, 7, 12))
    ]
    one = searching(DecodingWeights(1.1, -0.2), beam=40, threads=1)
    several = searching(DecodingWeights(1.1, -0.2), beam=40, threads=4)
    alone = [one(emission[None], [len(emission)])[0] for emission in emissions]
    assert several(*padded(emissions)) == alone
    assert several(*padded(emissions)) == alone


def test_weights_hold_from_the_call_that_brings_them(searching):
    emission, other = random_emission(20, 4), DecodingWeights(3.0, -2.0)
    search = searching(DecodingWeights(0.5, 0.5))
    first = search(emission[None], [20])
    assert search(emission[None], [20], other) == searching(other)(emission[None], [20]) != first
    assert search(emission[None], [20]) == searching(other)(emission[None], [20])


def test_the_other_knobs_reach_the_search(searching):
    emission = random_emission(40, 5)

    def score(**options) -> float:
        return searching(DecodingWeights(), **options)(emission[None], [40])[0][0].score

    full = score()
    assert score(tokens=99) == full  # more symbols than there are: all of them
    assert score(tokens=1) < full
    assert score(beam=1) < full
    assert score(threshold=0.01) < full


def test_n_best_lists_are_distinct_and_in_order(searching):
    [found] = searching(DecodingWeights(0.5, 0.0), beam=100, nbest=4)(
        random_emission(8, 1)[None], [8]
    )
    assert len({h.text for h in found}) == len(found) == 4
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_nothing_to_search_and_what_does_not_belong(searching):
    search = searching(DecodingWeights(0.5, 0.0))
    assert [found.text for [found] in search(np.zeros((2, 4, 4), np.float32), [0, 0])] == ["", ""]
    assert search(np.zeros((0, 4, 4), np.float32), []) == []
    with pytest.raises(ValueError, match="over 4 symbols was expected"):
        search(np.zeros((1, 3, 32), np.float32), [3])
    with pytest.raises(ValueError, match="not a number from frame 0 on"):
        search(np.full((1, 3, 4), np.nan, np.float32), [3])


def test_files_that_do_not_belong_together_are_told(searching, arpa, tmp_path):
    with pytest.raises(SearchError, match="The lexicon holds no word"):
        searching(DecodingWeights(), lexicon=Lexicon({}))
    with pytest.raises(SearchError, match=r"can spell none of the lexicon's 2 words, 'xyz', 'zz'"):
        searching(DecodingWeights(), lexicon=Lexicon.from_words(["xyz", "zz"], SMALL))
    with pytest.raises(
        SearchError, match=r"knows 0 of the lexicon's 2 words \(0%\): not 'AAA', 'BBB' for example"
    ):
        searching(DecodingWeights(), lexicon=Lexicon.from_words(["AAA", "BBB"], SMALL))
    lower = tmp_path / "lower.arpa"
    lower.write_text(
        TRIGRAMS.replace("AB", "ab").replace("BA", "ba").replace("\tA", "\ta").replace(" A", " a")
    )
    with pytest.raises(SearchError, match="Bring language model and lexicon to one case"):
        searching(DecodingWeights(), lm=lower)
    half = searching(DecodingWeights(), lexicon=Lexicon.from_words(["A", "AB", "BB", "BBB"], SMALL))
    assert half.setup.warnings[0].startswith(
        f"{arpa} knows 2 of the lexicon's 4 words (50%); it lacks 'BB', 'BBB'"
    )


def test_infinite_scores_end_nothing(searching):
    emission = random_emission(12, 2)
    emission[3, 2] = -math.inf
    [[found]] = searching(DecodingWeights(0.5, 0.0))(emission[None], [12])
    assert math.isfinite(found.score)
    emission[5] = -math.inf  # nothing can be said here, and so no hypothesis is possible
    search = searching(DecodingWeights(0.5, 0.0), beam=100, nbest=10)
    [impossible] = search(emission[None], [12])
    assert len(impossible) > 1
    assert {(found.score, found.acoustic_score) for found in impossible} == {(-math.inf, -math.inf)}
