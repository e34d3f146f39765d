"""A model, a language model and a search, opened and ready to transcribe."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np

from models.importers.labels import quick_outputs
from w2v2cli.console import detail
from w2v2cli.data.audio import Recorded, Waveform
from w2v2cli.data.locations import ModelLocation
from w2v2cli.errors import UsageError, UserError, refuse_without_memory
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.searching.processes import SearchPool
from w2v2cli.recognition.searching.spec import Searches
from w2v2cli.recognition.transcript import ENDS_THERE

if TYPE_CHECKING:
    from lm.decoding import BeamOptions
    from models.checkpoint import Checkpoint
    from w2v2cli.recognition.acoustic_model import AcousticModel
    from w2v2cli.recognition.pipeline import Emitted, Pipeline
    from w2v2cli.recognition.searching.rescoring import Rescoring
    from w2v2cli.recognition.transcript import Transcript

Audio: TypeAlias = "str | os.PathLike[str] | tuple[Any, int]"
"""A recording: its path, or its samples and their rate in Hz."""


class Recognizer:
    """Transcribes recordings with one model, language model and search; a context manager.

    Search processes start with it and end with `close`, with the context, or with this process.
    """

    def __init__(
        self,
        options: RecognitionOptions,
        warn: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """warn: called with a sentence about the lexicon or the language model.

        Raises UserError and UsageError when something cannot be opened.
        """
        self.options = options = replace(options, beam=replace(options.beam, confidences=True))
        sentences: list[str] = []
        with ExitStack() as opening:
            pipeline = opening.enter_context(open_pipeline(options, sentences.append))
            for sentence in sentences:  # in the caller's thread: a callback may raise
                warn(sentence)
            self._open = opening.pop_all()
        self._pipeline: Pipeline = pipeline
        self._end = weakref.finalize(self, self._open.close)

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the search processes. A second call does nothing."""
        self._end()

    @property
    def labels(self) -> tuple[str, ...]:
        """The symbol of each output of the acoustic model, the V of `emissions`."""
        return self._pipeline.pool.spec.labels

    @property
    def seconds_per_frame(self) -> float:
        """Seconds from one frame of `emissions` to the next."""
        return self._pipeline.acoustic.seconds_per_frame

    @overload
    def transcribe(  # type: ignore[overload-overlap] # a str is one path, not many
        self, audio: Audio, *, on_error: Callable[[str, str], None] | None = None
    ) -> Transcript: ...

    @overload
    def transcribe(
        self, audio: Iterable[Audio], *, on_error: Callable[[str, str], None] | None = None
    ) -> Iterator[Transcript]: ...

    def transcribe(
        self,
        audio: Audio | Iterable[Audio],
        *,
        on_error: Callable[[str, str], None] | None = None,
    ) -> Transcript | Iterator[Transcript]:
        """The transcript of one recording, or an iterator over those of many, in their order.

        audio: a path, or (samples, rate): (S,) or (channels, S) or (S, channels) numbers, floats
        within [-1, 1] or integers, at `rate` Hz; or any iterable of these, read as it is needed.
        on_error: called with name and reason of a recording that cannot be transcribed, which is
        then left out; None raises UserError instead.

        A recording that is cut short is transcribed as far as it goes; a Python warning and the
        transcript's `cut_short` say so.
        """
        if _is_one(audio):
            [transcript] = self._transcripts([recorded(audio)], None)
            return transcript
        sources = _each_recorded(audio)
        return self._transcripts(sources, on_error)

    def _transcripts(
        self, sources: Iterable[Recorded], on_error: Callable[[str, str], None] | None
    ) -> Iterator[Transcript]:
        for outcome in self._pipeline.transcribe(sources):
            if outcome.transcript is not None:
                if outcome.cut_short is not None:
                    warnings.warn(f"{outcome.cut_short} {ENDS_THERE}", stacklevel=3)
                yield outcome.transcript
            elif on_error is not None:
                on_error(str(outcome.source), outcome.error or "")
            else:
                raise UserError(outcome.error or f"{outcome.source} cannot be transcribed.")

    @overload
    def emissions(self, audio: Audio) -> np.ndarray: ...  # type: ignore[overload-overlap]

    @overload
    def emissions(self, audio: Iterable[Audio]) -> Iterator[np.ndarray]: ...

    def emissions(self, audio: Audio | Iterable[Audio]) -> np.ndarray | Iterator[np.ndarray]:
        """(T, V) float32 natural log-probabilities of one recording, or an iterator over many.

        audio: see `transcribe`. A recording of any length gives the frames of the whole. Raises
        UserError for one that cannot be read.
        """
        if _is_one(audio):
            [found] = self._pipeline.emissions([recorded(audio)])
            return self._joined(found)
        sources = _each_recorded(audio)
        return (self._joined(found) for found in self._pipeline.emissions(sources))

    def _joined(self, found: Emitted) -> np.ndarray:
        if found.error is not None:
            raise UserError(found.error)
        nothing = np.zeros((0, len(self.labels)), np.float32)
        return np.concatenate([nothing, *(segment.emission for segment in found.segments)])


