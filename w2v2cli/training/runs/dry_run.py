"""What a run would do, computed from its settings and the lengths of its recordings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import nn

from models.config import SAMPLE_RATE, Wav2Vec2Config
from w2v2cli.data.dataset import TrainingSet
from w2v2cli.errors import UsageError
from w2v2cli.processes import Ranks
from w2v2cli.progress import duration
from w2v2cli.recognition.devices import Precision, chosen_precision
from w2v2cli.training.architecture import FINETUNING_ONLY, PRETRAINING_ONLY
from w2v2cli.training.config import (
    ARCHITECTURE,
    AudioRunConfig,
    FinetuneConfig,
    PretrainConfig,
    flattened,
)
from w2v2cli.training.pace import Phase, stretches
from w2v2cli.training.runs.device_speed import training_flops
from w2v2cli.training.stream import BATCH_TOLERANCE, accumulation, divided, reading_of
from w2v2cli.training.tasks.finetuning import finetuning_phases
from w2v2cli.training.tasks.pretraining import pretraining_phases


@dataclass(frozen=True)
class DryRun:
    """A run's size, memory, batches and schedule, and all its settings."""

    rows: tuple[tuple[str, str], ...]
    """What it is, and its value with unit."""
    settings: tuple[tuple[str, Any], ...]
    """Every setting by its full name."""
    network: tuple[tuple[str, Any], ...]
    """Every field of the architecture that is not among them."""

    def text(self) -> str:
        """Return it as aligned lines."""
        width = max(len(name) for name, _ in self.rows)
        lines = [f"{name:<{width}}  {value}" for name, value in self.rows]
        settings = [f"  {name} = {value}" for name, value in self.settings]
        network = [f"  {name} = {value}" for name, value in self.network]
        headings = "settings (--set)", "network (--set, where no checkpoint fixes it)"
        return "\n".join([*lines, "", headings[0], *settings, "", headings[1], *network])


def dry_run(
    config: AudioRunConfig,
    network: nn.Module,
    model: Wav2Vec2Config,
    data: TrainingSet | None,
    device: torch.device,
    speed: float | None = None,
    held_out: TrainingSet | None = None,
) -> DryRun:
    """Describe a run without training.

    data, held_out: what it would train and validate on, if that is known. device: where. speed:
    seconds of audio that a device trains this network on in a second; by default that is computed
    from the operations of the network and those that `device` reaches, timed now. The time is
    estimated from it.

    Raises UsageError for a speed that is none.
    """
    if speed is not None and not 0 < speed < math.inf:
        raise UsageError(f"--speed must be above 0, got {speed:g}.")
    precision, why = config.precision, ""
    if precision == "auto":
        precision, why = chosen_precision(device), f" (auto, on {device})"
    world = Ranks.from_environment().world
    described = batch_description(config, world, data)
    config = divided(config, data, world)
    memory = memory_estimate(network, model, config, precision)
    accumulate = config.accumulation(world) if data is None else accumulation(config, data, world)
    updates = config.schedule.updates
    seconds = config.batch_seconds * accumulate  # of audio on each device in an update
    hours = updates * seconds * world / 3600
    rows = [
        ("parameters", f"{parameter_count(network) / 1e6:.1f} M"),
        ("precision", f"{precision}{why}"),
        ("memory", f"about {memory:.1f} GB on each device"),
        ("batch", described),
        ("learning rate", config.schedule.described()),
        ("updates", f"{updates}, {hours:.0f} h of audio at most"),
        *_output_layer_row(config),
    ]
    if data is not None:
        batches = len(reading_of(config).epoch(data, 0))
        steps = batches / (world * accumulate)
        utterances = f"{len(data)} utterances, {data.hours:.1f} h"
        rows += [
            ("data", f"{utterances}, {batches} micro-batches, {steps:.1f} updates an epoch"),
            ("epochs", f"{updates / steps:.1f}"),
        ]
    if held_out is not None:
        rows.append(("validation", f"{len(held_out)} utterances, {held_out.hours:.2f} h"))
    rows += _time_rows(phases_of(config, model), updates, seconds, speed, device, model, precision)
    settings = [pair for pair in flattened(asdict(config)) if pair[0] != ARCHITECTURE]
    return DryRun(tuple(rows), tuple(settings), tuple(_network(config, model)))


