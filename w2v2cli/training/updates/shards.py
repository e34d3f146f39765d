"""A network of which each rank keeps a part: FSDP2, torch's `fully_shard`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from lm.transformer.network import Block as WordBlock
from models.context_network import Block
from w2v2cli.errors import UsageError
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import RunConfig
from w2v2cli.training.updates.replicas import choose


class Shards:
    """A network of which each rank keeps a part, with the gradients and the moments of that part.

    Each block is gathered when it runs and again in its backward pass, and its gradients go to the
    ranks that keep them after every micro-batch. Methods are those of `Replicas`.
    """

    def __init__(self, network: nn.Module, config: RunConfig, collectives: Collectives) -> None:
        device = collectives.device
        if device.type == "cpu" and not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
            raise UsageError(
                f"parallel=fsdp needs a newer torch than {torch.__version__} on a CPU, where that "
                "one does not average gradients: leave it out."
            )
        self.network, self._config, self._collectives = network, config, collectives
        self._mesh = init_device_mesh(device.type, (collectives.world,))
        self._learning: set[str] = set()
        # The network without memory, from which whole copies are made.
        hollow = {id(p): _empty(p) for p in network.parameters()}
        self._outline: nn.Module = copy.deepcopy(network, hollow)

    def begin(self, optimizer: Callable[[], Optimizer]) -> Optimizer:
        """See `Replicas`; divides the network first."""
        exchanged = torch.bfloat16 if self._config.gradient_exchange == "bf16" else None
        policy = MixedPrecisionPolicy(reduce_dtype=exchanged)
        names = {id(parameter): name for name, parameter in self.network.named_parameters()}
        blocks = [m for m in self.network.modules() if isinstance(m, (Block, WordBlock))]
        for module in (*blocks, self.network):
            owned = [
                (owner, name, names[id(parameter)])
                for owner in module.modules()
                for name, parameter in owner.named_parameters(recurse=False)
                if id(parameter) in names
            ]
            fully_shard(module, mesh=self._mesh, mp_policy=policy)
            if isinstance(module, FSDPModule) and self._collectives.device.type == "cpu":
                module.set_force_sum_reduction_for_comms(True)
            module.register_forward_pre_hook(self._following(owned))
        return optimizer()

    def _following(self, owned: list[tuple[nn.Module, str, str]]) -> Callable[..., None]:
        """Return what lets parameters that have just been gathered learn or not."""

        def choose_gathered(module: nn.Module, inputs: object) -> None:
            for owner, name, full in owned:
                getattr(owner, name).requires_grad_(full in self._learning)

        return choose_gathered

    def learn(self, learning: set[str], leaves_out: bool) -> None:
        """See `Replicas`; a parameter without a gradient is none on all ranks, and left out."""
        self._learning = learning
        choose(self.network.named_parameters(), learning)
        choose(self._outline.named_parameters(), learning)

    @property
    def running(self) -> nn.Module:
        """See `Replicas`."""
        return self.network

    def exchanging(self, last: bool) -> AbstractContextManager[None]:
        """See `Replicas`; here ranks exchange after every micro-batch."""
        return nullcontext()

    def whole(self) -> nn.Module:
        """Return a whole copy of the network; every rank calls it."""
        parts = dict(self.network.named_parameters())
        made = {
            id(outline): nn.Parameter(gathered(parts[name]), outline.requires_grad)
            for name, outline in self._outline.named_parameters()
        }
        return copy.deepcopy(self._outline, made)

    def whole_norm(self, norm: Tensor) -> Tensor:
        """See `Replicas`."""
        return gathered(norm)

    def state(self, optimizer: Optimizer) -> dict[str, Any]:
        """See `Replicas`; it gathers the parts, on the host of the first rank."""
        parts = {
            "network": self.network.state_dict(keep_vars=True),
            "optimizer": optimizer.state_dict(),
        }
        whole: dict[str, Any] = _whole(parts, {}, self._collectives.first)
        return whole

    def load_moments(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        """See `Replicas`; every rank takes its part."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        moments = {
            number: {name: _part_as(value, parameters[number]) for name, value in values.items()}
            for number, values in state["state"].items()
        }
        optimizer.load_state_dict({**state, "state": moments})


def gathered(tensor: Tensor) -> Tensor:
    """Return a tensor whole; one of which each rank has a part is gathered, and all ranks call."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _empty(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)


def _whole(value: Any, made: dict[int, Tensor], keep: bool) -> Any:
    """Return nested dicts and lists with their tensors whole, on the host.

    made: those that are made, by the identity of their parts: tied weights are one tensor. keep:
    whether this rank needs them.
    """
    if isinstance(value, Mapping):
        return {name: _whole(inner, made, keep) for name, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner, made, keep) for inner in value]
    if not isinstance(value, Tensor):
        return value
    if id(value) not in made:
        whole = gathered(value)
        made[id(value)] = whole.cpu() if keep else torch.empty(0)
    return made[id(value)]


def _part_as(value: Any, parameter: Tensor) -> Any:
    """Return this rank's part of a moment of a parameter; what is no moment stays as it is."""
    if not isinstance(parameter, DTensor) or getattr(value, "shape", None) != parameter.shape:
        return value
    mesh: DeviceMesh = parameter.device_mesh
    return distribute_tensor(value.to(parameter.device), mesh, parameter.placements)
