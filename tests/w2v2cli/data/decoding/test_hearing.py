"""Seconds heard of several recordings, beside the lengths in their headers."""

import time

import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import STDIN, Cut
from w2v2cli.data.decoding.hearing import Hearing, stated_seconds


@pytest.fixture
def tones(tmp_path):
    """Recordings of 1, 2 and 3 seconds, at 8 kHz."""
    paths = [tmp_path / f"{seconds}.wav" for seconds in (1, 2, 3)]
    for path in paths:
        soundfile.write(path, np.full(8000 * int(path.stem), 0.1), 8000)
    return paths


def test_lengths_are_those_of_the_headers(tones, tmp_path):
    assert [stated_seconds(path) for path in tones] == [1.0, 2.0, 3.0]
    assert stated_seconds(Cut(tones[2], 16_000)) == 2.0
    assert stated_seconds(Cut(tones[2], 16_000, 8_000)) == 0.5
    assert stated_seconds(STDIN) is None and stated_seconds(tmp_path / "none.wav") is None


def counted(hearing, steps):
    """Run a job that does `steps`: (recording, seconds heard of it; None: it is done)."""

    def rows():
        deadline = time.monotonic() + 10
        while not hearing._all_looked_up and time.monotonic() < deadline:
            time.sleep(0.001)
        hearing.begin()
        for number, seconds in steps:
            if seconds is None:
                yield number, "row"
            else:
                hearing.hears(number, seconds)

    return list(hearing.over(rows()))


def test_seconds_are_counted_inside_a_recording_and_in_any_order(tones):
    told = []
    hearing = Hearing(dict(enumerate(tones)), told.append)
    steps = [(2, 1.5), (0, 0.5), (0, 1.0), (0, None), (2, 3.0), (1, 2.0), (1, None), (2, None)]
    assert counted(hearing, steps) == [(0, "row"), (1, "row"), (2, "row")]
    assert [heard.seconds for heard in told] == [0, 1.5, 2, 2.5, 2.5, 4, 6, 6, 6]
    assert [heard.recordings for heard in told] == [0, 0, 0, 0, 1, 1, 1, 2, 3]
    assert {(heard.of, heard.total) for heard in told} == {(3, 6.0)}
    hearing.hears(0, 0.5)
    assert len(told) == 9  # nothing is reported outside


def test_one_that_cannot_be_read_is_done_all_the_same(tones):
    told = []
    counted(Hearing(dict(enumerate(tones)), told.append), [(0, None), (2, 0.5), (2, None)])
    assert [heard.seconds for heard in told] == [0, 1.0, 1.5, 4.0]


def test_a_recording_of_unknown_length_counts_as_the_mean_of_the_others(tones, tmp_path):
    (tmp_path / "no.wav").write_bytes(b"no")
    told = []
    recorded = dict(enumerate([*tones, tmp_path / "no.wav"]))
    counted(Hearing(recorded, told.append, {0: 5.0}), [(3, 9.5), (3, None), (0, 5.0)])
    assert [heard.total for heard in told] == [40 / 3, 40 / 3, 40 / 3, 14.5]


def test_nothing_is_known_of_what_comes_on_a_pipe():
    told = []
    counted(Hearing({0: STDIN}, told.append), [(0, 7.0), (0, None)])
    assert [(heard.seconds, heard.total) for heard in told] == [(0, None), (7, None), (7, None)]


def test_a_job_that_breaks_off_waits_for_no_lengths(tones):
    def rows():
        raise RuntimeError("broken")
        yield

    with pytest.raises(RuntimeError, match="broken"):
        list(Hearing(dict(enumerate(tones)), print).over(rows()))
