"""Windows join without a seam, and cuts fall between words."""

from dataclasses import replace

import numpy as np
import pytest

from models.config import base
from w2v2cli.recognition.segments import Segmenter, windows

BLANK, BOUNDARY, LETTER = 0, 1, 2


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("seconds", [0.01, 5, 39.9, 40.1, 61.7, 200.3])
def test_kept_frames_are_those_of_the_whole_each_once(seconds, adapter):
    """Samples are numbered, so a frame's first sample is its own number times the stride."""
    config, samples = replace(base(), adapter=adapter), int(seconds * 16_000)
    assert config.stride == (2560 if adapter else 320)
    numbered = np.arange(samples, dtype=np.float64)
    chunks = (numbered[i : i + 70_001] for i in range(0, samples, 70_001))
    frames = []
    for window in windows(chunks, config):
        count = config.frame_lengths(len(window.samples))
        own = [window.samples[i * config.stride] for i in range(count)]
        frames += own[window.keep_from : window.keep_to]
        assert len(window.samples) <= 40.1 * 16_000
    assert frames == [i * config.stride for i in range(config.frame_lengths(samples))]


def emission(path) -> np.ndarray:
    frames = np.full((len(path), 4), -9.0, np.float32)
    frames[np.arange(len(path)), path] = -0.01
    return frames


def speech(words: int, seed: int = 0) -> list[int]:
    """Words of letters and blanks, each followed by a boundary and blanks; 50 frames a second."""
    draw = np.random.default_rng(seed)
    path: list[int] = []
    for _ in range(words):
        for _ in range(draw.integers(2, 8)):
            path += [LETTER, *[BLANK] * int(draw.integers(1, 6))]
        path += [BOUNDARY, *[BLANK] * int(draw.integers(0, 15))]
    return path


def test_segments_hold_whole_words_and_every_frame_once():
    path = speech(400)
    segmenter = Segmenter(50, BLANK, BOUNDARY)
    pieces = np.array_split(emission(path), 9)
    segments = [
        s for i, piece in enumerate(pieces) for s in segmenter.add(piece, last=i == len(pieces) - 1)
    ]
    np.testing.assert_array_equal(np.concatenate([s.emission for s in segments]), emission(path))
    assert [s.start for s in segments] == np.cumsum(
        [0, *(len(s.emission) for s in segments[:-1])]
    ).tolist()
    assert len(segments) > 3
    for segment in segments:
        assert len(segment.emission) <= 40 * 50
    for segment in segments[:-1]:
        last = [s for s in segment.emission.argmax(1) if s != BLANK][-1]
        assert last == BOUNDARY
        assert len(segment.emission) >= 8 * 50


def test_a_short_recording_is_one_segment():
    path = speech(60)[: 39 * 50]
    [segment] = Segmenter(50, BLANK, BOUNDARY).add(emission(path), last=True)
    assert segment.start == 0 and len(segment.emission) == len(path)


def test_noise_without_any_pause_is_cut_all_the_same():
    segments = list(Segmenter(50, BLANK, BOUNDARY).add(emission([LETTER] * 10_000), last=True))
    assert sum(len(s.emission) for s in segments) == 10_000
    assert max(len(s.emission) for s in segments) <= 40 * 50


def test_nothing_gives_no_segment():
    assert list(Segmenter(50, BLANK, BOUNDARY).add(np.zeros((0, 4), np.float32), last=True)) == []


def test_a_sentence_ends_with_the_recording_and_in_long_pauses():
    short, long = [BOUNDARY] + [BLANK] * 23, [BOUNDARY] + [BLANK] * 24  # 0.48 and 0.5 s
    words = [LETTER] * 1000  # 20 s
    path = words + short + words + long + words + short + words
    segments = list(Segmenter(50, BLANK, BOUNDARY).add(emission(path), last=True))
    assert [segment.ends for segment in segments] == [False, True, False, True]
    noise = list(Segmenter(50, BLANK, BOUNDARY).add(emission([LETTER] * 4000), last=True))
    assert [segment.ends for segment in noise] == [False, False, True]
