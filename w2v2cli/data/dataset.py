"""What training reads: which recordings, spelled how, in micro-batches whose order (seed, epoch) alone decides.

Shapes: B batch, S samples, N labels.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
import torchaudio
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.config import SAMPLE_RATE, Wav2Vec2Config
from w2v2cli.data.epoch_plan import EpochPlan, epoch_plan
from w2v2cli.data.recordings import Recordings
from w2v2cli.errors import UserError


@dataclass(frozen=True)
class Batch:
    """Padded waveforms (B, S) with their lengths (B,), label ids (B, N) with theirs (N = 0 without labels)."""

    waveforms: Tensor
    lengths: Tensor
    labels: Tensor
    label_lengths: Tensor
    ids: tuple[str, ...]
    unreadable: tuple[str, ...] = ()
    """Why recordings that belong here are missing, a sentence for each."""

    @property
    def amount(self) -> float:
        """Seconds of audio in it, padding left out."""
        return int(self.lengths.sum()) / SAMPLE_RATE

    def suspects(self) -> tuple[str, ...]:
        """The utterances that hold samples which are no numbers; all of them where none does."""
        finite = self.waveforms.isfinite().all(1).tolist()
        return (
            tuple(name for name, whole in zip(self.ids, finite, strict=True) if not whole)
            or self.ids
        )

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU reads from directly; DataLoader calls this."""
        return replace(self, waveforms=self.waveforms.pin_memory(), labels=self.labels.pin_memory())


@dataclass(frozen=True)
class LeftOut:
    """An utterance that cannot be learned from, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class TrainingSet:
    """The recordings of `source` that training reads, and their labels."""

    source: Recordings
    kept: np.ndarray
    """(M,) int64: which of the source's recordings."""
    labels: tuple[tuple[int, ...], ...] | None = None
    """Label ids of each of those kept; None for audio alone."""

    @property
    def lengths(self) -> np.ndarray:
        """(M,) int64 samples of each at 16 kHz."""
        return self.source.lengths[self.kept]

    @property
    def shards(self) -> np.ndarray | None:
        """(M,) shard of each, None for files."""
        return None if self.source.shards is None else self.source.shards[self.kept]

    @property
    def hours(self) -> float:
        """Audio in all of it."""
        return float(self.lengths.sum()) / SAMPLE_RATE / 3600

    def __len__(self) -> int:
        return len(self.kept)


def unlabelled(source: Recordings, shortest: int) -> tuple[TrainingSet, list[LeftOut]]:
    """All recordings of at least `shortest` samples."""
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
) -> tuple[TrainingSet, list[LeftOut]]:
    """Spell every transcript; those empty, outside the alphabet or without a CTC path are left out, with the reason.

    fastest: the highest speed a recording will be played at; it must be long enough for its labels even so.
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
        frames, needed = (
            config.frame_lengths(int(source.lengths[i] / fastest) - 1),
            path_length(spelled),
        )
        if not spelled:
            left_out.append(LeftOut(name, "its transcript is empty"))
        elif frames < needed:
            left_out.append(
                LeftOut(name, f"{frames} frames of audio cannot hold its {needed} CTC steps")
            )
        else:
            kept.append(i)
            labels.append(spelled)
    return TrainingSet(source, np.array(kept, np.int64), tuple(labels)), left_out


def path_length(labels: Sequence[int]) -> int:
    """Frames that the shortest CTC path of `labels` needs: one a label, and a blank between two equal ones."""
    return len(labels) + sum(a == b for a, b in zip(labels, labels[1:], strict=False))


@dataclass(frozen=True)
class Reading:
    """How the recordings of a set are read into micro-batches."""

    budget: int
    """Samples of one padded micro-batch."""
    crop: int | None = None
    """Longer recordings are cut to this many samples."""
    speeds: tuple[float, ...] = (1.0,)
    """Each recording is played at one of these, drawn anew each epoch."""
    seed: int = 1

    def epoch(self, data: TrainingSet, epoch: int) -> MicroBatches:
        """The micro-batches of one epoch; their order, crops and speeds are a function of (seed, epoch) alone."""
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
            seed=self.seed,
            epoch=epoch,
            shards=data.shards,
        )
        return MicroBatches(data, plan, speeds)


class MicroBatches(Dataset[Batch]):
    """The micro-batches of one epoch, by index."""

    def __init__(
        self, data: TrainingSet, plan: EpochPlan, speeds: np.ndarray | None = None
    ) -> None:
        self.data, self.plan, self.speeds = data, plan, speeds

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        """Read one; a recording that cannot be read is left out and named, UserError when none can."""
        planned = self.plan[index]
        waveforms, labels, ids, unreadable = [], [], [], []
        for place, start, samples in zip(
            planned.indices, planned.starts, planned.samples, strict=True
        ):
            at = int(self.data.kept[place])
            try:
                waveforms.append(self._read(place, at, start, samples))
            except UserError as error:
                unreadable.append(str(error))
                continue
            labels.append(
                torch.tensor(self.data.labels[place] if self.data.labels else (), dtype=torch.long)
            )
            ids.append(self.data.source.ids[at])
        if not waveforms:
            raise UserError(
                f"None of the {len(unreadable)} recordings of a batch can be read: {unreadable[0]}"
            )
        return collate(waveforms, labels, ids, unreadable)

    def _read(self, place: int, at: int, start: int, samples: int) -> Tensor:
        if self.speeds is None:
            return torch.from_numpy(self.data.source.read(at, start, samples))
        return at_speed(torch.from_numpy(self.data.source.read(at)), float(self.speeds[place]))

    def load(self, indices: Sequence[int], workers: int, pin: bool = False) -> Iterator[Batch]:
        """The batches of these indices in their order, read ahead by `workers` processes; 0 reads them here."""
        loader = DataLoader(
            self,
            batch_size=None,
            sampler=list(indices),
            num_workers=workers,
            pin_memory=pin,
            prefetch_factor=4 if workers else None,
            multiprocessing_context="forkserver" if workers else None,
        )
        return iter(loader)


def collate(
    waveforms: Sequence[Tensor],
    labels: Sequence[Tensor],
    ids: Sequence[str],
    unreadable: Sequence[str] = (),
) -> Batch:
    """Pad waveforms (S,) and labels (N,) to one batch."""
    return Batch(
        torch.nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True),
        torch.tensor([len(w) for w in waveforms]),
        torch.nn.utils.rnn.pad_sequence(list(labels), batch_first=True),
        torch.tensor([len(spelled) for spelled in labels]),
        tuple(ids),
        tuple(unreadable),
    )


def at_speed(waveform: Tensor, speed: float) -> Tensor:
    """(S,) played `speed` times as fast, (S / speed,): resampled, so pitch follows."""
    if speed == 1.0:
        return waveform
    ratio = Fraction(speed).limit_denominator(100)
    return torchaudio.functional.resample(waveform, ratio.numerator, ratio.denominator)


def budget_samples(seconds: float) -> int:
    """A batch budget in samples."""
    return int(seconds * SAMPLE_RATE)
