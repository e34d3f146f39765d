"""Everything between names on a command line and a running pipeline: search processes, the model on its device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm.hypothesis import BeamOptions, DecodingWeights
from models.importers.labels import quick_outputs
from w2v2cli.data.store import LmLocation, ModelLocation
from w2v2cli.errors import UserError
from w2v2cli.recognition.search_pool import SearchPool
from w2v2cli.recognition.search_spec import Engine, SearchSpec

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from w2v2cli.recognition.emissions import Precision
    from w2v2cli.recognition.pipeline import Pipeline


@dataclass(frozen=True)
class RecognitionOptions:
    """What `transcribe` and `eval` were asked to run."""

    model: ModelLocation
    lm: LmLocation
    weights: DecodingWeights = field(default_factory=DecodingWeights)
    beam: BeamOptions = field(default_factory=BeamOptions)
    search: str = "auto"
    """`greedy`, `flashlight`, or `auto`: greedy where there is neither a language model nor a lexicon."""
    device: str = "auto"
    precision: Precision = "auto"
    batch_seconds: float = 0.0
    """Padded audio that runs at once; 0 takes the device's figure."""
    workers: int = 0
    """Search processes; 0 takes one for each core."""

    @property
    def engine(self) -> Engine:
        """The search that runs."""
        if self.search == "auto":
            return "greedy" if self.lm.lm is None and self.lm.lexicon is None else "flashlight"
        return "greedy" if self.search == "greedy" else "flashlight"

    def search_spec(self, labels: tuple[str, ...], metadata: dict[str, Any] | None = None) -> SearchSpec:
        """What the search processes are told, for a model with these outputs; its metadata may say what they are."""
        return SearchSpec(
            labels=labels,
            engine=self.engine,
            lm=self.lm.lm,
            lexicon=self.lm.lexicon,
            spell_words=self.lm.lm is not None and self.lm.lexicon is None,
            weights=self.weights,
            options=self.beam,
            metadata={name: value for name, value in (metadata or {}).items() if name in ("units", "pieces")},
        )


@contextmanager
def recognizer(options: RecognitionOptions, warn: Callable[[str], None]) -> Iterator[Pipeline]:
    """A pipeline as the options describe it; its processes end with the context. UserError says what is wrong.

    The search processes start first: they read lexicon and language model while this one imports torch.
    """
    path = options.model.path
    outputs = quick_outputs(path)
    checkpoint = _read(path) if outputs is None else None
    labels, metadata = outputs or (None, {})
    if checkpoint is not None:
        labels, metadata = checkpoint.labels, checkpoint.metadata
    with _sentences():
        if labels is None:
            raise ValueError(f"{path} is only pretrained: it has no output layer to transcribe with (w2v2 finetune).")
        pool = SearchPool(options.search_spec(labels, metadata), options.workers, warn)
    with pool:
        from w2v2cli.recognition.emissions import AcousticModel
        from w2v2cli.recognition.pipeline import Pipeline

        with _sentences():
            model = AcousticModel.load(checkpoint or _read(path), options.device, options.precision)
        pool.wait_until_ready()
        yield Pipeline(model, pool, options.batch_seconds)


def _read(path: Path) -> Checkpoint:
    from models.importers.reader import read_model

    with _sentences():
        return read_model(path)


@contextmanager
def _sentences() -> Iterator[None]:
    """What `lm` and `models` complain of in a sentence is the user's to mend."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
