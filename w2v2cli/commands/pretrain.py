"""`w2v2 pretrain`: self-supervised training on speech that nobody wrote down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands import training as t
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from w2v2cli.data.dataset import TrainingSet
    from w2v2cli.training.collectives import Ranks
    from w2v2cli.training.config import PretrainConfig

SHOWN = ("loss", "contrastive", "accuracy", "code_perplexity", "temperature", "learning_rate", "gradient_norm",
         "audio_seconds_per_second")  # fmt: skip
HELD_OUT = 0.01  # of the recordings, at most, where no validation corpus is named
HELD_OUT_MOST = 500  # recordings


def pretrain(
    corpora: Annotated[
        list[str] | None,
        typer.Argument(
            help="Corpora by name or path, shards too; CORPUS@8 is read eight times an epoch.",
            metavar="CORPUS...",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of the run; an existing one is continued."),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="base-960, large-960, large-lv60k, ablation or small.")
    ] = "base-960",
    valid: Annotated[
        str | None, typer.Option(help="Corpus to validate on; else one recording in a hundred.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--model", help="Pretrained checkpoint to go on from.")
    ] = None,
    shards: t.Shards = None,
    data: t.Data = None,
    updates: t.Updates = None,
    peak_lr: t.PeakLr = None,
    seed: t.Seed = None,
    settings: t.Set = None,
    batch_seconds: t.BatchSeconds = None,
    total_batch_hours: t.TotalBatchHours = None,
    accumulate: t.Accumulate = None,
    loader_workers: t.LoaderWorkers = None,
    precision: t.Precision = None,
    device: t.Device = "auto",
    compiled: t.Compile = None,
    recompute: t.Recompute = None,
    log_every: t.LogEvery = 50,
    tensorboard: t.Tensorboard = False,
    dry_run: t.DryRun = False,
    speed: t.Speed = 1180.0,
) -> None:
    """Pretrain a network; the best by validation loss is OUTPUT/best.safetensors.

    Stopped at any moment (also by SIGTERM or SIGUSR1), the same call goes on where it was. On several GPUs or machines start it by
    torchrun: `torchrun --nproc-per-node 8 --no-python w2v2 pretrain train-960 -o RUN`.
    """
    with exits():
        from w2v2cli.training.config import Changes, changed
        from w2v2cli.training.recipes import PRETRAINING

        if recipe not in PRETRAINING:
            raise UsageError(f"--recipe takes {', '.join(PRETRAINING)}; got {recipe!r}.")
        others = t.run_options(
            seed,
            batch_seconds,
            total_batch_hours,
            accumulate,
            loader_workers,
            precision,
            compiled,
            recompute,
        )
        config = changed(
            PRETRAINING[recipe](), Changes(updates, peak_lr, tuple(settings or ()), others)
        )
        if dry_run:
            _plan(config, corpora or [], shards, data, speed)
            return
        if not (corpora or shards) or output is None:
            raise UsageError(
                "Name the corpora to train on, and by -o the folder of the run (or --dry-run)."
            )
        _run(
            config,
            corpora or [],
            shards,
            output,
            valid,
            start,
            data,
            recipe,
            device,
            log_every,
            tensorboard,
        )


def _plan(
    config: PretrainConfig, corpora: list[str], shards: str | None, data: Path | None, speed: float
) -> None:
    import os

    from w2v2cli.training.tasks.pretraining import build, network_config

    train = _sets(config, corpora, shards, None, data)[0] if corpora or shards else None
    world = int(os.environ.get("WORLD_SIZE", "1"))
    t.print_plan(config, build(config), network_config(config), train, world, speed)


def _sets(
    config: PretrainConfig,
    corpora: list[str],
    shards: str | None,
    valid: str | None,
    data: Path | None,
    ranks: Ranks | None = None,
) -> tuple[TrainingSet, TrainingSet]:
    """What is trained on and what is held out."""
    import numpy as np

    from models.config import SAMPLE_RATE
    from w2v2cli.data.dataset import TrainingSet, unlabelled

    shortest = int(config.shortest_seconds * SAMPLE_RATE)
    every, left_out = unlabelled(t.read_source(corpora, shards, data), shortest)
    if ranks is not None and ranks.first and left_out:
        say(f"Left out: {len(left_out)} recordings shorter than {config.shortest_seconds:g} s.")
    if valid is not None:
        return every, unlabelled(t.read_source([valid], None, data), shortest)[0]
    # The first of the recordings in an order that only their number decides.
    order = np.random.default_rng(len(every)).permutation(len(every))
    count = min(max(int(len(every) * HELD_OUT), 8), HELD_OUT_MOST)
    if len(every) <= count:
        raise UserError(
            f"{len(every)} recordings are left to train on: {count} are needed for validation alone."
        )
    kept = every.kept
    return TrainingSet(every.source, kept[np.sort(order[count:])]), TrainingSet(
        every.source, kept[order[:count]]
    )


def _run(
    config: PretrainConfig,
    corpora: list[str],
    shards: str | None,
    output: Path,
    valid: str | None,
    start: str | None,
    data: Path | None,
    recipe: str,
    device: str,
    log_every: int,
    tensorboard: bool,
) -> None:
    from w2v2cli.recognition.devices import resolve_device
    from w2v2cli.training.collectives import joined
    from w2v2cli.training.run_folder import reading_of, stream_of, train
    from w2v2cli.training.tasks.pretraining import Pretraining, build

    with joined(resolve_device(device)) as ranks:
        learned, held_out = _sets(config, corpora, shards, valid, data, ranks)
        network = build(config)
        if start is not None:
            _load(network, start)
        if ranks.first:
            say(
                f"Pretraining on {len(learned)} recordings, {learned.hours:.1f} h, validating on {len(held_out)}."
            )
            say(f"Batch: {t.batch_described(config, ranks.world, learned)}.")
        metadata = {
            "recipe": recipe,
            "corpora": [shards] if shards else corpora,
            "started_from": start,
            "seed": config.seed,
        }
        task = Pretraining(config, reading_of(config).epoch(held_out, 0), metadata)
        with t.telling(ranks, log_every, config.schedule.updates, SHOWN) as telling:
            outcome = train(
                network,
                task,
                config,
                stream_of(config, learned, ranks),
                output,
                ranks,
                telling,
                tensorboard,
            )
        t.tell_outcome(outcome, output, ranks)


def _load(network: object, name: str) -> None:
    from models.checkpoint import check_weights
    from models.importers.reader import read_model
    from w2v2cli.data.locations import resolve_model

    try:
        checkpoint = read_model(resolve_model(name).path)
        check_weights(checkpoint.weights, network)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(str(error)) from error
    network.load_state_dict(checkpoint.weights)  # type: ignore[attr-defined]
