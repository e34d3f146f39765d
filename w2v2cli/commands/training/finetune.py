"""`w2v2 finetune`: CTC training, from a pretrained checkpoint or from random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.reporting import note, report_end, training
from w2v2cli.commands.training.audio_options import Output
from w2v2cli.commands.training.finetune_options import FinetuneFlags

SHOWN = ("loss", "blanks", "learning_rate", "gradient_norm", "audio_seconds_per_second")


@takes(FinetuneFlags)
def finetune(
    flags: FinetuneFlags,
    corpora: Annotated[
        list[str] | None,
        typer.Argument(
            help="Corpora by name (librilight-10h, train-clean-100, timit-train), folders or "
            "manifests; CORPUS@8 is read eight times an epoch.",
            metavar="CORPUS...",
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Train a network to transcribe; the best by validation WER becomes OUTPUT/best.safetensors.

    Without --valid a tenth of the corpora is held out to validate on: whole speakers where they are
    known, else utterances by a hash of their ids. LibriSpeech, Libri-light and TIMIT keep their own
    splits. A run that is stopped at any moment, also by SIGTERM or SIGUSR1, is continued by the
    same call.

    Examples:

      w2v2 finetune my-corpus -o runs/mine --model base-960h --recipe base-1h

      w2v2 finetune librilight-10h -o RUN --model BASE.safetensors --recipe base-10h
    """
    if flags.recipes:
        from w2v2cli.training.runs.recipe_list import finetuning_list

        typer.echo(finetuning_list())
        return
    folder = flags.folder_to_train_in(corpora, output)
    if folder is None:
        _print_plan(flags, corpora or [])
    else:
        _train(flags, corpora or [], folder)


def _print_plan(flags: FinetuneFlags, corpora: list[str]) -> None:
    from w2v2cli.training.runs.finetune import finetuning_dry_run

    plan = finetuning_dry_run(
        corpora,
        model=flags.model,
        recipe=flags.recipe,
        valid=flags.valid,
        peak_lr=flags.peak_lr[0] if flags.peak_lr else None,
        shards=flags.shards,
        data=flags.data,
        settings=flags.changes(),
        device=flags.device,
        speed=flags.speed,
        note=note,
    )
    typer.echo(plan.text())


def _train(flags: FinetuneFlags, corpora: list[str], output: Path) -> None:
    from w2v2cli.training.runs import finetune as job

    with training(flags.log_every, SHOWN) as report:
        result = job.finetune(
            corpora,
            output=output,
            model=flags.model,
            recipe=flags.recipe,
            valid=flags.valid,
            lm=flags.lm,
            lexicon=flags.lexicon,
            seeds=flags.seeds,
            peak_lr=flags.peak_lr,
            shards=flags.shards,
            data=flags.data,
            settings=flags.changes(),
            device=flags.device,
            tensorboard=flags.tensorboard,
            wandb=flags.wandb,
            on_progress=report.on_progress,
            warn=report.warn,
            note=report.note,
        )
    report_end(result)