def phases_of(config: AudioRunConfig, model: Wav2Vec2Config) -> tuple[Phase, ...]:
    """Return the parts of a run and their work."""
    if isinstance(config, PretrainConfig):
        return pretraining_phases(config, model)
    assert isinstance(config, FinetuneConfig)
    return finetuning_phases(config, model)


def _time_rows(
    phases: Sequence[Phase],
    updates: int,
    seconds: float,
    speed: float | None,
    device: torch.device,
    model: Wav2Vec2Config,
    precision: str,
) -> Iterator[tuple[str, str]]:
    """The work of a run on one device, which hears `seconds` in an update, and its time."""
    whole = phases[-1].work
    work = sum(
        (end - begin) * seconds * phase.work for phase, begin, end in stretches(phases, 0, updates)
    )
    yield "work", f"{whole / 1e9:.1f} GFLOP a second of audio, {work / 1e15:.3g} PFLOP each device"
    if speed is None:
        reached, source = training_flops(model, device, precision), f"measured on {device}"
    else:
        reached, source = speed * whole, "--speed"
    yield (
        "time",
        f"{duration(work / reached)} at {reached / whole:.3g} s of audio a second on each device "
        f"({source}), without validations",
    )


def _network(config: AudioRunConfig, model: Wav2Vec2Config) -> Iterator[tuple[str, Any]]:
    """The fields of the architecture that are not settings of the run itself."""
    without = {item.name for item in fields(config)}
    if isinstance(config, FinetuneConfig):
        without |= PRETRAINING_ONLY
    else:
        without |= FINETUNING_ONLY
    for name, value in asdict(model).items():
        if name not in without:
            layers = ",".join(str(layer).replace(" ", "") for layer in model.conv_layers)
            yield name, layers if name == "conv_layers" else value


def _output_layer_row(config: AudioRunConfig) -> Iterator[tuple[str, str]]:
    alone = config.head_only_updates if isinstance(config, FinetuneConfig) else 0
    if alone:
        yield (
            "output layer",
            f"learns alone in the first {alone} of {config.schedule.updates} updates",
        )


def batch_description(config: AudioRunConfig, world: int, data: TrainingSet | None = None) -> str:
    """Return, in a phrase, how one update's batch comes together."""
    whole, config = config, divided(config, data, world)
    wanted = config.accumulation(world)
    accumulate = wanted if data is None else accumulation(config, data, world)
    hours = config.batch_seconds * world * accumulate / 3600
    processes = "1 process" if world == 1 else f"{world} processes"
    described = (
        f"{config.batch_seconds:.1f} s × {processes} × {accumulate} accumulated "
        f"= {hours:.3f} h an update"
    )
    total = whole.total_batch_hours
    if accumulate < wanted:
        return f"{described} ({wanted} would make the total batch, an epoch has no more)"
    if total and hours > (1 + BATCH_TOLERANCE) * total:
        return (
            f"{described}, more than the recipe's {total:g} h: each process reads at least one "
            "recording"
        )
    if config.batch_seconds < whole.batch_seconds:
        return (
            f"{described} (less than {whole.batch_seconds:g} s at a time, so that an update keeps "
            f"its {total:g} h)"
        )
    return described


def parameter_count(network: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def memory_estimate(
    network: nn.Module, model: Wav2Vec2Config, config: AudioRunConfig, precision: Precision
) -> float:
    """Estimate the memory that training takes on one device, in GB.

    Weights, gradients and Adam's moments in float32, and activations counted from the shapes: each
    convolution's output twice (before and after its GELU), and per block and frame what its
    products and norms keep, about 14 vectors of its width and 2.5 of its inner width. Attention
    in blocks keeps no matrix of frames by frames.
    """
    steps = config.batch_seconds * SAMPLE_RATE
    bytes_per_number = 4 if precision == "fp32" else 2
    activations = 0.0
    for channels, _, stride in model.conv_layers:
        steps /= stride
        activations += 2 * steps * channels
    if isinstance(config, FinetuneConfig) and config.freeze_feature_encoder:
        activations = 0.0
    kept = 1.0 if config.recompute else 14.0
    inner = 0.0 if config.recompute else 2.5
    activations += steps * model.num_layers * (kept * model.width + inner * model.ffn_width)
    return (parameter_count(network) * 16 + activations * bytes_per_number) / 1e9
