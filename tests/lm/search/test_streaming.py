"""Streams of frames, against searches over all frames at once."""

import random

import numpy as np
import pytest
from small_words import SMALL, TRIGRAMS

from lm.decoding import BeamOptions, DecodingWeights
from lm.search.compiled import CompiledSearch
from lm.search.greedy import greedy_search
from lm.search.streaming import CompiledStream, GreedyStream
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

PHONES = Vocabulary.from_labels(("<pad>", "aa", "b"))


@pytest.fixture
def search(tmp_path):
    """A function that makes a compiled search over a trigram."""

    def made(beam=500, **weights):
        (tmp_path / "lm.arpa").write_text(TRIGRAMS)
        lexicon = Lexicon.from_words(["A", "AB", "BA"], SMALL)
        how = DecodingWeights(1.3, 0.4, **weights)
        return CompiledSearch.open(
            SMALL, how, BeamOptions(beam), lexicon, tmp_path / "lm.arpa", tmp_path
        )

    return made


def emission(seed: int, frames: int, symbols: int = 4) -> np.ndarray:
    """(T, V) random log-probabilities."""
    logits = np.random.default_rng(seed).normal(0, 2.0, (frames, symbols))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def streamed(live, frames, seed):
    """The final words of a stream that is fed in pieces of random lengths."""
    draw, at, found = random.Random(seed), 0, []
    before = live._pending.start
    while at < len(frames):
        count = draw.randint(0, 12)
        heard = live.advance(frames[at : at + count])
        at = min(at + count, len(frames))
        found += heard.final
        for word in (*heard.final, *heard.partial):
            assert word.end <= before + at
    heard = live.end_sentence()
    assert heard.partial == ()
    return found + list(heard.final)


def same(ours, theirs):
    """Equal words, times and confidences."""
    for a, b in zip(ours, theirs, strict=True):
        assert (a.text, a.start, a.end) == (b.text, b.start, b.end)
        assert a.confidence == pytest.approx(b.confidence, abs=1e-6)


@pytest.mark.parametrize("beam", [500, 4])
@pytest.mark.parametrize("seed", range(12))
def test_a_stream_finds_what_the_search_finds(seed, beam, search):
    frames = emission(seed, 60)
    made = search(beam, unk_score=(-3.0 if seed % 3 == 0 else -np.inf))
    [whole] = made(frames[None], [60])[0]
    assert len(whole.words) > 4
    same(streamed(CompiledStream(made), frames, seed), whole.words)


@pytest.mark.parametrize("seed", range(6))
def test_a_word_of_phones_that_lasts_to_the_end_is_heard(seed, tmp_path):
    (tmp_path / "lexicon.txt").write_text("X\taa\nY\tb aa\nZ\tb\n")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", PHONES)
    made = CompiledSearch.open(PHONES, DecodingWeights(), BeamOptions(50), lexicon)
    frames = emission(seed, 40, 3)
    [whole] = made(frames[None], [40])[0]
    same(streamed(CompiledStream(made), frames, seed), whole.words)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_stays_open_for_longer_than_was_allowed(seed, search):
    live = CompiledStream(search(), behind=5)
    frames, found = emission(seed, 200), []
    for at in range(0, 200, 4):
        heard = live.advance(frames[at : at + 4])
        found += heard.final
        assert live._open <= 5
        assert all(word.end > at + 4 - 5 - 12 for word in heard.partial)
    found += live.end_sentence().final
    assert len(found) > 20
    assert [word.start for word in found] == sorted(word.start for word in found)


def test_words_that_were_forced_to_be_final_are_on_one_path(search):
    """The path that was settled is one that the search could have taken: its words are spelled by
    its symbols."""
    made, frames = search(), emission(3, 120)
    live = CompiledStream(made, behind=0)
    found = [word.text for at in range(120) for word in live.advance(frames[at : at + 1]).final]
    found += [word.text for word in live.end_sentence().final]
    assert set(found) <= {"A", "AB", "BA"}
    assert found != [word.text for word in made(frames[None], [120])[0][0].words]  # a loss


def test_a_sentence_that_ends_is_searched_as_one(search):
    made, live = search(), CompiledStream(search())
    first, second = emission(1, 30), emission(2, 40)
    found = streamed(live, first, 1)
    same(found, made(first[None], [30])[0][0].words)
    again = streamed(live, second, 2)
    words = made(second[None], [40])[0][0].words
    assert [word.text for word in again] == [word.text for word in words]
    assert [word.start - 30 for word in again] == [word.start for word in words]


def test_silence_is_not_kept(search):
    silence = np.log(np.array([[0.97, 0.01, 0.01, 0.01]] * 50, np.float32))
    for live in (CompiledStream(search(), behind=20), GreedyStream(SMALL)):
        for _ in range(40):
            assert not live.advance(silence).final
        assert len(live._pending.frames) <= 60
    boundary = np.log(np.array([[0.01, 0.97, 0.01, 0.01]] * 50, np.float32))
    live = GreedyStream(SMALL)
    for part in [boundary] + [silence] * 5:
        heard = live.advance(part)
    assert heard.silent == 300
    assert len(live._pending.frames) == 0


@pytest.mark.parametrize("vocabulary", [SMALL, PHONES], ids=["letters", "phones"])
@pytest.mark.parametrize("seed", range(6))
def test_the_best_path_is_that_of_all_frames(seed, vocabulary):
    frames = emission(seed, 80, len(vocabulary.symbols))
    [whole] = greedy_search(frames[None], [80], vocabulary)[0]
    assert len(whole.words) > 4
    same(streamed(GreedyStream(vocabulary), frames, seed), whole.words)


def test_emissions_of_another_vocabulary_are_refused(search):
    for live in (CompiledStream(search()), GreedyStream(SMALL)):
        with pytest.raises(ValueError, match="over 4 symbols was expected"):
            live.advance(np.zeros((3, 5), np.float32))
        with pytest.raises(ValueError, match="not a number"):
            live.advance(np.full((3, 4), np.nan, np.float32))
