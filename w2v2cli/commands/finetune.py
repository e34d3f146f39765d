"""`w2v2 finetune`: CTC training, from random weights or from a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from w2v2cli.data.corpora import Utterance
    from w2v2cli.training.config import FinetuneConfig
    from w2v2cli.training.finetuning import Start


def finetune(
    train: Annotated[
        list[str],
        typer.Argument(help="Corpora to train on; CORPUS@8 is read eight times an epoch.", metavar="CORPUS..."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run; an existing one is continued.")],
    valid: Annotated[
        Path | None, typer.Option(help="Corpus to validate on; else the dev part of the first, by its ids.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Checkpoint to start from, or a preset for random weights.")
    ] = "demo-config",
    recipe: Annotated[str, typer.Option(help="Named settings of the run.")] = "demo",
    updates: Annotated[int | None, typer.Option(help="In place of the recipe's.")] = None,
    peak_lr: Annotated[float | None, typer.Option(help="In place of the recipe's.")] = None,
    batch_seconds: Annotated[float | None, typer.Option(help="In place of the recipe's.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16, in place of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    log_every: Annotated[int, typer.Option(help="Updates between two lines.")] = 50,
) -> None:
    """Train a network to transcribe; the best by validation WER is OUTPUT/best.safetensors.

    Utterances whose id falls to dev or test (a fixed rule, see the README) are never trained on. Stopped at any
    moment, the same call goes on from the last validation.
    """
    with exits():
        from w2v2cli.training.config import RECIPES

        if recipe not in RECIPES:
            raise UsageError(f"--recipe takes {', '.join(RECIPES)}; got {recipe!r}.")
        if precision not in (None, "fp32", "bf16"):
            raise UsageError(f"--precision takes fp32 or bf16, got {precision!r}.")
        run = RECIPES[recipe]()
        schedule = replace(run.schedule, updates=updates or run.schedule.updates, peak=peak_lr or run.schedule.peak)
        run = replace(
            run,
            schedule=schedule,
            batch_seconds=batch_seconds or run.batch_seconds,
            precision=precision or run.precision,
            seed=run.seed if seed is None else seed,
        )
        _run(train, output, valid, model, recipe, run, device, log_every)


def _run(
    train: list[str],
    output: Path,
    valid: Path | None,
    model: str,
    recipe: str,
    run: FinetuneConfig,
    device: str,
    log_every: int,
) -> None:
    from lm.vocabulary import Vocabulary
    from models.importers.labels import STANDARD
    from w2v2cli.data.corpora import read_corpus
    from w2v2cli.data.splits import split_of
    from w2v2cli.recognition.emissions import resolve_device
    from w2v2cli.training.finetuning import finetune as fit

    corpora = [_corpus(name) for name in train]
    learned = [u for utterances, times in corpora for u in utterances * times if split_of(u.id) == "train"]
    held_out = read_corpus(valid) if valid else [u for u in corpora[0][0] if split_of(u.id) == "dev"]
    start = _start(model)
    say(f"Training on {len(learned)} utterances an epoch, validating on {len(held_out)}.")

    def report(metrics: dict[str, Any]) -> None:
        if "wer" in metrics or metrics["update"] % log_every == 0:
            say("  ".join(f"{name} {value:.4g}" for name, value in metrics.items()))

    best = fit(
        start,
        run,
        Vocabulary.from_labels(STANDARD),
        learned,
        held_out,
        output,
        device=resolve_device(device),
        report=report,
        left_out=lambda utterance: say(f"Left out: {utterance.id}: {utterance.reason}."),
        metadata={"recipe": recipe, "corpora": train, "started_from": model, "seed": run.seed},
    )
    say(f"The best checkpoint is {best}.")


def _corpus(name: str) -> tuple[list[Utterance], int]:
    """A corpus and how often it is read in an epoch."""
    from w2v2cli.data.corpora import read_corpus

    path, _, times = name.rpartition("@")
    if path and times.isdigit() and int(times) > 0 and not Path(name).exists():
        return read_corpus(Path(path)), int(times)
    return read_corpus(Path(name)), 1


def _start(name: str) -> Start:
    """Random weights of a preset, or a checkpoint."""
    from models.config import PRESETS
    from models.importers.reader import read_model
    from w2v2cli.data.store import resolve_model
    from w2v2cli.training.finetuning import Start

    preset = name.removesuffix("-config")
    if name.endswith("-config") and preset in PRESETS:
        return Start(PRESETS[preset](), None)
    try:
        checkpoint = read_model(resolve_model(name).path)
    except ValueError as error:
        raise UserError(str(error)) from error
    return Start(checkpoint.config, checkpoint.weights)
