"""Pretraining as a job: names in, a checkpoint out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from models.importers.reader import read_model
from models.pretraining import Wav2Vec2ForPretraining
from w2v2cli.console import counted
from w2v2cli.data.dataset import LeftOut, TrainingSet, budget_samples
from w2v2cli.data.locations import resolve_model
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.devices import resolve_device
from w2v2cli.training.collectives import Collectives, joined
from w2v2cli.training.config import PretrainConfig, changed
from w2v2cli.training.metrics import Progress
from w2v2cli.training.recipes import PRETRAINING
from w2v2cli.training.run_folder import Callbacks, RunIdentity, settled, train
from w2v2cli.training.runs.dry_run import DryRun, batch_description, dry_run
from w2v2cli.training.runs.identity import recordings_part, start_part
from w2v2cli.training.runs.result import RunResult, result_of
from w2v2cli.training.runs.sources import (
    Corpora,
    names_of,
    path_of,
    text_of,
    unlabelled_recordings,
)
from w2v2cli.training.stream import audio_stream, reading_of
from w2v2cli.training.tasks.pretraining import Pretraining, Start, build, network_config


def pretrain(
    corpora: Corpora = (),
    *,
    output: str | Path,
    recipe: str = "base-960",
    model: str | Path | None = None,
    valid: str | Path | None = None,
    shards: str | None = None,
    data: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    tensorboard: bool = False,
    wandb: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    warn: Callable[[str], None] = warnings.warn,
    note: Callable[[str], None] = lambda sentence: None,
) -> RunResult:
    """Train a network on recordings without transcripts (paper §3, §4.2).

    Stopped at any moment, the same call continues where it was. Under torchrun every process makes
    the same call, and they train together.

    corpora: names (`train-960`), folders or manifests, one or several; `NAME@8` is read eight times
        an epoch. Or `shards`: a folder or pattern of WebDataset shards.
    output: folder of the run. Its best checkpoint by validation loss is `best.safetensors`.
    recipe: a name in `recipes.PRETRAINING`.
    model: pretrained checkpoint to start from; random weights by default.
    valid: corpus to validate on; by default one recording in a hundred is held out, those of whole
        speakers where speakers are known.
    data: folder that holds corpora given by name; by default `$W2V2_DATA`.
    settings: values in place of the recipe's by name, `{"schedule.updates": 1000}`; see `changed`.
    device: `auto`, `cpu`, `cuda` or `cuda:N`. tensorboard, wandb: log there too (Weights & Biases).
    on_progress: called after every update. warn, note: called with sentences; warnings become
        Python warnings by default, notes are dropped.

    Raises UsageError for a call that cannot be carried out, UserError for a run that fails.
    """
    config = pretraining_config(recipe, settings or {})
    names = names_of(corpora)
    if not names and not shards:
        raise UsageError("Name the corpora to train on, or shards.")
    place = resolve_device(device)
    metadata = {
        "recipe": recipe,
        "corpora": [shards] if shards else names,
        "started_from": text_of(model),
        "seed": config.seed,
    }
    if model is None:
        network_config(config)  # refuses what cannot be before anything is read
    with joined(place) as collectives:
        start = _start_from_first(text_of(model), config, collectives)
        sets = collectives.from_first(
            lambda: unlabelled_recordings(
                names, shards, text_of(valid), path_of(data), config.shortest_seconds, note
            )
        )
        job = _Job(config, start, *sets, metadata, Path(output), tensorboard, text_of(valid))
        return job.run(collectives, Callbacks(on_progress, warn, note, wandb))


def _start_from_first(
    name: str | None, config: PretrainConfig, collectives: Collectives
) -> Start | None:
    """Return the checkpoint to go on from; its weights only on the first rank, which reads them."""
    if name is None:
        return None
    read: list[Start] = []

    def begin() -> Start:
        read.append(read_start(name))
        network_config(config, read[0])
        return replace(read[0], weights=None)

    outline = collectives.from_first(begin)
    return read[0] if read else outline


@dataclass(frozen=True)
class _Job:
    config: PretrainConfig
    start: Start | None
    learned: TrainingSet
    held_out: TrainingSet
    left_out: list[LeftOut]
    metadata: dict[str, Any]
    folder: Path
    tensorboard: bool
    valid: str | None

    def run(self, collectives: Collectives, callbacks: Callbacks) -> RunResult:
        config = settled(self.config, self.folder, collectives, callbacks.note)
        if collectives.first:
            self._describe(callbacks.note, collectives.world)
        network = collectives.after_first(lambda: build(config, self.start))
        validation = reading_of(config).epoch(self.held_out, 0)
        task = Pretraining(config, validation, self.metadata, self.start)
        outcome = train(
            network,
            task,
            config,
            audio_stream(config, self.learned, collectives),
            self.folder,
            collectives,
            callbacks,
            self.tensorboard,
            collectives.from_first(self._parts),
        )
        return collectives.from_first(lambda: result_of(outcome, self.folder, task.judged_by))

    def _parts(self) -> RunIdentity:
        """What `run.json` keeps beside the settings."""
        names = " ".join(self.metadata["corpora"])
        return {
            "corpora": recordings_part(names, self.learned),
            "validation": recordings_part(self.valid or f"part of {names}", self.held_out),
            "start": start_part(self.metadata["started_from"]),
        }

    def _describe(self, note: Callable[[str], None], world: int) -> None:
        if self.left_out:
            shortest = f"{self.config.shortest_seconds:g} s"
            note(f"Left out: {counted(len(self.left_out), 'recording')} shorter than {shortest}.")
        note(
            f"Pretraining on {counted(len(self.learned), 'recording')}, "
            f"{self.learned.hours:.1f} h, validating on {len(self.held_out)}."
        )
        budget = budget_samples(self.config.batch_seconds)
        cut = int((self.learned.lengths > budget).sum())
        if cut and self.config.batch_seconds < self.config.crop_seconds:
            note(
                f"{counted(cut, 'recording', 'is', 'are')} cut at random to "
                f"{self.config.batch_seconds:g} s, the "
                f"--batch-seconds; crop_seconds would take {self.config.crop_seconds:g} s of them."
            )
        note(f"Batch: {batch_description(self.config, world, self.learned)}.")


def pretraining_dry_run(
    corpora: Corpora = (),
    *,
    recipe: str = "base-960",
    model: str | Path | None = None,
    valid: str | Path | None = None,
    shards: str | None = None,
    data: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    speed: float | None = None,
    note: Callable[[str], None] = lambda sentence: None,
) -> DryRun:
    """Describe what `pretrain` would do; see there, and `dry_run` for `speed`."""
    config = pretraining_config(recipe, settings or {})
    place = resolve_device(device)
    names = names_of(corpora)
    learned = held_out = None
    if names or shards:
        learned, held_out, _ = unlabelled_recordings(
            names, shards, text_of(valid), path_of(data), config.shortest_seconds, note
        )
    start = None if model is None else read_start(str(model))
    architecture = network_config(config, start)
    with torch.device("meta"):  # sizes are all that is needed of the weights
        network = Wav2Vec2ForPretraining(architecture)
    return dry_run(config, network, architecture, learned, place, speed, held_out)


def pretraining_config(recipe: str, settings: Mapping[str, Any]) -> PretrainConfig:
    """Return a recipe with some settings changed. Raises UsageError for names that do not exist."""
    if recipe not in PRETRAINING:
        names = ", ".join(name for name in PRETRAINING if not name.startswith("ablation-"))
        raise UsageError(
            f"--recipe takes {names} and ablation-ROW, all of which --recipes lists; "
            f"got {recipe!r}."
        )
    return changed(PRETRAINING[recipe](), settings)


def read_start(name: str) -> Start:
    """Return a pretrained checkpoint. Raises UserError where it cannot be read."""
    try:
        checkpoint = read_model(resolve_model(name).path)
    except ValueError as error:
        raise UserError(str(error)) from error
    return Start(name, checkpoint.config, checkpoint.weights)
