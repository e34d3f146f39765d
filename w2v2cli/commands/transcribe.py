"""`w2v2 transcribe`: recordings in, words out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands import options as o
from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from w2v2cli.recognition.pipeline import Outcome
    from w2v2cli.recognition.recognizer import RecognitionOptions

FORMATS = ("txt", "json", "jsonl", "srt", "vtt", "tsv")


def transcribe(
    inputs: Annotated[
        list[str], typer.Argument(help="Recordings, folders, patterns, or - for stdin.", metavar="FILES|DIRS|-")
    ],
    model: o.Model = "demo",
    lm: o.Lm = "none",
    lexicon: o.Lexicon = None,
    form: Annotated[str, typer.Option("--format", help="txt, json, jsonl, srt, vtt or tsv.")] = "txt",
    output_dir: Annotated[Path | None, typer.Option(help="A file for each recording goes here, not to stdout.")] = None,
    timestamps: Annotated[str, typer.Option(help="Subtitles and tsv by word or by segment.")] = "segment",
    skip_existing: Annotated[bool, typer.Option(help="Leave recordings whose file is in --output-dir.")] = False,
    search: o.Search = "auto",
    beam: o.Beam = 500,
    beam_threshold: o.BeamThreshold = 50.0,
    beam_tokens: o.BeamTokens = None,
    lm_weight: o.LmWeight = o.LM_WEIGHT,
    word_score: o.WordScore = o.WORD_SCORE,
    unk_score: o.UnkScore = float("-inf"),
    sil_score: o.SilScore = 0.0,
    nbest: o.Nbest = 1,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    batch_seconds: o.BatchSeconds = 0.0,
    workers: o.Workers = 0,
) -> None:
    """Transcribe recordings: text on stdout, one line for each, in the order given.

    A recording that cannot be read is named at the end, the others are transcribed, and the exit code is 1.
    """
    with exits():
        if form not in FORMATS:
            raise UsageError(f"--format takes {', '.join(FORMATS)}; got {form!r}.")
        if timestamps not in ("word", "segment"):
            raise UsageError(f"--timestamps takes word or segment, got {timestamps!r}.")
        if skip_existing and output_dir is None:
            raise UsageError("--skip-existing looks for files in --output-dir: name one.")
        settings = o.recognition_options(
            model=model, lm=lm, lexicon=lexicon, search=search, beam=beam, beam_threshold=beam_threshold,
            beam_tokens=beam_tokens, lm_weight=lm_weight, word_score=word_score, unk_score=unk_score,
            sil_score=sil_score, nbest=nbest, device=device, precision=precision, batch_seconds=batch_seconds,
            workers=workers,
        )  # fmt: skip
        _run(inputs, settings, form, timestamps, output_dir, skip_existing)


def _run(
    inputs: Sequence[str],
    settings: RecognitionOptions,
    form: str,
    timestamps: str,
    output_dir: Path | None,
    skip_existing: bool,
) -> None:
    from w2v2cli.data.audio import find_recordings
    from w2v2cli.recognition.output import output_paths, write_file
    from w2v2cli.recognition.recognizer import recognizer
    from w2v2cli.recognition.transcript import render

    sources = find_recordings(inputs)
    paths = {} if output_dir is None else output_paths(sources, output_dir, form)
    if skip_existing:
        sources = [source for source in sources if not paths[source].exists()]
    failed: list[Outcome] = []
    if sources:
        with recognizer(settings, warn=lambda sentence: say(f"Warning: {sentence}")) as pipeline:
            for outcome in _counted(pipeline.transcribe(sources), len(sources)):
                if outcome.transcript is None:
                    failed.append(outcome)
                    continue
                text = render(outcome.transcript, form, timestamps)  # type: ignore[arg-type]
                if output_dir is None:
                    sys.stdout.write(text)
                    sys.stdout.flush()
                else:
                    write_file(paths[outcome.source], text)
    if failed:
        say("\n".join(str(outcome.error) for outcome in failed))
        raise UserError(f"{len(failed)} of {len(sources)} recordings could not be transcribed (see above).")


def _counted(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """The outcomes, a progress bar moving along with them."""
    with progress("Transcribing", f"/{total}") as advance:
        for done, outcome in enumerate(outcomes, 1):
            advance(done, total)
            yield outcome
