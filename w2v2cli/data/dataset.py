"""Labelled recordings as a training loop reads them: waveforms and label ids, in padded batches.

Shapes: B batch, S samples, N labels.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
import torchaudio
from torch import Tensor

from lm.normalization import normalize_text
from lm.vocabulary import Vocabulary
from models.config import SAMPLE_RATE, Wav2Vec2Config
from w2v2cli.data.audio import read_audio
from w2v2cli.data.batching import batches_by_length
from w2v2cli.data.corpora import Utterance


@dataclass(frozen=True)
class Batch:
    """Padded waveforms (B, S) with their lengths (B,), label ids (B, N) with theirs, and who they are."""

    waveforms: Tensor
    lengths: Tensor
    labels: Tensor
    label_lengths: Tensor
    ids: tuple[str, ...]


@dataclass(frozen=True)
class LabelledRecording:
    """An utterance that can be learned from: its samples at 16 kHz and its spelling."""

    utterance: Utterance
    waveform: Tensor  # (S,) float32
    labels: tuple[int, ...]


@dataclass(frozen=True)
class LeftOut:
    """An utterance that cannot be learned from, and why."""

    id: str
    reason: str


def read_labelled(
    utterances: Sequence[Utterance], vocabulary: Vocabulary, config: Wav2Vec2Config, fastest: float = 1.0
) -> tuple[list[LabelledRecording], list[LeftOut]]:
    """Read and spell every utterance; those without a CTC path are left out, with the reason.

    fastest: the highest speed it will be played at; the audio must be long enough for its labels even so.
    """
    kept: list[LabelledRecording] = []
    left_out: list[LeftOut] = []
    for utterance in utterances:
        try:
            labels = spell(utterance.text or "", vocabulary)
        except ValueError as error:
            left_out.append(LeftOut(utterance.id, str(error)))
            continue
        waveform = torch.from_numpy(read_audio(utterance.path))
        frames, needed = config.frame_lengths(int(len(waveform) / fastest) - 1), path_length(labels)
        if not labels:
            left_out.append(LeftOut(utterance.id, "its transcript is empty"))
        elif frames < needed:
            left_out.append(LeftOut(utterance.id, f"{frames} frames of audio cannot hold its {needed} CTC steps"))
        else:
            kept.append(LabelledRecording(utterance, waveform, labels))
    return kept, left_out


def spell(text: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    """Label ids of a transcript, the word boundary after every word, the last one too: as in fairseq's `.ltr` files, and
    what a lexicon search looks for. ValueError for what cannot be spelled."""
    end = () if vocabulary.word_boundary is None else (vocabulary.word_boundary,)
    return tuple(i for word in normalize_text(text).split() for i in (*vocabulary.spell(word), *end))


def path_length(labels: Sequence[int]) -> int:
    """Frames that the shortest CTC path of `labels` needs: one a label, and a blank between two equal ones."""
    return len(labels) + sum(a == b for a, b in zip(labels, labels[1:], strict=False))


def training_batches(
    recordings: Sequence[LabelledRecording],
    *,
    budget: int,
    speeds: Sequence[float],
    seed: int,
    epoch: int,
    skip: int = 0,
) -> Iterator[Batch]:
    """The batches of one epoch from the `skip`-th on; order and speeds are a function of (seed, epoch) alone.

    budget: samples of one padded batch.
    """
    draw = random.Random(f"{seed}/{epoch}/speed")
    played = [draw.choice(speeds) for _ in recordings]
    lengths = [int(len(r.waveform) / speed) for r, speed in zip(recordings, played, strict=True)]
    for indices in batches_by_length(lengths, budget, seed=seed, epoch=epoch)[skip:]:
        yield collate([recordings[i] for i in indices], [played[i] for i in indices])


def collate(recordings: Sequence[LabelledRecording], speeds: Sequence[float] | None = None) -> Batch:
    """Pad recordings, each played at its speed, to one batch."""
    waveforms = [r.waveform for r in recordings]
    if speeds is not None:
        waveforms = [at_speed(w, speed) for w, speed in zip(waveforms, speeds, strict=True)]
    labels = [torch.tensor(r.labels) for r in recordings]
    return Batch(
        torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True),
        torch.tensor([len(w) for w in waveforms]),
        torch.nn.utils.rnn.pad_sequence(labels, batch_first=True),
        torch.tensor([len(ids) for ids in labels]),
        tuple(r.utterance.id for r in recordings),
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
