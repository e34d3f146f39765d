"""One run from its folder to its end: checked against what the folder holds, locked, carried through the loop."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.config import SAMPLE_RATE, Wav2Vec2Config
from models.context_network import ContextNetwork
from w2v2cli.data.dataset import Reading, TrainingSet, budget_samples
from w2v2cli.errors import UsageError, UserError
from w2v2cli.training.collectives import Ranks
from w2v2cli.training.config import AudioRunConfig, FinetuneConfig, PretrainConfig, RunConfig
from w2v2cli.training.loop import Loop, Outcome
from w2v2cli.training.metrics import Pace
from w2v2cli.training.optimization import keep_freed_memory
from w2v2cli.training.stream import AudioStream
from w2v2cli.training.tasks.protocol import Stream, Task

SETTINGS = "run.json"
# What a continued run may change: how it runs, not what it computes.
FREE = {
    "accumulate", "batch_seconds", "batch_words", "compile", "keep", "loader_workers", "recompute", "save_every",
    "total_batch_hours", "validate_every",
}  # fmt: skip


@dataclass(frozen=True)
class Telling:
    """Who hears of what."""

    report: Callable[[dict[str, Any], Pace], None]
    """Every update."""
    warn: Callable[[str], None]
    """What someone should look at."""


def train(
    network: nn.Module,
    task: Task,
    config: RunConfig,
    stream: Stream,
    folder: Path,
    ranks: Ranks,
    telling: Telling,
    tensorboard: bool = False,
) -> Outcome:
    """Train in `folder`, going on with what it holds. UsageError when it holds a run with other settings."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) if ranks.first else _nobody():
        check_settings(folder, config, write=ranks.first)
        for module in network.modules():
            if isinstance(module, ContextNetwork):
                module.recompute = config.recompute
        if ranks.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        else:
            keep_freed_memory()
        loop = Loop(
            network=network.to(ranks.device),
            task=task,
            config=config,
            stream=stream,
            ranks=ranks,
            folder=folder,
            report=telling.report,
            warn=telling.warn,
            tensorboard=tensorboard,
        )
        return loop.run()


def stream_of(config: AudioRunConfig, data: TrainingSet, ranks: Ranks) -> AudioStream:
    """The micro-batches of one rank, as the configuration reads them."""
    accumulate = accumulation(config, data, ranks.world)
    pin = ranks.device.type == "cuda"
    return AudioStream(
        data, reading_of(config), ranks.rank, ranks.world, accumulate, config.loader_workers, pin
    )


def accumulation(config: AudioRunConfig, data: TrainingSet, world: int) -> int:
    """Micro-batches of one device in an update: as configured, but an update takes no more than one epoch (as in R, where
    ten minutes of speech are less than the batch)."""
    return min(config.accumulation(world), max(len(reading_of(config).epoch(data, 0)) // world, 1))


def reading_of(config: AudioRunConfig) -> Reading:
    """How a run reads its recordings."""
    return Reading(
        budget_samples(config.batch_seconds),
        crop=int(config.crop_seconds * SAMPLE_RATE) if isinstance(config, PretrainConfig) else None,
        speeds=config.speeds if isinstance(config, FinetuneConfig) else (1.0,),
        seed=config.seed,
    )


def check_settings(folder: Path, config: RunConfig, write: bool) -> None:
    """Hold a configuration against the one in the folder, kept there by the first call."""
    path = folder / SETTINGS
    settings = json.loads(json.dumps({"kind": type(config).__name__, **asdict(config)}))
    if path.exists():
        before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        other = [
            name for name in settings if name not in FREE and settings[name] != before.get(name)
        ]
        if other:
            shown = "; ".join(
                f"{name} was {before.get(name)} and is {settings[name]}" for name in other[:3]
            )
            raise UsageError(
                f"{folder} holds a run with other settings: {shown}. Name another folder by -o."
            )
    elif write:
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else trains in this folder meanwhile; the lock ends with the process, however it ends."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"Another process is training in {folder}.") from None
        yield


@contextmanager
def _nobody() -> Iterator[None]:
    yield


def network_size(network: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def memory_estimate(network: nn.Module, model: Wav2Vec2Config, config: AudioRunConfig) -> float:
    """GB that training takes on one device: weights, gradients and Adam's moments in float32, and activations.

    An estimate. The activations kept for the backward pass are counted from the shapes: each convolution's output twice
    (before and after its GELU), and of each block what its products and norms keep, about 14 vectors of its width and 2.5
    of its inner width a frame. Attention by blocks keeps no matrix of frames by frames.
    """
    steps = config.batch_seconds * SAMPLE_RATE
    width_of_number = 4 if config.precision == "fp32" else 2
    activations = 0.0
    for channels, _, stride in model.conv_layers:
        steps /= stride
        activations += 2 * steps * channels
    if isinstance(config, FinetuneConfig) and config.freeze_feature_encoder:
        activations = 0.0
    kept = 1.0 if config.recompute else 14.0
    inner = 0.0 if config.recompute else 2.5
    activations += steps * model.num_layers * (kept * model.width + inner * model.ffn_width)
    return (network_size(network) * 16 + activations * width_of_number) / 1e9
