"""The thread that reads ahead of the acoustic model."""

import threading
import time

import numpy as np
import pytest
import soundfile

from models.config import demo
from w2v2cli.data.audio import Waveform
from w2v2cli.recognition.reader import Reader

CONFIG = demo()
RATE = 16_000


def noise(seconds: float, name: str = "noise") -> Waveform:
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
    return Waveform(samples, RATE, name)


def jobs(reader: Reader) -> list:
    found = []
    while (job := reader.next(wait=True)) is not None:
        found.append(job)
    return found


def test_windows_come_in_the_order_of_the_recordings(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1.0).samples, RATE)
    with Reader([tmp_path / "a.wav", noise(0.5, "b")], CONFIG, ahead=10 * RATE) as reader:
        first, second = jobs(reader)
    assert first.recording.source == tmp_path / "a.wav" and first.recording.samples == RATE
    assert str(second.recording.source) == "b" and len(second.window.samples) == RATE // 2
    assert (first.index, second.index) == (0, 0)
    assert first.window.last and second.window.last


def test_a_long_recording_comes_in_several_windows():
    with Reader([noise(95.0)], CONFIG, ahead=200 * RATE) as reader:
        found = jobs(reader)
    assert [job.index for job in found] == list(range(len(found))) and len(found) > 2
    assert [job.window.last for job in found] == [False] * (len(found) - 1) + [True]
    assert len({id(job.recording) for job in found}) == 1
    assert found[0].recording.samples == 95 * RATE


def test_an_unreadable_recording_is_a_job_without_a_window_and_the_next_one_follows(tmp_path):
    (tmp_path / "no.wav").write_bytes(b"RIFF")
    with Reader([tmp_path / "no.wav", noise(0.2)], CONFIG, ahead=RATE) as reader:
        broken, whole = jobs(reader)
    assert broken.window is None and broken.samples == 0
    assert str(tmp_path / "no.wav") in broken.recording.error
    assert whole.window is not None and whole.recording.error is None


def test_it_waits_once_enough_audio_is_ready():
    begun = []

    def sources():
        for number in range(20):
            begun.append(number)
            yield noise(1.0, str(number))

    with Reader(sources(), CONFIG, ahead=3 * RATE) as reader:
        deadline = time.monotonic() + 10
        while len(begun) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        assert len(begun) == 4  # three seconds ready, and one recording held in hand
        assert len(jobs(reader)) == 20


def test_leaving_it_early_ends_its_thread():
    before = threading.active_count()
    with Reader((noise(1.0) for _ in range(1000)), CONFIG, ahead=RATE) as reader:
        assert reader.next(wait=True) is not None
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_what_goes_wrong_in_the_program_is_raised_where_jobs_are_taken():
    def sources():
        yield noise(0.1)
        raise RuntimeError("a fault")

    with Reader(sources(), CONFIG, ahead=RATE) as reader:
        assert reader.next(wait=True) is not None
        with pytest.raises(RuntimeError, match="a fault"):
            reader.next(wait=True)
        assert reader.next(wait=True) is None


def test_without_waiting_there_may_be_nothing_yet():
    release = threading.Event()

    def sources():
        release.wait(10)
        yield noise(0.1)

    with Reader(sources(), CONFIG, ahead=RATE) as reader:
        assert reader.next(wait=False) is None
        release.set()
        assert reader.next(wait=True) is not None
