"""`w2v2 pretrain`: self-supervised training on recordings without transcripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.reporting import note, report_end, training
from w2v2cli.commands.training.audio_options import Output
from w2v2cli.commands.training.pretrain_options import PretrainFlags

SHOWN = (
    "loss",
    "contrastive",
    "accuracy",
    "code_perplexity",
    "temperature",
    "learning_rate",
    "gradient_norm",
    "audio_seconds_per_second",
)


@takes(PretrainFlags)
def pretrain(
    flags: PretrainFlags,
    corpora: Annotated[
        list[str] | None,
        typer.Argument(
            help="Corpora by name (train-960, librilight-60k), folders or manifests; "
            "CORPUS@8 is read eight times an epoch.",
            metavar="CORPUS...",
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Pretrain a network; the best by validation loss becomes OUTPUT/best.safetensors.

    A run that is stopped at any moment, also by SIGTERM or SIGUSR1, is continued by the same call.

    Examples:

      w2v2 pretrain --recipe large-lv60k --dry-run

      w2v2 pretrain train-960 --valid dev-other -o runs/base

      torchrun --nproc-per-node 8 --no-python w2v2 pretrain train-960 -o runs/base
    """
    if flags.recipes:
        from w2v2cli.training.runs.recipe_list import pretraining_list

        typer.echo(pretraining_list())
        return
    folder = flags.folder_to_train_in(corpora, output)
    if folder is None:
        _print_plan(flags, corpora or [])
    else:
        _train(flags, corpora or [], folder)


def _print_plan(flags: PretrainFlags, corpora: list[str]) -> None:
    from w2v2cli.training.runs.pretrain import pretraining_dry_run

    plan = pretraining_dry_run(
        corpora,
        recipe=flags.recipe,
        model=flags.model,
        valid=flags.valid,
        shards=flags.shards,
        data=flags.data,
        settings=flags.changes(flags.peak_lr),
        device=flags.device,
        speed=flags.speed,
        note=note,
    )
    typer.echo(plan.text())


def _train(flags: PretrainFlags, corpora: list[str], output: Path) -> None:
    from w2v2cli.training.runs import pretrain as job

    with training(flags.log_every, SHOWN) as report:
        result = job.pretrain(
            corpora,
            output=output,
            recipe=flags.recipe,
            model=flags.model,
            valid=flags.valid,
            shards=flags.shards,
            data=flags.data,
            settings=flags.changes(flags.peak_lr),
            device=flags.device,
            tensorboard=flags.tensorboard,
            wandb=flags.wandb,
            on_progress=report.on_progress,
            warn=report.warn,
            note=report.note,
        )
    report_end(result)
