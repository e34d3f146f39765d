"""Windows over sound that arrives."""

import numpy as np
import pytest

from models.config import demo
from w2v2cli.recognition.streaming.listening import Latency, live_windows

CONFIG = demo()


@pytest.mark.parametrize("chunk", [160, 16_000, 500_000])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 7.3, 30.0])
def test_kept_frames_are_those_of_the_whole_each_once(seconds, chunk):
    """Frames are told apart by their first sample."""
    sound = np.arange(int(seconds * 16_000), dtype=np.float32)
    chunks = [sound[at : at + chunk] for at in range(0, len(sound), chunk)]
    firsts = []
    for window in live_windows(chunks, CONFIG, Latency(3.0)):
        count = CONFIG.frame_lengths(len(window.samples))
        first = [int(window.samples[i * CONFIG.stride]) for i in range(count)]
        firsts += first[window.keep_from : window.keep_to]
    assert firsts == [i * CONFIG.stride for i in range(CONFIG.frame_lengths(len(sound)))]


def test_a_window_waits_for_its_context_and_no_longer():
    latency = Latency(3.0)
    sound = iter([np.zeros(160, np.float32)] * 2000)  # 10 ms each
    taken = 0

    def counted():
        nonlocal taken
        for chunk in sound:
            taken += 1
            yield chunk

    ends = []
    for window in live_windows(counted(), CONFIG, latency):
        ends.append(taken / 100)
        assert len(window.samples) <= 16_000 * (3.0 + latency.step + latency.ahead + 0.1)
    waits = latency.step + latency.ahead
    assert ends[0] == pytest.approx(waits, abs=0.1)
    assert np.diff(ends[:-1]) == pytest.approx(latency.step, abs=0.1)
    assert latency.step + latency.ahead + latency.behind == pytest.approx(latency.seconds)
