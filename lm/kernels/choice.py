"""Where the kernels run: on CUDA, where Triton is installed. Elsewhere PyTorch's operations do."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from types import ModuleType

import torch

DEVICES = ("cuda",)


@functools.cache
def _installed() -> bool:
    return find_spec("triton") is not None


def for_search(device: torch.device) -> ModuleType | None:
    """The kernels of the search on a device; None where PyTorch's operations are to be taken."""
    if device.type not in DEVICES or not _installed():
        return None
    from lm.kernels import beam

    return beam


def for_ngrams(device: torch.device) -> ModuleType | None:
    """The kernel of n-grams, in the same way."""
    if device.type not in DEVICES or not _installed():
        return None
    from lm.kernels import ngrams

    return ngrams
