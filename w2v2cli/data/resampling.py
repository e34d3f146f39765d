"""Resampling from any rate to 16 kHz, piece by piece, with the same samples as in one piece.

Shapes: S samples, K taps of the window, P output periods.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np

from models.config import SAMPLE_RATE

LARGEST_TERM = 640  # of the ratio's denominator, one filter each; 11 025 Hz needs 640
# Multiplications of one matrix product: OpenBLAS splits larger ones among threads, which then
# compete with the model's.
ONE_THREAD = 2**18


def resampled(chunks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Resample pieces (S,) float32 from `rate` Hz to 16 kHz; at 16 kHz they pass unchanged,
    and so they do at the rates within 0.08 % of it, for which no ratio is small enough.

    The filters are those of torchaudio's windowed-sinc resampler, and the samples agree with its
    (1e-5). The convolution is done as small matrix products in one thread: torch's, in two, runs
    at a tenth of its speed beside a busy model. A ratio of large terms (44 101 Hz) is rounded to
    one within 1e-6, which shifts 4 ms in an hour.
    """
    old, new = _terms(rate)
    if old == new:
        yield from chunks
        return
    bank, before = _filter_bank(old, new)  # (K, new)
    received = given = 0
    # The buffer begins where the window of the next output period begins.
    buffer = np.zeros(before, np.float32)
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
    """The number of samples that `resampled` makes of `samples` at `rate` Hz."""
    old, new = _terms(rate)
    return -(-samples * new // old)


def _terms(rate: int) -> tuple[int, int]:
    """The ratio of a rate to 16 kHz, as numerator and denominator."""
    ratio = Fraction(rate, SAMPLE_RATE).limit_denominator(LARGEST_TERM)
    return ratio.numerator, ratio.denominator


@lru_cache(maxsize=4)  # making one takes longer than resampling ten seconds with it
def _filter_bank(old: int, new: int) -> tuple[np.ndarray, int]:
    """The filters (K, new), and the number of window samples before an output period's first.

    One output period has `new` samples; its window of K input samples then advances by `old`.
    """
    from torchaudio.transforms import Resample

    transform = Resample(old, new)
    return np.ascontiguousarray(transform.kernel[:, 0].numpy().T), transform.width


def _filtered(samples: np.ndarray, bank: np.ndarray, old: int, periods: int) -> np.ndarray:
    """Output periods from the windows that begin at 0, old, 2·old, …: (S,) -> (periods · new,)."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, len(bank))[::old]  # (P, K)
    rows = max(ONE_THREAD // bank.size, 1)
    parts = (windows[i : min(i + rows, periods)] for i in range(0, periods, rows))
    # (rows, K) @ (K, new) -> (rows, new) -> (rows · new,)
    return np.concatenate([(np.ascontiguousarray(part) @ bank).ravel() for part in parts])
