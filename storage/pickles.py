"""PyTorch's pickled files, read without running any code that is in them.

`torch.load(weights_only=True)` builds tensors and plain containers and refuses every other class.
Files of fairseq also hold their configuration as argparse and omegaconf objects. Inert classes of
ours stand in for those names, so neither fairseq nor omegaconf needs to be installed, and nothing
of them is ever called.
"""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import torch

from storage.pointers import NOT_FETCHED, is_pointer

STAND_INS = (
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
    "fairseq.data.dictionary.Dictionary",
    "fairseq.meters.AverageMeter",
    "fairseq.meters.TimeMeter",
    "fairseq.meters.StopwatchMeter",
    "fairseq.logging.meters.AverageMeter",
    "fairseq.logging.meters.TimeMeter",
    "fairseq.logging.meters.StopwatchMeter",
    "fairseq.dataclass.constants.StrEnum",
)

# What torch.load raises for content that is not what it expects; fuzzed in the tests.
DAMAGE = (
    OSError,  # a seek to before the start
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    MemoryError,
    OverflowError,
    struct.error,
)


class PickleError(ValueError):
    """A pickled file that is damaged, or that would run code."""


class Inert:
    """Stands in for a class whose instances are only containers; keeps what they were made of."""

    args: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *args: Any, **values: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


def load_pickle(path: Path) -> Any:
    """The plain data in a file, tensors on the CPU. Raises PickleError with a sentence."""
    stand_ins: list[Any] = [
        (type(name.rpartition(".")[2], (Inert,), {"__module__": __name__}), name)
        for name in STAND_INS
    ]
    builtin = [argparse.Namespace, OrderedDict, defaultdict, dict, list, set, int]
    allowed: list[Any] = [*builtin, (Any, "typing.Any"), *stand_ins]
    if is_pointer(path):
        raise PickleError(f"{path} {NOT_FETCHED}.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise PickleError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            # Where a protocol cannot be read, the error below says so.
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            warnings.filterwarnings("ignore", "Sparse invariant checks")  # such are refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)|global[s]? ([\w.]+)|class ([\w.]+)", str(error))
        code = next((name for name in named.groups() if name), None) if named else None
        reason = f"asks to run {code}" if code else "is not a checkpoint that can be read safely"
        raise PickleError(f"{path} {reason}: it was not opened any further.") from None
    except DAMAGE as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        why = f": {reason}" if " " in reason else ""  # a single word or number explains nothing
        raise PickleError(f"{path} is damaged or not a PyTorch file{why}.") from None


def plain(value: Any) -> Any:
    """Configuration objects as dicts, lists and values, whatever class kept them."""
    if isinstance(value, argparse.Namespace):
        return {key: plain(item) for key, item in vars(value).items()}
    if isinstance(value, Inert):
        state = value.state if isinstance(value.state, dict) else {}
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
