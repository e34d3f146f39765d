"""`w2v2 transcribe`: recordings in, words out."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands import options as o
from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from w2v2cli.processes import Ranks
    from w2v2cli.recognition.recognizer import RecognitionOptions
    from w2v2cli.recognition.sharing.merging import Parts, WorkPlan
    from w2v2cli.recognition.sharing.transcribed import TranscribedRow

FORMATS = ("txt", "json", "jsonl", "srt", "vtt", "tsv")


def transcribe(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Recordings, folders, patterns, or - for stdin.", metavar="FILES|DIRS|-"
        ),
    ],
    model: o.Model = "demo",
    lm: o.Lm = "none",
    lexicon: o.Lexicon = None,
    form: Annotated[
        str, typer.Option("--format", help="txt, json, jsonl, srt, vtt or tsv.")
    ] = "txt",
    output_dir: Annotated[
        Path | None, typer.Option(help="A file for each recording goes here, not to stdout.")
    ] = None,
    timestamps: Annotated[
        str, typer.Option(help="Subtitles and tsv by word or by segment.")
    ] = "segment",
    skip_existing: Annotated[
        bool, typer.Option(help="Leave recordings whose file is in --output-dir.")
    ] = False,
    search: o.Search = "auto",
    beam: o.Beam = 500,
    beam_threshold: o.BeamThreshold = 50.0,
    beam_tokens: o.BeamTokens = None,
    lm_weight: o.LmWeight = o.LM_WEIGHT,
    word_score: o.WordScore = o.WORD_SCORE,
    unk_score: o.UnkScore = float("-inf"),
    sil_score: o.SilScore = 0.0,
    hotwords: o.Hotwords = None,
    rescore: o.Rescore = None,
    rescore_nbest: o.RescoreNbest = o.RESCORE_NBEST,
    rescore_lm_weight: o.RescoreLmWeight = None,
    rescore_word_score: o.RescoreWordScore = None,
    rescore_first_weight: o.RescoreFirstWeight = 0.0,
    nbest: o.Nbest = 1,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    batch_seconds: o.BatchSeconds = 0.0,
    workers: o.Workers = 0,
    lm_cache_gb: o.LmCacheGb = o.LM_CACHE_GB,
) -> None:
    """Transcribe recordings: text on stdout, one line for each, in the order given.

    A recording that cannot be read is named at the end, the others are transcribed, and the exit code is 1.

    Several processes share the recordings: torchrun --nproc-per-node 2 --no-python w2v2 transcribe ...
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
            workers=workers, hotwords=hotwords, rescore=rescore, rescore_nbest=rescore_nbest,
            rescore_lm_weight=rescore_lm_weight, rescore_word_score=rescore_word_score,
            rescore_first_weight=rescore_first_weight, lm_cache_gb=lm_cache_gb,
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
    from w2v2cli.processes import Ranks
    from w2v2cli.recognition.output import output_paths
    from w2v2cli.recognition.sharing.merging import sharing
    from w2v2cli.recognition.sharing.ranks import (
        meeting_place,
        options_of,
        stopping,
        temporary_folder,
    )
    from w2v2cli.recognition.sharing.transcribed import TranscribedRow

    ranks = Ranks.from_environment()
    if ranks.several and "-" in inputs:
        raise UsageError(
            f"- is stdin, which {ranks.world} ranks cannot share: name files, or run without torchrun."
        )
    settings = options_of(settings, ranks)
    folder = None
    if ranks.several:
        folder = (
            temporary_folder(ranks)
            if output_dir is None
            else output_dir / f".ranks-{meeting_place(ranks)}"
        )
    failed: list[str] = []
    with (
        stopping(ranks) as stop,
        sharing(
            ranks,
            folder,
            lambda: _plan(inputs, ranks, output_dir if skip_existing else None, form),
            stop,
            TranscribedRow,
        ) as parts,
    ):
        sources = [Path(item) for item in parts.plan.items]
        paths = None if output_dir is None else output_paths(sources, output_dir, form)
        with closing(_transcribed(parts, sources, settings, form, timestamps, paths)) as own:
            if not ranks.first:
                parts.contribute(own)
                return
            total = sum(map(len, parts.plan.shares))
            for row in _counted(parts.merged(own), total):
                if row.error is not None:
                    failed.append(row.error)
                elif row.text is not None:
                    sys.stdout.write(row.text)
                    sys.stdout.flush()
    if failed:
        say("\n".join(failed))
    if parts.missing:
        again = (
            "--skip-existing does only these"
            if output_dir
            else "with --output-dir and --skip-existing the rest is kept"
        )
        raise UserError(
            f"{len(parts.missing)} of {total} recordings were not transcribed because {parts.shortfall()}; "
            f"{again}: {_named([str(sources[index]) for index in parts.missing])}."
        )
    if failed:
        raise UserError(
            f"{len(failed)} of {total} recordings could not be transcribed (see above)."
        )


def _plan(inputs: Sequence[str], ranks: Ranks, done: Path | None, form: str) -> WorkPlan:
    """All recordings, and those of each rank: the ones without a file in the folder `done`, divided by length."""
    from w2v2cli.data.audio import find_recordings
    from w2v2cli.recognition.output import output_paths
    from w2v2cli.recognition.sharing.merging import WorkPlan
    from w2v2cli.recognition.sharing.ranks import seconds_of, split_by_length

    sources = find_recordings(inputs)
    paths = {} if done is None else output_paths(sources, done, form)
    left = [
        index for index, source in enumerate(sources) if done is None or not paths[source].exists()
    ]
    shares = [left]
    if ranks.several:
        seconds = seconds_of(sources[index] for index in left)
        shares = [
            [left[place] for place in share] for share in split_by_length(seconds, ranks.world)
        ]
    return WorkPlan([str(source) for source in sources], shares)


def _transcribed(
    parts: Parts[TranscribedRow],
    sources: Sequence[Path],
    settings: RecognitionOptions,
    form: str,
    timestamps: str,
    paths: dict[Path, Path] | None,
) -> Generator[tuple[int, TranscribedRow], None, None]:
    """This rank's recordings, one by one: written to their files, or with the text that goes to stdout."""
    from w2v2cli.recognition.output import write_file
    from w2v2cli.recognition.recognizer import recognizer
    from w2v2cli.recognition.sharing.ranks import take_cores
    from w2v2cli.recognition.sharing.transcribed import TranscribedRow
    from w2v2cli.recognition.transcript import render

    if not parts.mine:
        return
    with recognizer(
        settings, warn=lambda sentence: parts.ranks.say(f"Warning: {sentence}")
    ) as pipeline:
        take_cores(parts.ranks)
        outcomes = pipeline.transcribe([sources[index] for index in parts.mine])
        for index, outcome in zip(parts.mine, outcomes, strict=True):
            text = None
            if outcome.transcript is not None:
                text = render(outcome.transcript, form, timestamps)  # type: ignore[arg-type]
                if paths is not None:
                    write_file(paths[sources[index]], text)
                    text = None
            yield index, TranscribedRow(text, outcome.error)


def _named(names: Sequence[str], most: int = 5) -> str:
    """The first few names of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _counted(rows: Iterator[tuple[int, TranscribedRow]], total: int) -> Iterator[TranscribedRow]:
    """The rows, a progress bar moving along with them."""
    with progress("Transcribing", f"/{total}") as advance:
        for done, (_, row) in enumerate(rows, 1):
            advance(done, total)
            yield row