def _is_one(audio: object) -> bool:
    """Whether this is one recording and not an iterable of recordings."""
    if isinstance(audio, str | os.PathLike):
        return True
    return (
        isinstance(audio, tuple)
        and len(audio) == 2
        and hasattr(audio[0], "__len__")
        and isinstance(audio[1], int | np.integer)
    )


def _each_recorded(many: Any) -> Iterator[Recorded]:
    return (recorded(item, number) for number, item in enumerate(many))


def recorded(audio: Any, number: int = 0) -> Recorded:
    """A recording as Python names it, as the pipeline reads it. Raises TypeError."""
    if isinstance(audio, str | os.PathLike):
        return Path(audio)
    if _is_one(audio):
        return Waveform(audio[0], int(audio[1]), f"recording {number}")
    raise TypeError(
        f"A recording is a path or (samples, rate), got {type(audio).__name__}: {audio!r:.60}"
    )


@contextmanager
def open_pipeline(
    options: RecognitionOptions, warn: Callable[[str], None] = lambda sentence: None
) -> Iterator[Pipeline]:
    """A pipeline as the options describe it; its processes end with the context.

    The search processes start first: they read lexicon and language model while this one imports
    torch. Raises UserError and UsageError when something cannot be opened.
    """
    outputs = model_outputs(options.model)
    with user_errors():
        pool = open_search(options, outputs.labels, outputs.metadata, warn)
    with pool:
        from w2v2cli.recognition.pipeline import Pipeline

        model = load_acoustic_model(options, outputs.checkpoint)
        pool.wait_until_ready()
        pipeline = Pipeline(model, pool, options.batch_seconds)
        yield pipeline
        spent = pipeline.timings
        detail(
            f"{spent.audio:.1f} s of audio: {spent.read:.1f} s waiting for it to be read, "
            f"{spent.forward:.1f} s in the network, {spent.search:.1f} s waiting for searches."
        )


@dataclass(frozen=True)
class ModelOutputs:
    """What the outputs of an acoustic model mean."""

    labels: tuple[str, ...]
    """The symbol of each output."""
    metadata: dict[str, Any]
    """The checkpoint's, which may say what the symbols are."""
    checkpoint: Checkpoint | None
    """The checkpoint, where it had to be read for the labels."""


def model_outputs(model: ModelLocation) -> ModelOutputs:
    """The outputs of a model, read without its weights where the format allows it.

    Raises UserError for a model that is only pretrained, and for one that cannot be read.
    """
    outputs, checkpoint = quick_outputs(model.path, model.language), None
    if outputs is None:
        checkpoint = _read(model)
        if checkpoint.labels is None:
            raise UserError(
                f"{model.path} is only pretrained: "
                "it has no output layer to transcribe with (w2v2 finetune)."
            )
        outputs = checkpoint.labels, checkpoint.metadata
    return ModelOutputs(*outputs, checkpoint)


def load_acoustic_model(
    options: RecognitionOptions, checkpoint: Checkpoint | None = None
) -> AcousticModel:
    """The acoustic model of the options on its device. Raises UserError."""
    from w2v2cli.recognition.acoustic_model import AcousticModel

    refuse_without_memory()
    with user_errors():
        model = AcousticModel.load(
            checkpoint or _read(options.model), options.device, options.precision
        )
    taken = str(model.dtype).removeprefix("torch.")
    asked = " (--precision auto)" if options.precision == "auto" else ""
    detail(f"The acoustic model runs in {taken} on {model.device}{asked}.")
    return model


def open_search(
    options: RecognitionOptions,
    labels: tuple[str, ...],
    metadata: dict[str, Any],
    warn: Callable[[str], None],
    keep: bool = False,
) -> Searches:
    """The search of `options` for a model with these outputs, not yet entered.

    It runs in processes beside this one, or on the device in a thread of this one.
    keep: see `RescoringPool`.
    """
    second, beam = options.rescore, options.beam
    if second is not None:
        options = replace(options, beam=_beam_before(second, beam))
    spec, pool = options.search_spec(labels, metadata), None
    if spec.engine == "batched":
        from w2v2cli.recognition.searching.device import DeviceSearch

        pool = DeviceSearch(spec, warn)
    search: Searches = pool or SearchPool(spec, options.workers, warn)
    if second is None:
        return search
    if spec.engine == "greedy":
        raise UsageError(
            "--rescore needs hypotheses to choose from: "
            "name a language model (--lm) for the search."
        )
    from w2v2cli.recognition.searching.rescoring import RescoringPool

    return RescoringPool(search, second, beam.nbest, keep, beam)


def _beam_before(second: Rescoring, beam: BeamOptions) -> BeamOptions:
    """The beam of a search that finds what a second pass scores again."""
    if second.over == "lattice":
        from w2v2cli.recognition.searching.lattices import inner_beam

        return inner_beam(beam)
    return replace(beam, nbest=min(max(beam.nbest, second.nbest), beam.width))


def _read(model: ModelLocation) -> Checkpoint:
    from models.importers.reader import read_model

    with user_errors():
        return read_model(model.path, model.language)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn the sentences that `lm` and `models` raise into UserErrors."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
