"""How weights are moved: the optimizer, the precisions, compiled blocks."""

from __future__ import annotations

import ctypes
import resource

import torch
from torch import nn

from models.context_network import Block
from models.feature_encoder import ConvBlock
from w2v2cli.training.config import RunConfig

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def build_optimizer(network: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """AdamW, fused into few kernels; the decay is for matrices only."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=config.betas, eps=config.eps, fused=True)


def compile_blocks(network: nn.Module, backend: str = "inductor") -> None:
    """torch.compile for each Transformer block and each convolution: all blocks share one compiled form."""
    for module in network.modules():
        if isinstance(module, (Block, ConvBlock)):
            module.compile(dynamic=True, backend=backend)


def peak_memory(device: torch.device) -> float:
    """Bytes at most in use so far, on the GPU, or of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0  # Linux counts KiB


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed: an update frees gigabytes, and fresh pages from the system cost a tenth of its time.

    For training on a CPU. Other C libraries do as they do.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for setting in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            libc.mallopt(setting, 2**31 - 1)
