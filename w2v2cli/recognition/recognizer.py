"""Everything between names on a command line and a running pipeline: search processes, the model on its device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm.decoding import BeamOptions, DecodingWeights
from lm.native.library import is_built
from lm.search.hotwords import in_the_alphabets_case
from models.importers.labels import quick_outputs
from storage.home import home
from w2v2cli.data.locations import LmLocation, ModelLocation
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.devices import Precision, on_gpu
from w2v2cli.recognition.searching.processes import SearchPool
from w2v2cli.recognition.searching.spec import Engine, Searches, SearchSpec

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from w2v2cli.recognition.pipeline import Pipeline
    from w2v2cli.recognition.searching.rescoring import Rescoring


@dataclass(frozen=True)
class RecognitionOptions:
    """What `transcribe` and `eval` were asked to run."""

    model: ModelLocation
    lm: LmLocation
    weights: DecodingWeights = field(default_factory=DecodingWeights)
    beam: BeamOptions = field(default_factory=BeamOptions)
    search: str = "auto"
    """An engine, or `auto`: see `engine`."""
    hotwords: dict[str, float] = field(default_factory=dict)
    """Added to the score for each time a word is said."""
    rescore: Rescoring | None = None
    """How another language model scores the search's n-best again."""
    lm_cache_gb: float = 2.0
    """Memory for a Transformer's keys and values, in 10^9 bytes."""
    device: str = "auto"
    precision: Precision = "auto"
    batch_seconds: float = 0.0
    """Padded audio that runs at once; 0 takes the device's figure."""
    workers: int = 0
    """Search processes; 0 takes one for each core."""

    @property
    def engine(self) -> Engine:
        """The search that runs; UsageError for one that cannot search with this language model.

        auto: the best path where there is nothing to search with, tensors on a GPU or with a Transformer, else the compiled
        search, which finds what flashlight finds in a tenth of its time; flashlight for what only KenLM reads, and where the
        compiled search was not built.
        """
        transformer, lexicon = (
            self.lm.kind == "transformer",
            self.lm.path is not None or self.lm.lexicon is not None,
        )
        if self.search == "auto":
            if not lexicon:
                return "greedy"
            if transformer or (self.lm.kind == "arpa" and on_gpu(self.device)):
                return "batched"
            if self.lm.kind == "kenlm" or (not is_built() and find_spec("flashlight") is not None):
                return "flashlight"
            return "compiled" if is_built() else "batched"
        if transformer and self.search != "batched":
            raise UsageError(
                f"--search {self.search} cannot ask a Transformer: leave it out, or give --search batched."
            )
        if self.search in ("compiled", "batched") and self.lm.kind == "kenlm":
            raise UsageError(
                f"--search {self.search} reads ARPA files: {self.lm.path} needs --search flashlight."
            )
        if self.search in ("compiled", "batched") and not lexicon:
            raise UsageError(
                f"--search {self.search} needs words: name a language model (--lm) or a --lexicon."
            )
        return self.search  # type: ignore[return-value] # an engine, as the command line saw to

    def search_spec(
        self, labels: tuple[str, ...], metadata: dict[str, Any] | None = None
    ) -> SearchSpec:
        """What the search processes are told, for a model with these outputs; its metadata may say what they are."""
        spec = SearchSpec(
            labels=labels,
            engine=self.engine,
            lm=self.lm.path,
            lexicon=self.lm.lexicon,
            spell_words=self.lm.path is not None and self.lm.lexicon is None,
            weights=self.weights,
            options=self.beam,
            cache=home() / "search",
            transformer=self.lm.kind == "transformer",
            device=self.device,
            lm_cache_gb=self.lm_cache_gb,
            metadata={
                name: value
                for name, value in (metadata or {}).items()
                if name in ("units", "pieces")
            },
        )
        if not self.hotwords:
            return spec
        return replace(spec, hotwords=in_the_alphabets_case(self.hotwords, spec.vocabulary))


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
            raise ValueError(
                f"{path} is only pretrained: it has no output layer to transcribe with (w2v2 finetune)."
            )
        pool = open_search(options, labels, metadata, warn)
    with pool:
        from w2v2cli.recognition.acoustic_model import AcousticModel
        from w2v2cli.recognition.pipeline import Pipeline

        with _sentences():
            model = AcousticModel.load(checkpoint or _read(path), options.device, options.precision)
        pool.wait_until_ready()
        yield Pipeline(model, pool, options.batch_seconds)


def open_search(
    options: RecognitionOptions,
    labels: tuple[str, ...],
    metadata: dict[str, Any],
    warn: Callable[[str], None],
    keep: bool = False,
) -> Searches:
    """The search of `options`, to be entered, for a model with these outputs: in processes beside this one, or on the device
    in a thread of this one. keep: see `RescoringPool`."""
    second, nbest = options.rescore, options.beam.nbest
    if second is not None:
        found = min(max(nbest, second.nbest), options.beam.width)
        options = replace(options, beam=replace(options.beam, nbest=found))
    spec, pool = options.search_spec(labels, metadata), None
    if spec.engine == "batched":
        from w2v2cli.recognition.searching.device import DeviceSearch

        pool = DeviceSearch(spec, warn)
    search: Searches = pool or SearchPool(spec, options.workers, warn)
    if second is None:
        return search
    if spec.engine == "greedy":
        raise UsageError(
            "--rescore needs hypotheses to choose from: name a language model (--lm) for the search."
        )
    from w2v2cli.recognition.searching.rescoring import RescoringPool

    return RescoringPool(search, second, nbest, keep)


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
