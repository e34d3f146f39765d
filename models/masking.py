"""Span masks over time and over channels (paper §3.1, App. B)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

SpanLengths = Literal["fixed", "uniform", "normal", "poisson"]


@dataclass(frozen=True)
class SpanMask:
    """Which parts of the input training hides (paper §3.1; fine-tuning: App. B)."""

    time_probability: float
    """Share of frames that start a masked span, p. fairseq's `mask_prob` is p · M."""
    time_span: int = 10
    """Frames in a span, M: of each span where lengths are `fixed`, of the mean one where they are
    `normal` or `poisson`, of the longest (or shortest) where they are `uniform`."""
    channel_probability: float = 0.0
    """Share of channels that start a span of channels set to zero."""
    channel_span: int = 64
    """Channels in a span."""
    time_lengths: SpanLengths = "fixed"
    """Distribution of the spans' lengths (ablations, P App. A)."""
    time_spread: float = 0.0
    """Standard deviation of `normal` lengths, the other end of `uniform` ones; others ignore it."""
    time_overlap: bool = True
    """Whether spans may overlap (ablations, P App. A)."""

    def __post_init__(self) -> None:
        for name in ("time_probability", "channel_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies between 0 and 1, got {getattr(self, name):g}")
        for name in ("time_span", "channel_span"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.time_lengths not in ("fixed", "uniform", "normal", "poisson"):
            raise ValueError(
                f"time_lengths is fixed, uniform, normal or poisson, got {self.time_lengths!r}"
            )
        if self.time_spread < 0:
            raise ValueError(f"time_spread cannot be negative, got {self.time_spread:g}")


@dataclass(frozen=True)
class DrawnMask:
    """What is hidden of a batch in fine-tuning."""

    frames: Tensor
    """(B, T) bool: frames that become the trained vector."""
    channels: Tensor | None
    """(B, D) bool: channels set to zero; None where no channels are masked."""

    @classmethod
    def draw(
        cls, frames: Tensor, width: int, mask: SpanMask, generator: torch.Generator | None = None
    ) -> DrawnMask:
        """Draw what `mask` hides, on the device of `frames`.

        frames: (B,) valid frames of each utterance; best on the CPU, where a generator draws the
        same for every kind of device. width: D, channels of the context network's input.
        """
        hidden = sample_time_mask(frames, int(frames.max()), mask, generator)
        if mask.channel_probability == 0:
            return cls(hidden, None)
        return cls(
            hidden,
            sample_spans(
                torch.full_like(frames, width),
                width,
                probability=mask.channel_probability,
                span=mask.channel_span,
                generator=generator,
            ),
        )

    def to(self, device: torch.device) -> DrawnMask:
        """Copy to a device without waiting for it."""
        channels = self.channels
        return DrawnMask(
            sent(self.frames, device), None if channels is None else sent(channels, device)
        )


def sample_time_mask(
    lengths: Tensor, size: int, mask: SpanMask, generator: torch.Generator | None = None
) -> Tensor:
    """Draw the frames that `mask` hides: (B,) valid frames of each row -> (B, size) bool.

    See `sample_spans`, which draws spans of one length that may overlap. For other masks the number
    of spans is drawn as there, then their lengths, rounded to at least one frame. Without overlap
    every arrangement with a free frame between two spans is equally likely, and spans that find no
    room any more are left out.
    """
    if mask.time_lengths == "fixed" and mask.time_overlap:
        return sample_spans(
            lengths,
            size,
            probability=mask.time_probability,
            span=mask.time_span,
            generator=generator,
        )
    counts = _span_counts(lengths, mask.time_probability, generator)
    spans = _span_lengths((len(lengths), int(counts.max())), mask, generator)
    spans = spans.to(lengths.device).minimum(lengths[:, None])
    keys = torch.rand(len(lengths), size, generator=generator, device=lengths.device)
    number = torch.arange(spans.shape[1], device=lengths.device)  # of a span in its row
    if mask.time_overlap:
        picked = _picked(lengths, counts, keys)
        start = torch.zeros_like(spans)
    else:
        # As many of the first spans as fit with a free frame after each but the last.
        fits = (spans.cumsum(1) + number <= lengths[:, None]) & (number < counts[:, None])
        counts = fits.sum(1)
        taken = (spans * fits).sum(1) + (counts - 1).clamp(min=0)
        # Among the free frames and one place for each span, the places of the spans are drawn; all
        # that stands before a span moves it to the right.
        picked = _picked(lengths - taken + counts, counts, keys)
        start = spans.cumsum(1) - spans  # frames of the spans before; the span itself is a place
    row, place = picked.nonzero(as_tuple=True)
    which = picked.long().cumsum(1)[row, place] - 1
    begin = place + start[row, which]
    end = (begin + spans[row, which]).minimum(lengths[row])
    edges = torch.zeros(len(lengths), size + 1, dtype=torch.long, device=lengths.device)
    one = torch.ones_like(row)
    edges.index_put_((row, begin), one, accumulate=True)
    edges.index_put_((row, end), -one, accumulate=True)
    return edges.cumsum(1)[:, :size] > 0


def _span_counts(lengths: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """(B,) valid positions -> (B,): spans of each row, at least 1 where a position is valid."""
    _check_probability(probability)
    coins = torch.rand(len(lengths), generator=generator, device=lengths.device)
    if probability == 0:
        return torch.zeros_like(lengths)
    return (lengths * probability + coins).floor().long().clamp(min=1).minimum(lengths)


def _span_lengths(
    shape: tuple[int, int], mask: SpanMask, generator: torch.Generator | None
) -> Tensor:
    """Lengths of spans, at least 1, as int64 on the generator's device or the CPU."""
    mean = torch.full(shape, float(mask.time_span))
    if generator is not None:
        mean = mean.to(generator.device)
    if mask.time_lengths == "uniform":
        draws = torch.rand(shape, generator=generator, device=mean.device)
        ends = (max(round(mask.time_spread), 1), mask.time_span)
        shortest, choices = min(ends), abs(ends[1] - ends[0]) + 1
        return shortest + (draws * choices).long().clamp(max=choices - 1)
    if mask.time_lengths == "normal":
        mean = torch.normal(mean, mask.time_spread, generator=generator)
    elif mask.time_lengths == "poisson":
        mean = torch.poisson(mean, generator=generator)
    return mean.round().long().clamp(min=1)


def _picked(sizes: Tensor, counts: Tensor, keys: Tensor) -> Tensor:
    """Choose `counts` (B,) of the first `sizes` (B,) positions by random keys (B, N): (B, N) bool.

    Those with the smallest keys; fewer where a row has fewer positions.
    """
    valid = frames_valid(sizes, keys.shape[1], keys.device)
    # Valid positions get the first ranks, in random order.
    rank = keys.masked_fill(~valid, 2.0).argsort(1).argsort(1)
    return (rank < counts[:, None]) & valid


def _check_probability(probability: float) -> None:
    if not 0 <= probability <= 1:
        raise ValueError(f"a mask probability lies between 0 and 1, got {probability}")


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a device without waiting for it, or for the work that it has been given before.

    A GPU does so with page-locked memory only; it keeps the source until it has been read.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def frames_valid(lengths: Tensor, size: int, device: torch.device) -> Tensor:
    """(B,) lengths -> (B, size) bool on `device`, false for padding frames (or samples)."""
    return torch.arange(size, device=device) < lengths.to(device, non_blocking=True)[:, None]


def sample_spans(
    lengths: Tensor,
    size: int,
    *,
    probability: float,
    span: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw starts without replacement and mask `span` positions from each; spans may overlap.

    A row's expected number of starts is probability · length, rounded up or down at random, so that
    short rows are masked as much as long ones. A row with a valid position has at least one start.
    R has at least two, and none so late that its span would be cut: at 20 frames it hides 68%, this
    46%; in long rows they are alike.

    lengths: (B,) valid positions of each row.
    size: N, positions of a row in the result.
    probability: share of the valid positions that start a span (0.065 for BASE pretraining).
    span: positions.

    Returns (B, N) bool on the device of `lengths`, true where masked, never past a row's length.
    Raises ValueError for a probability outside 0 to 1 and a span below 1.
    """
    _check_probability(probability)
    if span < 1:
        raise ValueError(f"a mask span has at least 1 position, got {span}")
    device = lengths.device
    keys = torch.rand(len(lengths), size, generator=generator, device=device)
    coins = torch.rand(len(lengths), generator=generator, device=device)
    if probability == 0:
        return torch.zeros(len(lengths), size, dtype=torch.bool, device=device)
    valid = frames_valid(lengths, size, device)
    starts = (lengths * probability + coins).floor().clamp(min=1)
    reach = _picked(lengths, starts, keys).long().cumsum(1)
    # Starts up to `span` positions earlier: a position is masked if there are more by now.
    before = torch.nn.functional.pad(reach, (span, 0))[:, :size]
    return (reach > before) & valid
