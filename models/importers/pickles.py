"""PyTorch's pickled files, read without running what is in them.

`torch.load(weights_only=True)` builds tensors and plain containers and refuses every other class. fairseq's files also
hold their configuration as argparse and omegaconf objects: those names, and no others, stand for inert classes of ours,
so neither fairseq nor omegaconf needs to be installed, and nothing of them is ever called.
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import CheckpointError


class Inert:
    """Stands for a class whose instances are only containers; keeps their state as attributes."""

    def __init__(self, *args: Any, **values: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


OMEGACONF = (
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.StringNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.BooleanNode",
    "omegaconf.nodes.EnumNode",
)
FAIRSEQ = (
    "fairseq.data.dictionary.Dictionary",
    "fairseq.meters.AverageMeter",
    "fairseq.meters.TimeMeter",
    "fairseq.meters.StopwatchMeter",
    "fairseq.logging.meters.AverageMeter",
    "fairseq.logging.meters.TimeMeter",
    "fairseq.logging.meters.StopwatchMeter",
    "fairseq.dataclass.constants.StrEnum",
)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """A file that holds named tensors and nothing else."""
    content = load(path)
    if not isinstance(content, dict) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(f"{path} holds something other than named tensors.")
    return dict(content)


def load(path: Path) -> Any:
    """Whatever plain data a file holds; CheckpointError for one that is damaged or would run code."""
    stand_ins: list[Any] = [
        (type(name.rpartition(".")[2], (Inert,), {"__module__": __name__}), name)
        for name in (*OMEGACONF, *FAIRSEQ)
    ]
    allowed = [
        argparse.Namespace,
        OrderedDict,
        defaultdict,
        dict,
        list,
        set,
        int,
        (Any, "typing.Any"),
        *stand_ins,
    ]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Detected pickle protocol"
            )  # it reads it, or the error below says no
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)|global[s]? ([\w.]+)|class ([\w.]+)", str(error))
        what = next((name for name in named.groups() if name), None) if named else None
        reason = f"asks to run {what}" if what else "is no checkpoint that can be read safely"
        raise CheckpointError(f"{path} {reason}: it was not opened any further.") from None
    except (
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
    ) as error:
        raise CheckpointError(
            f"{path} is damaged or no PyTorch file: {str(error).splitlines()[0]}."
        ) from None


def plain(value: Any) -> Any:
    """Configuration objects as dicts, lists and values, however they were kept."""
    if isinstance(value, argparse.Namespace):
        return {key: plain(item) for key, item in vars(value).items()}
    if isinstance(value, Inert):
        state = getattr(value, "state", {})
        state = state if isinstance(state, dict) else {}
        if "_content" in state:
            return plain(state["_content"])
        if "_val" in state:
            return plain(state["_val"])
        return value.args[0] if value.args else None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
