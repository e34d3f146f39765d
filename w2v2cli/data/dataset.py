"""Training data: the recordings that are read, their labels, and the micro-batches of an epoch.

Shapes: B batch, S samples, N labels, M recordings of a set.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.config import SAMPLE_RATE, Wav2Vec2Config
from w2v2cli.data.epoch_plan import EpochPlan, epoch_plan
from w2v2cli.data.loading.augmentation import Augmentation, augmented
from w2v2cli.data.loading.flat import Rows
from w2v2cli.data.recordings import Recordings
from w2v2cli.errors import UserError

TENSORS = ("waveforms", "lengths", "labels", "label_lengths")  # of a batch
TRIES = 100  # micro-batches that are tried before nothing is left to train on


@dataclass(frozen=True)
class Batch:
    """A padded micro-batch."""

    waveforms: Tensor
    """(B, S) float32, zero-padded."""
    lengths: Tensor
    """(B,) samples of each."""
    labels: Tensor
    """(B, N) label ids, zero-padded; N is 0 without labels."""
    label_lengths: Tensor
    """(B,) labels of each."""
    ids: tuple[str, ...]
    """Ids of the B utterances."""
    unreadable: tuple[str, ...] = ()
    """A sentence for each recording that is missing because it could not be read."""

    @property
    def amount(self) -> float:
        """Seconds of audio, without padding."""
        return int(self.lengths.sum()) / SAMPLE_RATE

    @property
    def described(self) -> str:
        """What is in it, for a sentence about memory."""
        longest = int(self.lengths.argmax())
        seconds = self.waveforms.numel() / SAMPLE_RATE
        return (
            f"{len(self.ids)} utterances, {seconds:.1f} s with padding, the longest "
            f"{self.ids[longest]} of {int(self.lengths[longest]) / SAMPLE_RATE:.1f} s"
        )

    def suspects(self) -> tuple[str, ...]:
        """The ids of utterances with NaN or infinite samples; all ids where there is none."""
        finite = self.waveforms.isfinite().all(1).tolist()
        return (
            tuple(name for name, whole in zip(self.ids, finite, strict=True) if not whole)
            or self.ids
        )

    def __getstate__(self) -> dict[str, Any]:
        # Between processes large arrays are mapped, not copied; tensors would be copied.
        return self.__dict__ | {name: getattr(self, name).numpy() for name in TENSORS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {name: torch.from_numpy(state[name]) for name in TENSORS})

    def pin_memory(self) -> Batch:
        """A copy in page-locked memory, which a GPU reads directly."""
        return replace(self, waveforms=self.waveforms.pin_memory(), labels=self.labels.pin_memory())


@dataclass(frozen=True)
class LeftOut:
    """An utterance that is not trained on."""

    id: str
    reason: str
    """Why, for the middle of a sentence."""
    too_long: float | None = None
    """Its seconds, where it is longer than a micro-batch may be."""


@dataclass(frozen=True)
class TrainingSet:
    """A selection of recordings that training reads, and their labels."""

    source: Recordings
    kept: np.ndarray
    """(M,) int64: indices of the source's recordings that are read."""
    labels: Rows | None = None
    """Label ids of each of the M recordings; None for audio alone."""

    @property
    def lengths(self) -> np.ndarray:
        """(M,) int64: samples of each at 16 kHz."""
        return self.source.lengths[self.kept]

    @property
    def shards(self) -> np.ndarray | None:
        """(M,) int64: the shard of each; None for files."""
        return None if self.source.shards is None else self.source.shards[self.kept]

    @property
    def hours(self) -> float:
        """Hours of audio."""
        return float(self.lengths.sum()) / SAMPLE_RATE / 3600

    def __len__(self) -> int:
        return len(self.kept)


def unlabelled(source: Recordings, shortest: int) -> tuple[TrainingSet, list[LeftOut]]:
    """Select all recordings of at least `shortest` samples, for training without labels.

    Returns the set and what was left out.
    """
    long_enough = source.lengths >= shortest
    left_out = [
        LeftOut(
            source.ids[int(i)],
            f"its {source.lengths[i] / SAMPLE_RATE:.2f} s are less than {shortest / SAMPLE_RATE:g}",
        )
        for i in np.flatnonzero(~long_enough)
    ]
    return TrainingSet(source, np.flatnonzero(long_enough)), left_out


def labelled(
    source: Recordings,
    spell: Callable[[str], tuple[int, ...]],
    config: Wav2Vec2Config,
    fastest: float = 1.0,
    longest: int | None = None,
) -> tuple[TrainingSet, list[LeftOut]]:
    """Spell every transcript; leave out what is empty, not in the alphabet, or has no CTC path.

    Left out is also what is longer than `longest` samples, where that is given.

    spell: label ids of a text; it raises ValueError for a text outside the alphabet.
    fastest: the highest speed at which a recording will be played; it must still be long enough
    for its labels then.

    Returns the set and what was left out.
    """
    kept: list[int] = []
    labels: list[tuple[int, ...]] = []
    left_out: list[LeftOut] = []
    for i, (name, text) in enumerate(zip(source.ids, source.texts, strict=True)):
        try:
            spelled = spell(text or "")
        except ValueError as error:
            left_out.append(LeftOut(name, str(error)))
            continue
        seconds = source.lengths[i] / SAMPLE_RATE
        if longest is not None and source.lengths[i] > longest:
            reason = f"its {seconds:.1f} s are more than {longest / SAMPLE_RATE:g}"
            left_out.append(LeftOut(name, reason, too_long=float(seconds)))
            continue
        frames = config.frame_lengths(int(source.lengths[i] / fastest) - 1)
        needed = path_length(spelled)
        if not spelled:
            left_out.append(LeftOut(name, "its transcript is empty"))
        elif frames < needed:
            left_out.append(
                LeftOut(name, f"{frames} frames of audio cannot hold its {needed} CTC steps")
            )
        else:
            kept.append(i)
            labels.append(spelled)
    return TrainingSet(source, np.array(kept, np.int64), Rows.of(labels)), left_out


