"""`w2v2 eval`: how often a model is wrong."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands import options as o
from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from w2v2cli.recognition.evaluation import Evaluation
    from w2v2cli.recognition.recognizer import RecognitionOptions


def evaluate(
    split: Annotated[
        str | None,
        typer.Option(help="dev-clean, dev-other, test-clean, test-other, or all four of LibriSpeech."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="LibriSpeech's folder with --split; else a folder of *.trans.txt, a .tsv or a .jsonl."),
    ] = None,
    model: o.Model = "demo",
    lm: o.Lm = "4gram",
    lexicon: o.Lexicon = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout in place of the tables.")] = False,
    output: Annotated[Path | None, typer.Option(help="Keep hypotheses here, JSON by line.")] = None,
    worst: Annotated[int, typer.Option(help="Utterances shown with their alignment.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    search: o.Search = "auto",
    beam: o.Beam = 1500,
    beam_threshold: o.BeamThreshold = 50.0,
    beam_tokens: o.BeamTokens = None,
    lm_weight: o.LmWeight = o.LM_WEIGHT,
    word_score: o.WordScore = o.WORD_SCORE,
    unk_score: o.UnkScore = float("-inf"),
    sil_score: o.SilScore = 0.0,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    batch_seconds: o.BatchSeconds = 0.0,
    workers: o.Workers = 0,
) -> None:
    """Transcribe a corpus and count the errors: WER, CER, by speaker, and the worst utterances.

    LibriSpeech is looked for in --data, $W2V2_DATA and the current folder. Where it is not, the miniature that ships with w2v2 is
    evaluated in its place, and every report says so. The interval is the 95% bootstrap over utterances.
    """
    with exits():
        if split is None and data is None:
            raise UsageError("Name a --split of LibriSpeech, or a corpus by --data.")
        if worst < 0:
            raise UsageError(f"--worst cannot be negative, got {worst}.")
        settings = o.recognition_options(
            model=model, lm=lm, lexicon=lexicon, search=search, beam=beam, beam_threshold=beam_threshold,
            beam_tokens=beam_tokens, lm_weight=lm_weight, word_score=word_score, unk_score=unk_score,
            sil_score=sil_score, nbest=1, device=device, precision=precision, batch_seconds=batch_seconds,
            workers=workers,
        )  # fmt: skip
        _run(settings, split, data, output, as_json, worst, seed)


def _run(
    settings: RecognitionOptions,
    split: str | None,
    data: Path | None,
    output: Path | None,
    as_json: bool,
    worst: int,
    seed: int,
) -> None:
    from w2v2cli.data.librispeech import find_splits
    from w2v2cli.recognition.evaluation import evaluate_corpus
    from w2v2cli.recognition.recognizer import recognizer
    from w2v2cli.recognition.report import json_report, print_report

    parts = find_splits(split, data)
    for part in parts:
        if part.note:
            say(f"Note: {part.note}")
    results: list[Evaluation] = []
    with (
        recognizer(settings, warn=lambda sentence: say(f"Warning: {sentence}")) as pipeline,
        progress("Evaluating", f"/{sum(len(part.utterances) for part in parts)}") as advance,
    ):
        done = 0

        def one_more() -> None:
            nonlocal done
            done += 1
            advance(done, sum(len(part.utterances) for part in parts))

        for part in parts:
            began = time.perf_counter()
            result = evaluate_corpus(pipeline, part, one_more)
            results.append(result.timed(time.perf_counter() - began))
    if output is not None:
        _keep(results, output)
    if as_json:
        sys.stdout.write(json.dumps(json_report(results, settings, seed), indent=2, ensure_ascii=False) + "\n")
    else:
        print_report(results, settings, worst, seed)
    failed = [failure for result in results for failure in result.failures]
    if failed:
        say("\n".join(f"{failure.id}: {failure.error}" for failure in failed))
        raise UserError(f"{len(failed)} utterances could not be transcribed and are not counted (see above).")


def _keep(results: list[Evaluation], output: Path) -> None:
    from w2v2cli.recognition.output import write_file
    from w2v2cli.recognition.report import utterance_rows

    rows = [json.dumps(row, ensure_ascii=False) + "\n" for result in results for row in utterance_rows(result)]
    write_file(output, "".join(rows))
