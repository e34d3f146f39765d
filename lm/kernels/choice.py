"""Where the kernels run: on CUDA, where `W2V2_KERNELS=1` stands in the environment.

Triton must be installed with the C compiler that it calls. Elsewhere PyTorch's operations do the
same. No GPU has run the kernels yet, so nobody gets them who did not ask.
"""

from __future__ import annotations

import functools
import os
import shutil
from importlib.util import find_spec
from types import ModuleType

import torch

DEVICES = ("cuda",)


@functools.cache
def _installed() -> bool:
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return find_spec("triton") is not None and compiler is not None


def _usable(device: torch.device) -> bool:
    wanted = os.environ.get("W2V2_KERNELS") == "1"
    return device.type in DEVICES and wanted and _installed()


def for_search(device: torch.device) -> ModuleType | None:
    """The kernels of the search on a device; None where PyTorch's operations are to be taken."""
    if not _usable(device):
        return None
    from lm.kernels import beam

    return beam


def for_ngrams(device: torch.device) -> ModuleType | None:
    """The kernel of n-grams, in the same way."""
    if not _usable(device):
        return None
    from lm.kernels import ngrams

    return ngrams
