"""`w2v2 eval`: how often a model is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands import options as o
from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError, UserError, exits
from w2v2cli.recognition.tuning.protocol import language_models, run_protocol

if TYPE_CHECKING:
    from w2v2cli.data.corpora.catalogue import CorpusSplit
    from w2v2cli.processes import Ranks
    from w2v2cli.recognition.recognizer import RecognitionOptions
    from w2v2cli.recognition.scoring.results import Evaluation
    from w2v2cli.recognition.scoring.rows import ScoredRow
    from w2v2cli.recognition.sharing.merging import Parts, WorkPlan

NGRAM_BEAM, TRANSFORMER_BEAM = 1500, 500  # the paper's, for tests (appendix B)


def evaluate(
    split: Annotated[
        str | None,
        typer.Option(
            help="dev-clean, dev-other, test-clean, test-other, or all four of LibriSpeech."
        ),
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
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout in place of the tables.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Keep hypotheses here, JSON by line.")] = None,
    skip_existing: Annotated[
        bool, typer.Option(help="Leave utterances that are in --output.")
    ] = False,
    worst: Annotated[int, typer.Option(help="Utterances shown with their alignment.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the bootstrap, and of --protocol's tuning.")] = 0,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="paper: tune on dev-other, test on the four splits, print its table up to --lm."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="Pairs of weights that --protocol tries.")] = 128,
    search: o.Search = "auto",
    beam: Annotated[
        int | None,
        typer.Option(
            help="Hypotheses kept; 1500, with a Transformer 500, by default.",
            rich_help_panel=o.SEARCH,
        ),
    ] = None,
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
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    batch_seconds: o.BatchSeconds = 0.0,
    workers: o.Workers = 0,
    lm_cache_gb: o.LmCacheGb = o.LM_CACHE_GB,
) -> None:
    """Transcribe a corpus and count the errors: WER, CER, by speaker, and the worst utterances.

    LibriSpeech is looked for in --data, $W2V2_DATA and the current folder. Where it is not, the miniature that ships with w2v2 is
    evaluated in its place, and every report says so. The interval is the 95% bootstrap over utterances.

    Several processes share the corpus: torchrun --nproc-per-node 2 --no-python w2v2 eval ...
    """
    with exits():
        if protocol is None and split is None and data is None:
            raise UsageError("Name a --split of LibriSpeech, or a corpus by --data.")
        if worst < 0:
            raise UsageError(f"--worst cannot be negative, got {worst}.")

        def settings_for(
            lm: str, beam: int | None, lm_weight: float | None, word_score: float | None
        ) -> RecognitionOptions:
            settings = o.recognition_options(
                model=model, lm=lm, lexicon=None if lm == "none" else lexicon, search=search, beam=beam or NGRAM_BEAM,
                beam_threshold=beam_threshold, beam_tokens=beam_tokens, lm_weight=lm_weight, word_score=word_score,
                unk_score=unk_score, sil_score=sil_score, nbest=1, device=device, precision=precision,
                batch_seconds=batch_seconds, workers=workers, hotwords=hotwords, rescore=rescore,
                rescore_nbest=rescore_nbest, rescore_lm_weight=rescore_lm_weight,
                rescore_word_score=rescore_word_score, rescore_first_weight=rescore_first_weight,
                lm_cache_gb=lm_cache_gb,
            )  # fmt: skip
            if beam is None and settings.lm.kind == "transformer":
                settings = replace(settings, beam=replace(settings.beam, width=TRANSFORMER_BEAM))
            return settings

        if protocol is not None:
            given = {
                "--split": split, "--output": output, "--rescore": rescore, "--lm-weight": lm_weight,
                "--word-score": word_score, "--beam": beam,
            }  # fmt: skip
            _check_protocol(protocol, [name for name, value in given.items() if value is not None])
            rows = [settings_for(name, None, 0.0, 0.0) for name in language_models(lm)]
            run_protocol(
                rows, data, trials, seed, lambda s: _run(s, "all", data, notes=False), as_json
            )
            return
        settings = settings_for(lm, beam, lm_weight, word_score)
        if skip_existing and output is None:
            raise UsageError("--skip-existing looks for utterances in --output: name a file.")
        finished = _run(settings, split, data, output, skip_existing)
        if finished is None:
            return  # the first rank reports
        results, trouble = finished
        if trouble is None:
            _report(results, settings, as_json, worst, seed)
        failed = [failure for result in results for failure in result.failures]
        if failed:
            say("\n".join(f"{failure.id}: {failure.error}" for failure in failed))
        if trouble is not None:
            raise UserError(trouble)
        if failed:
            raise UserError(
                f"{len(failed)} utterances could not be transcribed and are not counted (see above)."
            )


def _check_protocol(protocol: str, given: Sequence[str]) -> None:
    if protocol != "paper":
        raise UsageError(f"--protocol takes paper, got {protocol!r}.")
    if given:
        raise UsageError(f"--protocol paper decides on {given[0]} itself: leave it out.")


def _run(
    settings: RecognitionOptions,
    split: str | None,
    data: Path | None,
    output: Path | None = None,
    skip_existing: bool = False,
    notes: bool = True,
) -> tuple[list[Evaluation], str | None] | None:
    """The evaluations, and the sentence on what is missing from them because a rank died; None on other ranks."""
    from w2v2cli.data.corpora.catalogue import find_splits
    from w2v2cli.processes import Ranks
    from w2v2cli.recognition.scoring.rows import ScoredRow, evaluation_of, kept_rows, settings_line
    from w2v2cli.recognition.sharing.merging import sharing
    from w2v2cli.recognition.sharing.ranks import options_of, stopping, temporary_folder

    ranks = Ranks.from_environment()
    corpora = find_splits(split, data)
    for corpus in corpora:
        if corpus.note and notes:
            ranks.say(f"Note: {corpus.note}")
    line = settings_line(settings)
    settings = options_of(settings, ranks)
    places = [(corpus, number) for corpus in corpora for number in range(len(corpus.utterances))]
    folder = temporary_folder(ranks) if ranks.several else None
    if output is not None:
        folder = output.with_name(f".{output.name}.parts")
    rows: dict[int, ScoredRow] = {}

    def plan() -> WorkPlan:
        if skip_existing and output is not None and folder is not None:
            kept = kept_rows(output, folder, line)
            names = [(corpus.name, corpus.utterances[number].id) for corpus, number in places]
            rows.update({index: kept[name] for index, name in enumerate(names) if name in kept})
        return _plan(places, rows, ranks)

    with (
        stopping(ranks) as stop,
        sharing(ranks, folder, plan, stop, ScoredRow, keep=output is not None) as parts,
        closing(_scored(parts, places, settings, line)) as own,
    ):
        if not ranks.first:
            parts.contribute(own)
            return None
        rows.update(_counted(parts.merged(own), len(places) - len(rows)))
        if output is not None:
            _keep([rows[index] for index in sorted(rows) if rows[index].alignment], output)
    results, first = [], 0
    for corpus in corpora:
        numbers = range(len(corpus.utterances))
        results.append(
            evaluation_of(corpus, [(n, rows[first + n]) for n in numbers if first + n in rows])
        )
        first += len(numbers)
    if not parts.missing:
        return results, None
    names = ", ".join(
        places[index][0].utterances[places[index][1]].id for index in parts.missing[:5]
    )
    again = (
        f"{output} holds the others, and --skip-existing does only these"
        if output
        else "--output keeps what is done"
    )
    return results, (
        f"{len(parts.missing)} of {len(places)} utterances were not transcribed because {parts.shortfall()}; "
        f"{again}: {names}{' and more' if len(parts.missing) > 5 else ''}."
    )


def _plan(
    places: Sequence[tuple[CorpusSplit, int]], done: Mapping[int, ScoredRow], ranks: Ranks
) -> WorkPlan:
    """The utterances of each rank, those that are done left out, divided by length."""
    from w2v2cli.recognition.sharing.merging import WorkPlan
    from w2v2cli.recognition.sharing.ranks import seconds_of, split_by_length

    utterances = [corpus.utterances[number] for corpus, number in places]
    left = [index for index in range(len(places)) if index not in done]
    shares = [left]
    if ranks.several:
        known = [utterances[index].seconds for index in left]
        seconds = [
            s if s is not None else seconds_of([utterances[i].path])[0]
            for i, s in zip(left, known, strict=True)
        ]
        shares = [
            [left[place] for place in share] for share in split_by_length(seconds, ranks.world)
        ]
    return WorkPlan([utterance.id for utterance in utterances], shares)


def _scored(
    parts: Parts[ScoredRow],
    places: Sequence[tuple[CorpusSplit, int]],
    settings: RecognitionOptions,
    line: str,
) -> Generator[tuple[int, ScoredRow], None, None]:
    """This rank's utterances, corpus by corpus."""
    from w2v2cli.recognition.recognizer import recognizer
    from w2v2cli.recognition.scoring.rows import scored_rows
    from w2v2cli.recognition.sharing.ranks import take_cores

    if [corpus.utterances[number].id for corpus, number in places] != list(parts.plan.items):
        raise UserError(
            f"Rank {parts.ranks.rank} finds other utterances than the first rank: are the disks the same?"
        )
    if not parts.mine:
        return
    with recognizer(
        settings, warn=lambda sentence: parts.ranks.say(f"Warning: {sentence}")
    ) as pipeline:
        take_cores(parts.ranks)
        for _, group in groupby(parts.mine, key=lambda index: id(places[index][0])):
            indices = list(group)
            numbers = [places[index][1] for index in indices]
            found = scored_rows(pipeline, places[indices[0]][0], numbers, line, parts.ranks)
            yield from zip(indices, found, strict=True)


def _counted(rows: Iterator[tuple[int, ScoredRow]], total: int) -> Iterator[tuple[int, ScoredRow]]:
    """The rows, a progress bar moving along with them."""
    with progress("Evaluating", f"/{total}") as advance:
        for done, row in enumerate(rows, 1):
            advance(done, total)
            yield row


def _report(
    results: list[Evaluation], settings: RecognitionOptions, as_json: bool, worst: int, seed: int
) -> None:
    from w2v2cli.recognition.scoring.report import json_report, print_report

    if as_json:
        sys.stdout.write(
            json.dumps(json_report(results, settings, seed), indent=2, ensure_ascii=False) + "\n"
        )
    else:
        print_report(results, settings, worst, seed)


def _keep(rows: Sequence[ScoredRow], output: Path) -> None:
    from w2v2cli.recognition.output import write_file

    write_file(
        output, "".join(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in rows)
    )
