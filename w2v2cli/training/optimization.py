"""How weights are moved: the optimizer, the precisions, compiled blocks."""

from __future__ import annotations

import torch
from torch import nn

from models.context_network import Block
from models.feature_encoder import ConvBlock
from w2v2cli.training.config import RunConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def build_optimizer(network: nn.Module, config: RunConfig, device: torch.device) -> torch.optim.Optimizer:
    """AdamW; the decay is for matrices only. Fused into few kernels on a GPU."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=config.betas, eps=config.eps, fused=device.type == "cuda")


def compile_blocks(network: nn.Module) -> None:
    """torch.compile for each Transformer block and each convolution: all blocks share one compiled form."""
    for module in network.modules():
        if isinstance(module, (Block, ConvBlock)):
            module.compile(dynamic=True)
