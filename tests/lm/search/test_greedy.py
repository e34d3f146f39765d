"""The best path."""

import math

import numpy as np
import pytest

from lm.search.greedy import greedy_search
from lm.text.vocabulary import Vocabulary

SMALL = Vocabulary.from_labels(("<pad>", "|", "A", "B"))
PHONES = Vocabulary.from_labels(("<pad>", "aa", "b"))


def on_path(path, frames: int, symbols: int) -> np.ndarray:
    emission = np.full((1, frames, symbols), -5.0, np.float32)
    emission[0, range(len(path)), path] = -0.2
    return emission


def test_words_times_and_confidence():
    emission = on_path([0, 2, 2, 0, 3, 1, 1, 0, 2, 1], 12, 4)
    emission[0, 2, 2] = -0.6
    [found] = greedy_search(emission, [10], SMALL)[0]
    assert [(w.text, w.start, w.end) for w in found.words] == [("AB", 1, 5), ("A", 8, 9)]
    assert [w.confidence for w in found.words] == pytest.approx([math.exp(-1 / 3), math.exp(-0.2)])
    assert (found.symbols, found.frames) == ((2, 3, 1, 2, 1), (1, 4, 5, 8, 9))
    assert found.score == found.acoustic_score == pytest.approx(-0.2 * 9 - 0.6)
    assert found.lm_score == 0 and found.text == "AB A"


def test_the_same_symbol_twice_needs_a_blank_between():
    [found] = greedy_search(on_path([2, 2, 0, 2], 4, 4), [4], SMALL)[0]
    assert found.text == "AA"


def test_without_a_boundary_every_symbol_is_a_word():
    [found] = greedy_search(on_path([2, 0, 1, 1, 2], 5, 3), [5], PHONES)[0]
    assert [(w.text, w.start, w.end) for w in found.words] == [
        ("b", 0, 1),
        ("aa", 2, 4),
        ("b", 4, 5),
    ]


def test_a_piece_with_the_mark_begins_a_word():
    pieces = Vocabulary.from_labels(("<pad>", "\u2581", "\u2581TH", "E", "AT"))
    path = [2, 2, 3, 0, 1, 0, 4, 4, 1, 0, 1]
    [found] = greedy_search(on_path(path, 11, 5), [11], pieces)[0]
    assert [(w.text, w.start, w.end) for w in found.words] == [("THE", 0, 3), ("AT", 4, 8)]
    assert found.text == "THE AT" == pieces.text(found.symbols)
    [cut] = greedy_search(on_path([0, 3, 2, 4], 4, 5), [4], pieces)[0]  # begins inside a word
    assert [(w.text, w.start, w.end) for w in cut.words] == [("E", 1, 2), ("THAT", 2, 4)]


def test_nothing_said_and_no_frames():
    silent, empty = greedy_search(np.concatenate([on_path([0, 1, 0], 3, 4)] * 2), [3, 0], SMALL)
    assert (silent[0].text, silent[0].symbols) == ("", (1,))
    assert (empty[0].text, empty[0].words, empty[0].score) == ("", (), 0.0)


def test_padding_is_not_read():
    emission = on_path([2, 0, 3], 6, 4)
    emission[0, 3:] = np.nan
    assert greedy_search(emission, [3], SMALL)[0][0].text == "AB"


def test_emissions_that_do_not_belong_are_refused():
    with pytest.raises(
        ValueError, match=r"emission of 3 frames over 4 symbols was expected, got \(3, 5\)"
    ):
        greedy_search(np.zeros((1, 3, 5), np.float32), [3], SMALL)
    with pytest.raises(
        ValueError, match=r"emission of 9 frames over 4 symbols was expected, got \(3, 4\)"
    ):
        greedy_search(np.zeros((1, 3, 4), np.float32), [9], SMALL)
    broken = np.zeros((1, 3, 4), np.float32)
    broken[0, 1, 2] = np.nan
    with pytest.raises(ValueError, match="not a number from frame 1 on"):
        greedy_search(broken, [3], SMALL)
