"""Emissions of a corpus on disk: the acoustic model runs once, every trial of a tuning reads them.

$W2V2_HOME/emissions has a folder for each (model, recordings, kind of device, precision). It holds
`emissions.f16`, the frames of all segments one after the other, and `index.json`.

Log-probabilities are kept in float16: half the disk space, memory-mapped, shared by all processes.
Rounding changes each by at most 2^-11 of itself, 0.005 at -10, and hardly near 0, where the best
path runs. A search can only choose otherwise between hypotheses whose scores are that close; for
exact float32 results run `w2v2 eval`.

Shapes: T frames of a segment, V labels.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from storage.hashing import file_hash, hash_of
from storage.home import home
from storage.json_text import parsed
from storage.whole import whole_folder
from w2v2cli.data.decoding.hearing import AudioProgress, Hearing
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError

if TYPE_CHECKING:
    from lm.text.vocabulary import Vocabulary
    from w2v2cli.recognition.acoustic_model import AcousticModel

FRAMES, INDEX = "emissions.f16", "index.json"
VERSION = "1"  # counts changes in how recordings are cut and how emissions are kept
LOWEST = -60000.0  # the lowest float16 is -65504


class CacheError(UserError):
    """Emissions that could not be written, or that differ from what was written."""


@dataclass(frozen=True)
class Emissions:
    """The emissions of a corpus, utterance by utterance."""

    frames: np.ndarray
    """(frames of all segments, V) float16, memory-mapped."""
    segments: tuple[tuple[tuple[int, int], ...], ...]
    """For each utterance (first frame, frame after the last) of each segment."""

    def of(self, utterance: int) -> list[np.ndarray]:
        """(T, V) float32 of each segment of an utterance; segments are searched separately."""
        return [
            np.asarray(self.frames[start:end], np.float32)
            for start, end in self.segments[utterance]
        ]


def emissions_folder(model: str, corpus: str, device: str, precision: str) -> Path:
    """The folder of the emissions of a corpus under a model, both given by their hashes."""
    return home() / "emissions" / hash_of(VERSION, model, corpus, device, precision)[:32]


def read_emissions(folder: Path) -> Emissions | None:
    """The emissions in a folder; None where there are none, or where they are damaged."""
    try:
        index = parsed((folder / INDEX).read_text(encoding="utf-8"))
        digest = index.pop("index")
        path, symbols = folder / FRAMES, index["symbols"]
        if _index_hash(index) != digest or file_hash(path) != index["sha256"]:
            return None
        segments = tuple(tuple((a, b) for a, b in spans) for spans in index["segments"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not path.stat().st_size:
        return Emissions(np.zeros((0, symbols), np.float16), segments)
    return Emissions(np.memmap(path, np.float16, "r").reshape(-1, symbols), segments)


def keep_emissions(
    folder: Path, emissions: Iterator[Sequence[np.ndarray]], symbols: int
) -> Emissions:
    """Write emissions as they are computed, and read them back. The folder is whole or absent.

    emissions: for each utterance (T, V) float32 of each segment.
    symbols: V.

    Raises CacheError, for a full disk too.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(folder) as beside:
            with (beside / FRAMES).open("wb") as file:
                segments, digest = _write(file, emissions)
            index: dict[str, Any] = {"symbols": symbols, "sha256": digest, "segments": segments}
            index["index"] = _index_hash(index)
            (beside / INDEX).write_text(json.dumps(index), encoding="utf-8")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full: make room" if full else f"{error.strerror}: correct that"
        raise CacheError(
            f"Emissions cannot be kept in {folder.parent}, {why}, "
            "or name another folder in $W2V2_HOME."
        ) from None
    kept = read_emissions(folder)
    if kept is None:
        raise CacheError(
            f"The emissions in {folder} differ from what was written there: check the disk."
        )
    return kept


def _index_hash(index: dict[str, Any]) -> str:
    """The hash of an index, which says where segments begin: it is checked as the frames are."""
    return hash_of(json.dumps(index, sort_keys=True))


def _write(
    file: BinaryIO, emissions: Iterator[Sequence[np.ndarray]]
) -> tuple[list[list[tuple[int, int]]], str]:
    """Write all frames; the segments of each utterance and the SHA-256 of the file."""
    digest = sha256()
    segments: list[list[tuple[int, int]]] = []
    at = 0
    for utterance in emissions:
        spans = []
        for segment in utterance:
            data = np.maximum(segment, LOWEST).astype(np.float16).tobytes()
            file.write(data)
            digest.update(data)
            spans.append((at, at + len(segment)))
            at += len(segment)
        segments.append(spans)
    return segments, digest.hexdigest()


def compute_emissions(
    model: AcousticModel,
    vocabulary: Vocabulary,
    utterances: Sequence[Utterance],
    batch_seconds: float = 0.0,
    on_progress: Callable[[AudioProgress], None] = lambda heard: None,
) -> Iterator[list[np.ndarray]]:
    """For each utterance (T, V) float32 of each segment, cut as `transcribe` and `eval` do.

    on_progress: called with how far it has come, also inside a recording.

    Raises UserError for an utterance that cannot be read.
    """
    from w2v2cli.recognition.pipeline import AcousticStage

    stage = AcousticStage(model, vocabulary, batch_seconds)
    sources = [utterance.recorded for utterance in utterances]
    known = {place: utterance.seconds for place, utterance in enumerate(utterances)}
    hearing = Hearing(dict(enumerate(sources)), on_progress, known)
    for place, emitted in hearing.over(enumerate(stage.emissions(sources, hearing.hears))):
        if emitted.error is not None:
            raise UserError(f"{utterances[place].id}: {emitted.error}")
        yield [segment.emission for segment in emitted.segments]
