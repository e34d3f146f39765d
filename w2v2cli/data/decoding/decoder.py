"""What a decoder is, and its output checked and averaged to mono piece by piece.

Shapes: S samples, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from w2v2cli.console import say
from w2v2cli.data.decoding.source import AudioError, CutShort

SLOWEST, FASTEST = 1_000, 768_000  # Hz; a rate outside comes from a damaged header
LOUDEST = 1e12  # far above integers kept as floats; squares of more overflow in the network
SILENT = 1e-8  # mean square, -80 dB: quieter channels cancel nothing
CANCELLED = 1e-3  # share of the channels' mean square, -30 dB, that is left of opposite ones
_told: set[str] = set()


class Damage(Exception):
    """Raised by a decoder that cannot go on; the message is the reason."""


class Decoder(Protocol):
    """An open recording at its own rate."""

    rate: int
    """Hz."""
    channels: int
    frames: int | None
    """Samples of one channel, exact; None where only decoding tells."""
    promised: int | None
    """Samples of one channel that the header promises; None where it promises nothing."""
    estimate: int | None
    """About as many samples of one channel; None where nothing is known."""
    tolerance: float
    """Seconds by which the promise may exceed what is there."""
    seekable: bool
    """Whether `seek` is exact to the sample."""

    def seek(self, frame: int) -> int:
        """Go to a sample; returns its number. Raises Damage."""

    def blocks(self) -> Iterator[np.ndarray]:
        """The samples (S, C) float32 from here to the end. Raises Damage."""

    def close(self) -> None:
        """Free the decoder. The stream that it reads stays open."""


def check_header(decoder: Decoder, name: str) -> None:
    """Raise AudioError for a header that makes no sense."""
    if decoder.channels < 1:
        raise AudioError(f"{name} has no channel.")
    if not SLOWEST <= decoder.rate <= FASTEST:
        raise AudioError(
            f"{name} says it has {decoder.rate} samples a second; {SLOWEST} to "
            f"{FASTEST} can be read."
        )
    if decoder.frames == 0:
        raise AudioError(f"{name} holds no samples.")


def pieces(
    decoder: Decoder, name: str, done: int = 0, channel: int | None = None
) -> Iterator[np.ndarray]:
    """The average of the channels, (S,) float32 at the file's own rate, checked piece by piece.

    done: frames before the decoder's position. channel: one, from 1 on, in place of the average.
    Raises AudioError for a channel that there is not, for samples that are not finite or
    absurdly large; and at the end CutShort for a file that breaks off or holds less than its
    header promises.
    """
    rate, promised = decoder.rate, decoder.promised
    of = "" if promised is None else f" of {promised / rate:.1f} s"
    if channel is not None and channel > decoder.channels:
        few = "1 channel" if decoder.channels == 1 else f"{decoder.channels} channels"
        raise AudioError(f"{name} has {few}: there is no channel {channel}.")
    cancelled = False  # once for all: the channels of such a recording are opposite throughout
    try:
        for block in decoder.blocks():
            check_samples(block, name, done, rate)
            done += len(block)
            if channel is not None:
                yield block[:, channel - 1]
                continue
            cancelled = cancelled or cancels(block)
            if cancelled:
                _tell_cancelled(name)
            yield block[:, 0] if cancelled else mono(block)
    except Damage as damage:
        if done:
            raise CutShort(f"{name} breaks off after {done / rate:.1f} s{of}: {damage}.") from None
        raise AudioError(f"{name} cannot be read from its beginning: {damage}.") from None
    if not done:
        raise AudioError(f"{name} holds no samples.")
    if promised is not None and done < promised - rate * decoder.tolerance:
        raise CutShort(
            f"{name} is cut short: it holds {done / rate:.1f} s{of} that its header promises."
        )


def check_samples(block: np.ndarray, name: str, before: int, rate: int) -> None:
    """Raise AudioError for samples (S, C) that are not finite or absurdly large.

    before: samples of a channel that came before the block, to tell where it is.
    """
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        at = (before + int(finite.argmin())) / rate
        raise AudioError(f"{name} holds samples that are NaN or infinite, the first at {at:.3f} s.")
    loudest = float(np.abs(block).max(initial=0.0))
    if loudest > LOUDEST:
        raise AudioError(
            f"{name} holds samples of {loudest:.0e}, which are no sound: 1 is full scale."
        )


def cancels(samples: np.ndarray) -> bool:
    """Whether the channels (S, C) are of opposite phase, so that their average is silent."""
    if samples.shape[1] == 1 or not len(samples):
        return False
    loudness = float(np.square(samples, dtype=np.float64).mean())
    left = float(np.square(mono(samples), dtype=np.float64).mean())
    return loudness > SILENT and left < CANCELLED * loudness


def _tell_cancelled(name: str) -> None:
    """Say once in a process that a recording's first channel is taken."""
    if name not in _told:
        _told.add(name)
        say(
            f"Warning: {name}: the channels are of opposite phase and cancel each other; "
            "the first one is taken."
        )


def mono(samples: np.ndarray) -> np.ndarray:
    """The average of the channels: (S, C) -> (S,)."""
    channels = samples.shape[1]
    return samples[:, 0] if channels == 1 else samples @ np.full(channels, 1 / channels, np.float32)
