"""Any sample rate to 16 kHz, piece by piece, with the samples that the whole would give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np

SAMPLE_RATE = 16_000  # Hz
LARGEST_TERM = (
    640  # of the ratio's denominator: its filter bank has that many filters; 11 025 Hz needs 640
)
ONE_THREAD = (
    2**18
)  # multiplications; larger products OpenBLAS splits among threads, which get in the model's way


def resampled(chunks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """(S,) float32 pieces at `rate` Hz -> pieces at 16 kHz; at 16 kHz they pass untouched.

    The filters are those of torchaudio's windowed-sinc resampler, so are the samples (1e-5). Its convolution is done
    here as small matrix products in one thread: torch's, in two, stalls beside a busy model at a tenth of the speed.
    A ratio of unwieldy terms (44 101 Hz) is rounded to one within 1e-6: 4 ms in an hour.
    """
    if rate == SAMPLE_RATE:
        yield from chunks
        return
    old, new = _terms(rate)
    bank, before = _filter_bank(old, new)  # (K, new)
    received = given = 0
    buffer = np.zeros(
        before, np.float32
    )  # starts where the window of the next output period starts
    for chunk in chunks:
        received += len(chunk)
        buffer = np.concatenate([buffer, chunk])
        periods = (len(buffer) - len(bank)) // old + 1
        if periods > 0:
            yield _filtered(buffer, bank, old, periods)
            given += periods * new
            buffer = buffer[periods * old :]
    wanted = resampled_length(received, rate)
    buffer = np.concatenate([buffer, np.zeros(before + old, np.float32)])
    periods = max((len(buffer) - len(bank)) // old + 1, 0)
    if wanted > given:
        yield _filtered(buffer, bank, old, periods)[: wanted - given]


def resampled_length(samples: int, rate: int) -> int:
    """How many samples at 16 kHz `resampled` makes of so many at `rate` Hz."""
    old, new = _terms(rate)
    return -(-samples * new // old)


def _terms(rate: int) -> tuple[int, int]:
    """The ratio of a rate to 16 kHz, in small terms."""
    ratio = Fraction(rate, SAMPLE_RATE).limit_denominator(LARGEST_TERM)
    return ratio.numerator, ratio.denominator


@lru_cache(maxsize=4)  # making one takes longer than resampling ten seconds with it
def _filter_bank(old: int, new: int) -> tuple[np.ndarray, int]:
    """(K, new): one output period of `new` samples from a window of K, which advances by `old`; and how many samples
    of the window stand before the period's first."""
    from torchaudio.transforms import Resample

    transform = Resample(old, new)
    return np.ascontiguousarray(transform.kernel[:, 0].numpy().T), transform.width


def _filtered(samples: np.ndarray, bank: np.ndarray, old: int, periods: int) -> np.ndarray:
    """`periods` output periods from the windows that start at 0, old, 2·old, … of samples: (S,) -> (periods · new,)."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, len(bank))[::old]  # (P, K)
    rows = max(ONE_THREAD // bank.size, 1)
    parts = (windows[i : min(i + rows, periods)] for i in range(0, periods, rows))
    return np.concatenate([(np.ascontiguousarray(part) @ bank).ravel() for part in parts])
