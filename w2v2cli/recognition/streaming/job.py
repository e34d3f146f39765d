"""The job of `transcribe --stream`: one stream of sound, words while it lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from models.config import SAMPLE_RATE
from w2v2cli.data.audio import Source
from w2v2cli.data.decoding.pipe import live_sound
from w2v2cli.data.decoding.source import name_of, opened_pipe
from w2v2cli.errors import UsageError
from w2v2cli.recognition.recognizer import load_acoustic_model, model_outputs, user_errors
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.streaming.arriving import Arriving, ended_by_interrupt
from w2v2cli.recognition.streaming.listening import SHORTEST_LATENCY, Latency, Listener
from w2v2cli.recognition.streaming.showing import Showing

if TYPE_CHECKING:
    from lm.search.streaming import Live
    from w2v2cli.recognition.searching.spec import SearchSpec


def check_stream(options: RecognitionOptions, latency: Latency) -> None:
    """Raise UsageError for what a stream cannot be searched with."""
    if options.engine not in ("greedy", "compiled"):
        raise UsageError(
            "--stream searches by the best path or with an n-gram, in an ARPA file or a KenLM "
            f"binary that lists its words, not with --search {options.engine}: leave out --lm, or "
            "name such a file."
        )
    if options.rescore is not None or options.beam.nbest > 1:
        flag = "--rescore" if options.rescore is not None else "--nbest"
        raise UsageError(f"--stream has one reading of each word: leave out {flag}.")
    if not SHORTEST_LATENCY <= latency.seconds < float("inf"):
        raise UsageError(
            f"--latency must be at least {SHORTEST_LATENCY:g} seconds, got {latency.seconds:g}."
        )


def transcribe_stream(
    options: RecognitionOptions,
    source: Source,
    latency: Latency,
    showing: Showing,
    *,
    pcm_rate: int | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Transcribe sound while it arrives, until it ends or Ctrl-C is pressed.

    source: STDIN, a pipe or a file. pcm_rate: see `live_sound`.
    Raises UsageError and UserError; KeyboardInterrupt once what was heard before Ctrl-C is shown.
    """
    check_stream(options, latency)
    outputs = model_outputs(options.model)
    with opened_pipe(source) as pipe:
        told: list[str] = []  # by the thread, shown after the words
        arriving = Arriving(live_sound(pipe, name_of(source), pcm_rate, told.append))
        with ended_by_interrupt(arriving):
            with user_errors():
                spec = options.search_spec(outputs.labels, outputs.metadata)
                model = load_acoustic_model(options, outputs.checkpoint)
                behind = latency.behind * SAMPLE_RATE / model.network.config.stride
                live = open_live(spec, round(behind), warn)
            for event in Listener(model, live, latency).hear(arriving):
                showing.show(event)
            for sentence in told:
                warn(sentence)


def open_live(spec: SearchSpec, behind: int, warn: Callable[[str], None]) -> Live:
    """The search of a stream, of the best path or compiled. behind: see `CompiledStream`.

    Raises ValueError or OSError for files that cannot be used.
    """
    from lm.search.streaming import CompiledStream, GreedyStream

    if spec.engine == "greedy":
        return GreedyStream(spec.vocabulary)
    from w2v2cli.recognition.searching.build import build_compiled

    return CompiledStream(build_compiled(spec, warn), behind)
