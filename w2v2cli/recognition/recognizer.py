"""Everything between a name on the command line and a running pipeline: files, processes, the model on its device."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lm.hypothesis import BeamOptions, DecodingWeights
from w2v2cli.data.audio import Source
from w2v2cli.data.store import LmLocation, ModelLocation

if TYPE_CHECKING:
    from w2v2cli.recognition.pipeline import Outcome, Pipeline


@dataclass(frozen=True)
class RecognitionOptions:
    """What `transcribe` and `eval` were asked to run."""

    model: ModelLocation
    lm: LmLocation
    weights: DecodingWeights = field(default_factory=DecodingWeights)
    beam: BeamOptions = field(default_factory=BeamOptions)
    search: str = "auto"
    """`greedy`, `flashlight`, or `auto`: flashlight with a language model or a lexicon, else greedy."""
    device: str = "auto"
    precision: str = "auto"
    batch_seconds: float = 0.0
    """Padded audio that runs at once; 0 takes the device's figure."""
    workers: int = 0
    """Search processes; 0 takes one for each core."""
