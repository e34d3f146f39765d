"""Forced alignment against torchaudio, and against all paths of tiny cases written down."""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
import torchaudio

from lm.search import forced
from lm.search.forced import ForcedPath, forced_path, frames_needed


def emissions(frames, symbols, seed):
    rng = np.random.default_rng(seed)
    scores = torch.tensor(rng.normal(size=(frames, symbols)) * 2)
    return scores.log_softmax(-1).float().numpy()


def columns(path: ForcedPath, symbols) -> list[int]:
    """The column of each frame."""
    return [0 if place < 0 else int(symbols[place]) for place in path.places]


@pytest.fixture
def short_blocks(monkeypatch):
    """Copies of the scores every few frames, so that small cases have many."""
    monkeypatch.setattr(forced, "FEWEST", 1)


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("seed", range(60))
def test_the_path_and_its_score_are_those_of_torchaudio(seed):
    rng = np.random.default_rng(seed)
    symbols = rng.integers(1, 5, size=rng.integers(1, 20))
    frames = emissions(frames_needed(symbols.tolist()) + int(rng.integers(0, 30)), 5, seed)
    found = forced_path(frames, symbols, 0)
    path, scores = torchaudio.functional.forced_align(
        torch.from_numpy(frames)[None], torch.from_numpy(symbols)[None], blank=0
    )
    assert columns(found, symbols) == path[0].tolist()
    assert found.score == pytest.approx(float(scores.sum()), abs=1e-4)


def written(path) -> list[int]:
    """What a path writes: repeats merged, blanks dropped."""
    return [symbol for symbol, _ in itertools.groupby(path) if symbol]


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("open_ends", [False, True])
def test_no_path_of_all_that_there_are_is_better(seed, open_ends):
    rng = np.random.default_rng(seed)
    symbols = [3, *rng.integers(1, 3, size=2).tolist(), 3][: 3 + seed % 2]
    frames = emissions(7, 4, seed)
    allowed = [symbols]
    if open_ends:
        allowed += [symbols[1:], symbols[:-1], symbols[1:-1]]
    best = max(
        (p for p in itertools.product(range(4), repeat=7) if written(p) in allowed),
        key=lambda p: frames[np.arange(7), p].sum(),
    )
    found = forced_path(frames, symbols, 0, open_ends)
    assert columns(found, symbols) == list(best)
    assert found.score == pytest.approx(float(frames[np.arange(7), best].sum()), abs=1e-5)


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("seed", range(40))
def test_ends_that_are_left_open_are_the_best_of_four_texts(seed):
    rng = np.random.default_rng(seed)
    symbols = rng.integers(1, 5, size=rng.integers(3, 20)).tolist()
    frames = emissions(frames_needed(symbols[1:-1]) + int(rng.integers(0, 12)), 5, seed)
    texts = [symbols, symbols[1:], symbols[:-1], symbols[1:-1]]
    closed = [forced_path(frames, text, 0) for text in texts]
    expected = max(path.score for path in closed if path is not None)
    found = forced_path(frames, symbols, 0, open_ends=True)
    assert found.score == pytest.approx(expected, abs=1e-4)
    assert written(columns(found, symbols)) in texts


def test_progress_is_told_up_to_the_last_frame():
    told: list[int] = []
    forced_path(emissions(1000, 5, 0), [1, 2, 3] * 50, 0, on_progress=told.append)
    assert told == sorted(set(told)) and len(told) > 5 and told[-1] == 1000


def test_spans_tell_the_frames_of_each_symbol_and_which_are_left_out():
    path = ForcedPath(np.array([-1, 1, 1, -1, 2, -1], np.int32), 0.0)
    assert path.spans(4).tolist() == [[-1, -1], [1, 3], [4, 5], [-1, -1]]


@pytest.mark.parametrize("symbols", [[1, 1, 2], [1, 2, 1, 2]])
def test_more_symbols_than_frames_have_no_path(symbols):
    assert forced_path(emissions(3, 3, 0), symbols, 0) is None
    assert forced_path(emissions(4, 3, 0), symbols, 0) is not None
    assert frames_needed(symbols) == 4


def test_a_text_without_symbols_is_blank_throughout():
    frames = emissions(5, 3, 0)
    found = forced_path(frames, [], 0)
    assert found.places.tolist() == [-1] * 5
    assert found.score == pytest.approx(float(frames[:, 0].sum()), abs=1e-5)
    assert forced_path(frames[:0], [], 0) is None


def test_a_symbol_that_is_impossible_leaves_no_path():
    frames = emissions(6, 3, 0)
    frames[:, 2] = -np.inf
    assert forced_path(frames, [1, 2], 0) is None
    assert forced_path(frames, [1, 1], 0) is not None


def test_the_trellis_is_never_whole_in_memory():
    count, symbols = 6000, np.resize([1, 2, 3, 2], 2000)
    frames = emissions(count, 4, 0)
    tracemalloc.start()
    try:
        assert forced_path(frames, symbols, 0) is not None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < count * len(symbols) / 5  # at a byte a cell it would be the whole
