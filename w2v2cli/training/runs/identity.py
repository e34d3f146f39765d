"""What a run trains on and begins with, as `run.json` keeps it and later calls are compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.config import SAMPLE_RATE
from storage.hashing import bytes_hash
from w2v2cli.data.dataset import TrainingSet
from w2v2cli.data.loading.flat import Strings
from w2v2cli.data.locations import resolve_model
from w2v2cli.data.recordings import Recordings
from w2v2cli.recognition.tuning.fingerprints import model_hash
from w2v2cli.training.architecture import preset_of

# A part of a run: what the user calls it, what it is in a few words, a digest of its content.
Part = Mapping[str, str]


def recordings_part(name: str, found: Recordings | TrainingSet) -> Part:
    """Describe recordings; the digest is of their ids and lengths, in order."""
    source, kept = (found.source, found.kept) if isinstance(found, TrainingSet) else (found, None)
    ids = source.ids if isinstance(source.ids, Strings) else Strings.of(source.ids)
    lengths = source.lengths if kept is None else source.lengths[kept]
    digest = hashlib.sha256(ids.blob.tobytes())
    for numbers in (ids.ends, lengths, np.arange(len(ids)) if kept is None else kept):
        digest.update(np.ascontiguousarray(numbers, "<i8").tobytes())
    hours = float(lengths.sum()) / SAMPLE_RATE / 3600
    return _part(name, f"{len(lengths)} recordings, {hours:.2f} h", digest.hexdigest())


def start_part(name: str | None) -> Part:
    """Describe the checkpoint a run begins with, or its random weights."""
    if name is None:
        return _part("random weights", "", "")
    if preset_of(name) is not None:
        return _part(name, "random weights", "")
    return _part(name, "", model_hash(resolve_model(name).path))


def vocabulary_part(labels: Sequence[str], metadata: Mapping[str, Any]) -> Part:
    """Describe the symbols of an output layer and how texts are spelled in them."""
    content = json.dumps([list(labels), metadata], sort_keys=True, ensure_ascii=False)
    return _part("vocabulary", f"{len(labels)} symbols", bytes_hash(content.encode()))


def language_model_part(lm: str, lexicon: Path | None) -> Part:
    """Describe what a validation searches with; files by their content."""
    names = [lm, *([] if lexicon is None else [str(lexicon)])]
    digests = [model_hash(Path(name)) for name in names if Path(name).exists()]
    return _part(" with ".join(names), "", " ".join(digests))


def _part(name: str, what: str, digest: str) -> Part:
    return {"name": name, "what": what, "digest": digest}
