"""What the acoustic model says of a corpus, on disk: it runs once, and every trial of a tuning reads its emissions.

A folder of the store for each (model, recordings, device's kind, precision): `emissions.f16`, the frames of all segments one
after the other, and `index.json`. Log-probabilities are kept in float16: half the disk, memory-mapped, shared by all processes.
Rounding moves each by at most 2^-11 of itself: 0.005 at -10, nothing that counts near 0, where the best path runs. So a
search may choose otherwise only between hypotheses whose scores are that close; whoever needs the last bit runs `w2v2 eval`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from storage.home import home
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError
from w2v2cli.recognition.tuning.fingerprints import text_hash

if TYPE_CHECKING:
    from w2v2cli.recognition.acoustic_model import AcousticModel

FRAMES, INDEX = "emissions.f16", "index.json"
VERSION = "1"  # of how recordings are cut and emissions kept
LOWEST = -60000.0  # float16 ends at -65504


class CacheError(UserError):
    """Emissions that cannot be kept, or are not what they were."""


@dataclass(frozen=True)
class Emissions:
    """The emissions of a corpus, utterance by utterance."""

    frames: np.ndarray
    """(all frames, V) float16, memory-mapped."""
    segments: tuple[tuple[tuple[int, int], ...], ...]
    """For each utterance (first frame, frame after the last) of each stretch that is searched apart."""

    def of(self, utterance: int) -> list[np.ndarray]:
        """(T, V) float32 of each segment of an utterance."""
        return [
            np.asarray(self.frames[start:end], np.float32)
            for start, end in self.segments[utterance]
        ]


def emissions_folder(model: str, corpus: str, device: str, precision: str) -> Path:
    """Where emissions lie that a model (by its hash) makes of recordings (by theirs) on a kind of device."""
    return home() / "emissions" / text_hash(VERSION, model, corpus, device, precision)[:32]


def read_emissions(folder: Path) -> Emissions | None:
    """What is kept in a folder; None where nothing is, or where it is damaged and so must be made again."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        path, symbols = folder / FRAMES, int(index["symbols"])
        if _digest(path) != index["sha256"]:
            return None
        segments = tuple(tuple((int(a), int(b)) for a, b in spans) for spans in index["segments"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not path.stat().st_size:
        return Emissions(np.zeros((0, symbols), np.float16), segments)
    return Emissions(np.memmap(path, np.float16, "r").reshape(-1, symbols), segments)


def keep_emissions(folder: Path, found: Iterator[Sequence[np.ndarray]], symbols: int) -> Emissions:
    """Write each utterance's segments, (T, V) float32, as they come; CacheError for a full disk.

    Written beside and renamed: a process killed in between leaves nothing that would be taken for whole.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        try:
            with (beside / FRAMES).open("wb") as file:
                segments, digest = _write(file, found)
            index = {"symbols": symbols, "sha256": digest, "segments": segments}
            (beside / INDEX).write_text(json.dumps(index), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            _rename(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full: make room" if full else f"{error.strerror}: mend that"
        raise CacheError(
            f"Emissions cannot be kept in {folder.parent}, {why}, or name another place by $W2V2_HOME."
        ) from None
    kept = read_emissions(folder)
    if kept is None:
        raise CacheError(
            f"The emissions in {folder} are not what was written there: is the disk sound?"
        )
    return kept


def _rename(beside: Path, folder: Path) -> None:
    """Unless another process was quicker with the same."""
    try:
        os.rename(beside, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write(
    file: BinaryIO, found: Iterator[Sequence[np.ndarray]]
) -> tuple[list[list[tuple[int, int]]], str]:
    digest = hashlib.sha256()
    segments: list[list[tuple[int, int]]] = []
    at = 0
    for emissions in found:
        spans = []
        for emission in emissions:
            data = np.maximum(emission, LOWEST).astype(np.float16).tobytes()
            file.write(data)
            digest.update(data)
            spans.append((at, at + len(emission)))
            at += len(emission)
        segments.append(spans)
    return segments, digest.hexdigest()


def compute_emissions(
    model: AcousticModel,
    labels: tuple[str, ...],
    utterances: Sequence[Utterance],
    batch_seconds: float = 0.0,
    one_more: Callable[[], None] = lambda: None,
) -> Iterator[list[np.ndarray]]:
    """Each utterance's segments as `transcribe` and `eval` would search them; UserError for one that cannot be read."""
    from lm.text.vocabulary import Vocabulary
    from w2v2cli.recognition.pipeline import AcousticStage

    stage = AcousticStage(model, Vocabulary.from_labels(labels), batch_seconds)
    sources = [utterance.recorded for utterance in utterances]
    for utterance, emitted in zip(utterances, stage.emissions(sources), strict=True):
        if emitted.error is not None:
            raise UserError(f"{utterance.id}: {emitted.error}")
        one_more()
        yield [segment.emission for segment in emitted.segments]
