"""The lattice of the compiled search, against everything that can be found.

Models, lexicons, weights and emissions are drawn at random; every sequence of words with every
place where they may end is scored by its best path.
"""

import math

import numpy as np
import pytest
from random_searches import ALL, Case, lattice_of, paths_of, said, words_of
from small_words import SMALL

from lm.decoding import BeamOptions, DecodingWeights
from lm.lattice import Lattice, confidences
from lm.search.compiled import CompiledSearch
from lm.search.context import Context, Entry
from lm.search.setup import SearchError

WAYS = ("state", "history")


@pytest.mark.parametrize("block", range(6))
def test_the_paths_of_the_lattice_are_all_paths(tmp_path, block):
    """Sixty cases: words, ends and all three scores of each path."""
    for seed in range(10 * block, 10 * (block + 1)):
        case = Case(seed, tmp_path)
        emission = case.emission(case.draw.randint(1, 6))
        expected = case.paths(emission)
        for way in WAYS:
            _, lattice = lattice_of(case, emission, way)
            found = {}
            for path in paths_of(lattice):
                key = said(lattice, path)
                assert key not in found, (seed, key)
                found[key] = float(lattice.scores[path].sum())
                lm = case.said(key[0])
                assert float(lattice.lm[path].sum()) == pytest.approx(lm, abs=1e-4)
                if case.weights.sil_score == 0:
                    acoustic = found[key] - case.beside(key[0])
                    assert float(lattice.acoustic[path].sum()) == pytest.approx(acoustic, abs=1e-4)
            assert found == pytest.approx(expected, abs=1e-4), seed


@pytest.mark.parametrize("block", range(6))
def test_posteriors_are_the_shares_of_all_paths(tmp_path, block):
    """Of arcs, and of the words of the best hypothesis at their times."""
    for seed in range(100 + 10 * block, 110 + 10 * block):
        case = Case(seed, tmp_path)
        emission, scale = case.emission(case.draw.randint(1, 6)), case.draw.uniform(0.2, 1.5)
        best, lattice = lattice_of(case, emission, confidences=True, posterior_scale=scale)
        everything = case.paths(emission)
        shares = {key: math.exp(scale * score) for key, score in everything.items()}
        total = sum(shares.values())
        arcs = np.zeros(len(lattice.scores))
        for path in paths_of(lattice):
            arcs[path] += shares[said(lattice, path)] / total
        assert lattice.posteriors(scale) == pytest.approx(arcs, abs=1e-4)
        if not best.words:
            continue
        (words, ends) = max(everything, key=lambda key: (everything[key], key))
        if words != words_of(best):
            continue  # words of one spelling that nothing tells apart
        for i, word in enumerate(best.words):
            begin = ends[i - 1] if i else 0
            on_frames = [
                sum(share for key, share in shares.items() if says(key, word.text, frame)) / total
                for frame in range(begin, ends[i])
            ]
            assert word.confidence == pytest.approx(max(on_frames), abs=1e-4), seed


def says(key, word, frame) -> bool:
    """Whether a path says a word on a frame."""
    words, ends = key
    begins = (0, *ends[:-1]) if ends else ()
    return any(
        other == word and begin <= frame < end
        for other, begin, end in zip(words, begins, ends, strict=True)
    )


def test_a_beam_keeps_the_paths_that_reach_it(tmp_path):
    """Each path within the beam is there with its score; none is there that is not one of all."""
    for seed in range(200, 230):
        case = Case(seed, tmp_path)
        emission, beam = case.emission(6), case.draw.uniform(0.5, 6)
        expected = case.paths(emission)
        _, lattice = lattice_of(case, emission, lattice_beam=beam)
        found = {
            said(lattice, path): float(lattice.scores[path].sum()) for path in paths_of(lattice)
        }
        limit = max(expected.values()) - beam
        near = {key: score for key, score in expected.items() if score > limit + 1e-4}
        assert near.keys() <= found.keys() <= expected.keys()
        assert found == pytest.approx({key: expected[key] for key in found}, abs=1e-4)


