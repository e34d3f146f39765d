"""Which codeword of the quantizer fires on which phone (the paper's appendix D).

TIMIT's labels have times; here a network that writes phones lays the known phones of an utterance
onto its frames. CTC marks a phone on a frame or two: the frames around belong to the nearest mark,
those further than NEAR from any to none.

Legend: T frames, P phones, G codebooks, V entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import w2v2
from lm.search.alignment import aligned
from lm.text.phones import fold
from models.pretraining import Wav2Vec2ForPretraining
from w2v2cli.data.audio import AudioError, read_part
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.errors import UserError
from w2v2cli.recognition.devices import resolve_device
from w2v2cli.recognition.scoring.error_rate import paired_interval

NEAR = 3  # frames (60 ms)


@dataclass(frozen=True)
class Counted:
    """How often each codeword was chosen on frames of each phone, and how much it tells of them."""

    phones: list[str]
    counts: list[list[list[int]]]
    """(G, P, V) of the trained quantizer."""
    frames: int
    """Frames that have a phone."""
    told: float
    """Share of frames of one half of the utterances on which the phone most seen with the codeword
    in the other half is right; a mean over the codebooks."""
    told_random: float
    """The same of a quantizer and feature encoder with random weights."""
    commonest: float
    """Share of the commonest phone: what is told without looking."""
    interval: tuple[float, float]
    """95% interval of `told` minus `told_random`."""
    used: list[int]
    """Entries of each codebook that were chosen at all."""


@dataclass(frozen=True)
class Heard:
    """The frames of one utterance that have a phone."""

    phones: np.ndarray
    """(T,) int64."""
    codes: np.ndarray
    """(T, G) int64, of the trained quantizer."""
    random: np.ndarray
    """(T, G) int64, of the one with random weights."""


def count_codes(pretrained: Path, aligner: Path, corpus: Path, device: str) -> Counted:
    """Count codewords and phones over a corpus whose utterances have phones.

    Raises UserError where a network or a recording cannot be read, or no frame has a phone.
    """
    place = resolve_device(device)
    trained = w2v2.load_checkpoint(pretrained)
    if not isinstance(trained, Wav2Vec2ForPretraining) or not trained.config.quantized_targets:
        raise UserError(f"{pretrained} has no quantizer of targets.")
    torch.manual_seed(0)
    networks = [trained.to(place), Wav2Vec2ForPretraining(trained.config).eval().to(place)]
    heard = []
    with w2v2.load(aligner, device=device) as model:
        labels = list(model.labels)
        for utterance in read_corpus(corpus):
            ids = [labels.index(phone) for phone in fold(utterance.phones or (), 39)]
            try:
                samples = read_part(utterance.path, utterance.start, utterance.samples)
            except AudioError as error:
                raise UserError(str(error)) from None
            marks = nearest_marks(model.emissions((samples, 16_000)), ids)
            if marks is None:
                continue
            of_phones = marks > 0
            codes = [_codes(network, samples)[of_phones] for network in networks]
            heard.append(Heard(marks[of_phones], *codes))
    if not any(len(some.phones) for some in heard):
        raise UserError(f"{aligner} finds no phone in {corpus}.")
    return counted(heard, labels, trained.config.codebook_entries)


def nearest_marks(emissions: np.ndarray, phones: Sequence[int]) -> np.ndarray | None:
    """(T,) the phone of each frame, 0 for none; None where the frames are too few for the phones.

    emissions: (T, P) log-probabilities, of the blank first.
    """
    path = aligned(emissions, [[[phone]] for phone in phones], silence=0, blank=0)
    if path is None:
        return None
    marks = np.flatnonzero(path.symbols)
    if not len(marks):
        return np.zeros(len(emissions), np.int64)
    frames = np.arange(len(emissions))
    distances = np.abs(frames[:, None] - marks)  # (T, marks)
    nearest = distances.argmin(1)
    found = path.symbols[marks[nearest]].astype(np.int64)
    return np.where(distances[frames, nearest] <= NEAR, found, 0)


def _codes(network: Wav2Vec2ForPretraining, samples: np.ndarray) -> np.ndarray:
    """(S,) -> (T, G): the likeliest entry of each codebook on each frame."""
    place = next(network.parameters()).device
    waveform, lengths = torch.from_numpy(samples)[None].to(place), torch.tensor([len(samples)])
    with torch.inference_mode():
        features = network.wav2vec2.feature_norm(network.wav2vec2.encode(waveform, lengths))
        codes: np.ndarray = network.quantizer(features[0]).codes.cpu().numpy()
    return codes


def counted(heard: Sequence[Heard], labels: Sequence[str], entries: int) -> Counted:
    """Sum up the frames of many utterances; labels: of phones, the blank first."""
    phones = np.concatenate([some.phones for some in heard])
    codes = np.concatenate([some.codes for some in heard])
    totals = [_table(phones, column, len(labels), entries) for column in codes.T]
    learned, tested = heard[::2], heard[1::2] or heard
    hits = [
        _told(
            [(some.phones, getattr(some, which)) for some in learned],
            [(some.phones, getattr(some, which)) for some in tested],
            len(labels),
            entries,
        )
        for which in ("codes", "random")
    ]
    books = codes.shape[1]
    lengths = [books * len(some.phones) for some in tested]
    seen = np.flatnonzero(np.bincount(phones, minlength=len(labels))).tolist()
    return Counted(
        phones=[labels[i] for i in seen],
        counts=[table[seen].tolist() for table in totals],
        frames=len(phones),
        told=sum(hits[0]) / sum(lengths),
        told_random=sum(hits[1]) / sum(lengths),
        commonest=float(np.bincount(phones).max() / len(phones)),
        interval=paired_interval(hits[0], hits[1], lengths),
        used=[int((table.sum(0) > 0).sum()) for table in totals],
    )


def _table(phones: np.ndarray, codes: np.ndarray, count: int, entries: int) -> np.ndarray:
    """(P, V): how often each entry was chosen on frames of each phone."""
    return np.bincount(phones * entries + codes, minlength=count * entries).reshape(count, entries)


def _told(
    learned: Sequence[tuple[np.ndarray, np.ndarray]],
    tested: Sequence[tuple[np.ndarray, np.ndarray]],
    count: int,
    entries: int,
) -> list[int]:
    """Frames of each tested utterance whose phone its codewords tell, over all codebooks."""
    phones = np.concatenate([some for some, _ in learned])
    codes = np.concatenate([some for _, some in learned])
    # A codeword that was never seen tells the commonest phone.
    commonest = np.bincount(phones, minlength=count) / (len(phones) + 1)
    guesses = [
        (_table(phones, column, count, entries) + commonest[:, None]).argmax(0)
        for column in codes.T
    ]
    return [
        int(sum((guess[column] == some).sum() for guess, column in zip(guesses, of.T, strict=True)))
        for some, of in tested
    ]
