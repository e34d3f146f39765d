"""How weights are changed: the optimizer, compiled blocks, memory."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from models.context_network import Block
from models.feature_encoder import ConvBlock
from w2v2cli.training.config import RunConfig

FORMS = 32  # compiled forms of one function: see `compile_blocks`
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def build_optimizer(network: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Return AdamW, fused into few kernels.

    Weights of several dimensions decay: matrices, kernels, codebook entries, and the lengths of the
    positional kernel's slices, whose shape is (1, 1, k). Biases and norms do not; R decays all.
    """
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=config.betas, eps=config.eps, fused=True)


def compile_blocks(network: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
    """Put each Transformer block and each convolution through torch.compile, for training only.

    All blocks share one compiled form, so compiling takes the time of one. In evaluation they run
    as they are: a validation would compile each form once more, for a fraction of the time.

    The length of a batch is free in a form; new ones come with the kind of convolution, with one
    row or several, with padding or none, and with what learns. That may be more than the eight of a
    function after which torch goes on without compiling, so it is allowed FORMS.
    """
    from torch._dynamo import config  # slow to import

    config.cache_size_limit = max(config.cache_size_limit, FORMS)  # its name in every torch
    for module in network.modules():
        if isinstance(module, (Block, ConvBlock)):
            _compile_for_training(module, backend)


def _compile_for_training(module: nn.Module, backend: str | Callable[..., Any]) -> None:
    plain = module.forward
    compiled = torch.compile(plain, dynamic=True, backend=backend)

    def forward(*args: Any) -> Any:
        return (compiled if module.training else plain)(*args)

    module.forward = forward


def peak_memory(device: torch.device) -> float:
    """Return the highest memory in use so far, in bytes: on the GPU, else of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0  # Linux counts KiB


def exact_float32() -> None:
    """Compute float32 on a GPU in float32: TF32, torch's default for convolutions, has 10 bits.

    With `fp32` that is all of a run; with `bf16` and `fp16` it is the losses.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def keep_freed_memory() -> None:
    """Make glibc keep freed memory, for training on a CPU.

    An update frees gigabytes, and fresh pages from the system cost a tenth of its time. Does
    nothing with other C libraries.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for setting in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            libc.mallopt(setting, 2**31 - 1)