def test_a_narrow_search_has_its_best_path_in_its_lattice(tmp_path):
    """Nodes that no path passes are left out, and the best path is the search's."""
    for seed in range(300, 340):
        case = Case(seed, tmp_path)
        emission = case.emission(30)
        for way in WAYS:
            limits = {"beam": case.draw.randint(1, 40), "threshold": case.draw.uniform(2, 30)}
            plain = case.compiled(way, **limits)(emission[None], [30])[0][0]
            best, lattice = lattice_of(case, emission, way, lattice_beam=8.0, **limits)
            assert best == plain
            path = lattice.best_path()
            assert lattice.scores[path].sum() == pytest.approx(best.score, abs=1e-4)
            assert lattice.lm[path].sum() == pytest.approx(best.lm_score, abs=1e-4)
            assert lattice.acoustic[path].sum() == pytest.approx(best.acoustic_score, abs=1e-4)
            if case.model is not None:
                assert said(lattice, path)[0] == words_of(best)
            assert set(lattice.starts.tolist()) == set(range(len(lattice.times) - 1))
            assert set(lattice.ends.tolist()) == set(range(1, len(lattice.times)))
            posteriors = lattice.posteriors()
            into_the_end = lattice.ends == len(lattice.times) - 1
            assert posteriors[into_the_end].sum() == pytest.approx(1, abs=1e-6)


def test_unknown_words_are_named_by_their_letters(tmp_path):
    """Each spelling is a word of its own, and its paths are those of the letters."""
    compared = 0
    for seed in range(400, 430):
        case = Case(seed, tmp_path)
        weights = DecodingWeights(case.weights.lm_weight, 0.2, unk_score=case.draw.uniform(-3, 0))
        best, lattice = lattice_of(case, case.emission(7), weights=weights)
        if case.model is None or case.weights.lm_weight < 0.1:
            continue
        path = lattice.best_path()
        assert said(lattice, path)[0] == words_of(best)
        assert lattice.scores[path].sum() == pytest.approx(best.score, abs=1e-4)
        assert {"A", "AB", "BE"} <= set(lattice.words)
        compared += "B" in lattice.words  # begins a word, and is none
    assert compared > 15


def test_lists_beside_a_lattice_are_those_without(tmp_path):
    case = Case(17, tmp_path)
    emission = case.emission(25)
    for way in WAYS:
        [plain] = case.compiled(way, beam=40, nbest=5)(emission[None], [25])
        [ours] = case.compiled(way, beam=40, nbest=5, lattice=True)(emission[None], [25])
        assert ours == plain
        assert all(one.lattice is ours[0].lattice is not None for one in ours)


def test_what_was_said_before_weighs_in_the_lattice(tmp_path):
    """Two ways to have begun: the best path has the score of its own beginning."""
    begun_late = 0
    for seed in range(600, 630):
        case = Case(seed, tmp_path)
        entries = (Entry(), Entry(("A",), case.draw.uniform(-1, 1)))
        emission = case.emission(8)
        search = case.compiled("state", lattice=True, lattice_beam=float(ALL))
        [found] = search(emission[None], [8], contexts=[Context(entries, goes_on=True)])
        best = found[0]
        path = best.lattice.best_path()
        assert best.lattice.scores[path].sum() == pytest.approx(
            best.score + entries[best.entry].score, abs=1e-4
        )
        if case.model is not None:
            assert said(best.lattice, path)[0] == words_of(best)
        begun_late += best.entry
    assert 0 < begun_late < 30


def test_emissions_that_allow_nothing_have_an_empty_lattice(tmp_path):
    case = Case(17, tmp_path)
    emission = np.full((4, 4), -np.inf, np.float32)
    _, lattice = lattice_of(case, emission, confidences=True)
    assert lattice.best_path() == []
    assert len(lattice.scores) == 0


