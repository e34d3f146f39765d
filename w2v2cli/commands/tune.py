"""`w2v2 tune-lm`: which weights of the language model make the fewest errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands import options as o
from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError, exits

if TYPE_CHECKING:
    from w2v2cli.recognition.resolving import RecognitionOptions
    from w2v2cli.recognition.tuning.metric import Metric
    from w2v2cli.recognition.tuning.trials import TuningOptions

BEAM, TRANSFORMER_BEAM = 500, 50  # the paper's, for tuning (appendix B)
BOUNDS = "Bounds"


def tune_lm(
    trials: Annotated[int, typer.Option(help="Pairs of weights to try.")] = 128,
    split: Annotated[
        str | None,
        typer.Option(help="Of LibriSpeech; dev-other where --data names no corpus of its own."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="LibriSpeech's folder with --split; else a folder of *.trans.txt, a .tsv or a .jsonl."
        ),
    ] = None,
    model: o.Model = "demo",
    lm: o.Lm = "4gram",
    lexicon: o.Lexicon = None,
    metric: Annotated[str, typer.Option(help="wer, cer or per: what is counted.")] = "wer",
    exact: Annotated[
        bool, typer.Option("--exact", help="Search every trial in full: ten times the work.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed tries the same weights again.")] = 0,
    study: Annotated[
        Path | None, typer.Option(help="A folder that keeps the study; the store does by default.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout in place of the table.")
    ] = False,
    lm_weight: Annotated[
        tuple[float, float],
        typer.Option(help="From and to.", rich_help_panel=BOUNDS, metavar="LOW HIGH"),
    ] = (0.0, 5.0),
    word_score: Annotated[
        tuple[float, float],
        typer.Option(help="From and to.", rich_help_panel=BOUNDS, metavar="LOW HIGH"),
    ] = (-5.0, 5.0),
    sil_score: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="From and to; it stays 0 by default.", rich_help_panel=BOUNDS, metavar="LOW HIGH"
        ),
    ] = None,
    search: o.Search = "auto",
    beam: Annotated[
        int | None,
        typer.Option(
            help="Hypotheses kept; 500, with a Transformer 50, by default.",
            rich_help_panel=o.SEARCH,
        ),
    ] = None,
    beam_threshold: o.BeamThreshold = 50.0,
    beam_tokens: o.BeamTokens = None,
    rescore: o.Rescore = None,
    rescore_nbest: o.RescoreNbest = o.RESCORE_NBEST,
    rescore_first_weight: o.RescoreFirstWeight = 0.0,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    batch_seconds: o.BatchSeconds = 0.0,
    workers: o.Workers = 0,
    lm_cache_gb: o.LmCacheGb = o.LM_CACHE_GB,
) -> None:
    """Find the LM weight and word score with the fewest errors, and keep them for transcribe and eval.

    The acoustic model runs once. Few trials are searched in full; the others are predicted from what those found, and the
    promising ones raced against the best. The optimum is always searched in full. A call that was stopped goes on where it
    was; two calls at once share the work. With --rescore the weights of the second pass are tuned: every utterance is
    searched once, with the search's own weights as they are, and every trial is exact.
    """
    with exits():
        from lm.weights.proposals import Bounds, TuningError
        from w2v2cli.recognition.tuning.trials import TuningOptions

        if metric not in ("wer", "cer", "per"):
            raise UsageError(f"--metric takes wer, cer or per, got {metric!r}.")
        if seed < 0:
            raise UsageError(f"--seed cannot be negative, got {seed}.")
        try:
            options = TuningOptions(
                trials, Bounds(lm_weight, word_score, sil_score), seed, exact or rescore is not None
            )
        except TuningError as error:
            raise UsageError(str(error)) from None
        if lm == "none" or search == "greedy":
            what = "--lm none" if lm == "none" else "--search greedy"
            raise UsageError(
                f"{what} leaves nothing to tune: name a language model and a beam search."
            )
        if rescore is not None and sil_score is not None:
            raise UsageError("--sil-score is the search's: with --rescore it is not tuned.")
        transformer = lm == "transformer" or Path(lm).suffix in (".pt", ".safetensors")
        given = 0.0 if rescore is None else None  # with --rescore the search has its own weights
        settings = o.recognition_options(
            model=model, lm=lm, lexicon=lexicon, search=search, beam=beam or (TRANSFORMER_BEAM if transformer else BEAM),
            beam_threshold=beam_threshold, beam_tokens=beam_tokens, lm_weight=given, word_score=given,
            unk_score=float("-inf"), sil_score=0.0, nbest=1, device=device, precision=precision,
            batch_seconds=batch_seconds, workers=workers, rescore=rescore, rescore_nbest=rescore_nbest,
            rescore_lm_weight=0.0, rescore_word_score=0.0, rescore_first_weight=rescore_first_weight,
            lm_cache_gb=lm_cache_gb,
        )  # fmt: skip
        _run(
            settings,
            split or (None if data else "dev-other"),
            data,
            options,
            metric,  # type: ignore[arg-type] # a metric, as just seen
            study,
            as_json,
        )


def _run(
    settings: RecognitionOptions,
    split: str | None,
    data: Path | None,
    options: TuningOptions,
    metric: Metric,
    study: Path | None,
    as_json: bool,
) -> None:
    from w2v2cli.data.corpora.catalogue import find_splits
    from w2v2cli.recognition.tuning.kept import BEAM, keep_tuned, rescored
    from w2v2cli.recognition.tuning.report import json_report, print_outcome, write_report
    from w2v2cli.recognition.tuning.session import tune_corpus

    parts = find_splits(split, data)
    if len(parts) > 1:
        raise UsageError(
            f"--split {split} names {len(parts)} splits: tune on one, dev-other in the paper."
        )
    [part] = parts
    if part.note:
        say(f"Note: {part.note}")
    with progress("Tuning") as advance:
        finished = tune_corpus(
            settings,
            part,
            options,
            metric,
            study,
            lambda sentence: say(f"Warning: {sentence}"),
            advance,
        )
    outcome = finished.outcome
    second = settings.rescore
    lm, search = (settings.lm, BEAM) if second is None else (second.lm, rescored(settings.lm))
    passes = (
        settings.lm.name
        if second is None
        else f"{settings.lm.name}, scored again by {second.lm.name}"
    )
    title = f"{settings.model.name}, LM {passes}, {part.name}, beam {settings.beam.width}"
    report = json_report(outcome, metric) | {
        "data": part.name,
        "note": part.note,
        "beam": settings.beam.width,
    }
    kept = keep_tuned(settings.model, lm, outcome.weights, report, search)
    if as_json:
        trials = [{**vars(trial), "point": list(trial.point)} for trial in outcome.trials]
        weights = dict(
            zip(("lm_weight", "word_score", "sil_score"), outcome.best.point, strict=False)
        )
        everything = {
            **weights,
            **report,
            "tuned": str(kept),
            "study": str(finished.folder),
            "list": trials,
        }
        sys.stdout.write(json.dumps(everything, indent=2, ensure_ascii=False) + "\n")
    else:
        print_outcome(outcome, metric, title)
    written = write_report(outcome, metric, title, finished.folder)
    if len(written) == 1:
        say("The surface is not drawn: that needs matplotlib (pip install 'w2v2[plots]').")
    say(f"The study is in {finished.folder}; {written[-1].name} shows it.")
    say(
        f"From now on transcribe and eval take these weights by default with this model and LM, from {kept}."
    )