def path_length(labels: Sequence[int]) -> int:
    """Frames of the shortest CTC path: one per label, and a blank between two equal labels."""
    return len(labels) + sum(a == b for a, b in zip(labels, labels[1:], strict=False))


@dataclass(frozen=True)
class Reading:
    """Settings by which the recordings of a set become micro-batches."""

    budget: int
    """Largest micro-batch in samples, padding included."""
    crop: int | None = None
    """Samples to which longer recordings are cut; None reads them whole."""
    speeds: tuple[float, ...] = (1.0,)
    """Speeds at which a recording may be played; one is drawn for each in every epoch."""
    augmentation: Augmentation = Augmentation()
    """How recordings are changed; drawn for each in every epoch."""
    seed: int = 1
    """Random seed of the order, crops, speeds and augmentation."""

    def epoch(self, data: TrainingSet, epoch: int) -> MicroBatches:
        """The micro-batches of one epoch, a function of the data, these settings and the epoch.

        Where recordings are cropped, all of a micro-batch are cut to its shortest: nothing is
        padded, so attention needs no mask and can take its fastest kernel.
        """
        speeds = None
        lengths = data.lengths
        if self.speeds != (1.0,):
            draw = random.Random(f"{self.seed}/{epoch}/speed")
            speeds = np.array([draw.choice(self.speeds) for _ in range(len(data))])
            lengths = (lengths / speeds).astype(np.int64)
        plan = epoch_plan(
            lengths,
            budget=self.budget,
            crop=self.crop,
            equal=self.crop is not None,
            seed=self.seed,
            epoch=epoch,
            shards=data.shards,
        )
        return MicroBatches(data, plan, speeds, self.augmentation, (self.seed % 2**32, epoch))


class MicroBatches:
    """The micro-batches of one epoch, by index.

    speeds: (M,) the speed of each recording; None plays all as they are.
    draws: numbers that decide the augmentation, beside a recording's place in the set.
    """

    def __init__(
        self,
        data: TrainingSet,
        plan: EpochPlan,
        speeds: np.ndarray | None = None,
        augmentation: Augmentation = Augmentation(),
        draws: tuple[int, ...] = (),
    ) -> None:
        self.data, self.plan, self.speeds = data, plan, speeds
        self.augmentation, self.draws = augmentation, draws

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        """Read a micro-batch without what cannot be read.

        Where nothing of it can be read, the next one that can takes its place, so that every rank
        has as many as before; its `unreadable` has the sentences of both. Raises UserError where
        there is none among `TRIES`.
        """
        unreadable: list[str] = []
        for step in range(min(TRIES, len(self))):
            batch = self._batch((index + step) % len(self), unreadable)
            if batch is not None:
                return batch
        raise UserError(
            f"None of the {len(unreadable)} recordings of {step + 1} micro-batches can be read: "
            f"{unreadable[0]}"
        )

    def _batch(self, index: int, unreadable: list[str]) -> Batch | None:
        """Read a micro-batch; None where nothing of it can be read. Adds to `unreadable`."""
        planned = self.plan[index]
        waveforms, labels, ids = [], [], []
        for place, start, samples in zip(
            planned.indices, planned.starts, planned.samples, strict=True
        ):
            at = int(self.data.kept[place])
            try:
                waveforms.append(self._read(place, at, start, samples))
            except UserError as error:
                unreadable.append(str(error))
                continue
            labels.append(self._labels(place))
            ids.append(self.data.source.ids[at])
        return collate(waveforms, labels, ids, unreadable) if waveforms else None

    def _labels(self, place: int) -> Tensor:
        if self.data.labels is None:
            return torch.zeros(0, dtype=torch.long)
        return torch.from_numpy(self.data.labels[place])

    def _read(self, place: int, at: int, start: int, samples: int) -> Tensor:
        if self.speeds is None:
            waveform = torch.from_numpy(self.data.source.read(at, start, samples))
        else:
            read = torch.from_numpy(self.data.source.read(at))
            waveform = at_speed(read, float(self.speeds[place]))
        if not self.augmentation:
            return waveform
        return augmented(waveform, self.augmentation, np.random.default_rng([*self.draws, place]))


def collate(
    waveforms: Sequence[Tensor],
    labels: Sequence[Tensor],
    ids: Sequence[str],
    unreadable: Sequence[str] = (),
) -> Batch:
    """Pad waveforms (S,) and label ids (N,) to one batch."""
    return Batch(
        torch.nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True),
        torch.tensor([len(w) for w in waveforms]),
        torch.nn.utils.rnn.pad_sequence(list(labels), batch_first=True),
        torch.tensor([len(spelled) for spelled in labels]),
        tuple(ids),
        tuple(unreadable),
    )


def at_speed(waveform: Tensor, speed: float) -> Tensor:
    """Play a waveform `speed` times as fast, by resampling: (S,) -> (S / speed,), pitch follows."""
    if speed == 1.0:
        return waveform
    import torchaudio  # most runs play nothing faster, and each worker would wait for it

    ratio = Fraction(speed).limit_denominator(100)
    return torchaudio.functional.resample(waveform, ratio.numerator, ratio.denominator)


def budget_samples(seconds: float) -> int:
    """A batch budget in seconds, as samples."""
    return int(seconds * SAMPLE_RATE)