def test_words_compete_on_each_frame():
    """Three paths: A over the first half with 0.5 and 0.3 at two lengths, B with 0.2."""
    lattice = Lattice(
        ("A", "B"),
        np.array([0, 4, 6, 8], np.int32),
        np.array([0, 0, 0, 1, 2], np.uint32),
        np.array([1, 2, 2, 3, 3], np.uint32),
        np.array([0, 0, 1, -1, -1], np.int32),
        np.log([0.5, 0.3, 0.2, 1.0, 1.0]),
        np.zeros(5),
        np.zeros(5),
    )
    posteriors = lattice.posteriors()
    assert posteriors == pytest.approx([0.5, 0.3, 0.2, 0.5, 0.5])
    asked = [("A", 0, 4), ("A", 4, 6), ("B", 0, 6), ("C", 0, 6), ("A", 6, 8)]
    assert confidences(lattice, posteriors, asked) == pytest.approx([0.8, 0.3, 0.2, 0, 0])
    assert lattice.posteriors(1e-9) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lattice_beam": 0}, "--lattice-beam must be above 0, got 0."),
        ({"posterior_scale": -1}, "--posterior-scale must be above 0, got -1."),
        ({"skip_blank": 0.4}, "--skip-blank is a probability of 0.5 to 1, got 0.4."),
    ],
)
def test_wrong_numbers_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        BeamOptions(**options)


@pytest.mark.parametrize("way", WAYS)
def test_frames_of_certain_blanks_are_blank_for_all(tmp_path, way):
    """The same as a search in which these frames allow nothing else, at every beam."""
    skipped = 0
    for seed in range(500, 540):
        case = Case(seed, tmp_path)
        emission = case.emission(30)
        certain = np.random.default_rng(seed).random(30) < 0.6
        emission[certain] += [4, 0, 0, 0]
        emission -= np.log(np.exp(emission).sum(1, keepdims=True))
        blank = emission[:, SMALL.blank] >= math.log(0.9)
        only = np.where(blank[:, None] & (np.arange(4) != SMALL.blank), -1e9, emission)
        beam, count = case.draw.randint(3, 40), case.draw.choice((1, 3))
        (ours,), (theirs,) = (
            case.compiled(way, beam=beam, nbest=count, skip_blank=limit)(e[None], [30])
            for e, limit in ((emission, 0.9), (only.astype(np.float32), None))
        )
        assert [h.symbols for h in ours] == [h.symbols for h in theirs]
        assert [h.frames for h in ours] == [h.frames for h in theirs]
        assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], abs=1e-3)
        skipped += int(blank.sum())
    assert skipped > 300


def test_a_lattice_of_skipped_frames_keeps_their_times(tmp_path):
    case = Case(3, tmp_path)
    emission = np.log(
        np.array(
            [[0.05, 0.05, 0.85, 0.05], *[[0.97, 0.01, 0.01, 0.01]] * 5, [0.1, 0.8, 0.05, 0.05]]
        )
    ).astype(np.float32)
    best, lattice = lattice_of(case, emission, skip_blank=0.95)
    assert best.text == "A"
    assert int(lattice.times[-1]) == 7
    assert said(lattice, lattice.best_path()) == (("A",), (7,))


def test_searches_of_phones_have_lattices_too(tmp_path):
    """Words that end on a blank: the twin spellings are one word of the lattice."""
    from lm.text.lexicon import Lexicon
    from lm.text.vocabulary import Vocabulary

    phones = Vocabulary.from_labels(("<pad>", "aa", "b"))
    (tmp_path / "lexicon.txt").write_text("bob\tb aa b\nah\taa\n")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", phones)
    options = BeamOptions(ALL, None, float(ALL), lattice=True, lattice_beam=float(ALL))
    logits = np.random.default_rng(1).normal(0, 1.5, (6, 3))
    emission = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
    search = CompiledSearch.open(phones, DecodingWeights(0.0, 0.3), options, lexicon)
    [[best]] = search(emission[None], [6])
    lattice = best.lattice
    path = lattice.best_path()
    assert said(lattice, path)[0] == words_of(best)
    assert lattice.scores[path].sum() == pytest.approx(best.score, abs=1e-4)
    with pytest.raises(SearchError, match="--skip-blank needs a word boundary"):
        CompiledSearch.open(phones, DecodingWeights(), BeamOptions(skip_blank=0.9), lexicon)
