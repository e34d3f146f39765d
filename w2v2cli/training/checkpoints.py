"""What a run needs to go on as if it had never stopped, in one file written beside and renamed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Position:
    """Where in the run and in the data the next update stands."""

    update: int = 0
    """Updates done."""
    epoch: int = 0
    """Epoch the next batch belongs to."""
    batch: int = 0
    """Batches of that epoch already used."""


def save_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, position: Position, best: float) -> None:
    """Write weights, optimizer, position, random state and the best validation so far."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "position": vars(position),
        "random": torch.get_rng_state(),
        "best": best,
    }
    beside = path.with_name(path.name + ".part")
    try:
        torch.save(state, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def load_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Position, float]:
    """Put a run back where `save_state` left it."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    random_state: Tensor = state["random"]
    torch.set_rng_state(random_state)
    return Position(**state["position"]), float(state["best"])
