"""A network that is whole on every rank: DistributedDataParallel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import RunConfig


class Replicas:
    """A network that is whole on every rank; DDP exchanges its gradients."""

    def __init__(self, network: nn.Module, config: RunConfig, collectives: Collectives) -> None:
        self.network, self._config, self._collectives = network, config, collectives
        self._running = network  # or DDP around it

    def begin(self, optimizer: Callable[[], Optimizer]) -> Optimizer:
        """Return an optimizer of the network, which has the weights that the run goes on from."""
        return optimizer()

    def learn(self, learning: set[str], leaves_out: bool) -> None:
        """Let the parameters of these names learn from now on; DDP has to be built anew.

        leaves_out: whether an update may give some of them no gradient.
        """
        choose(self.network.named_parameters(), learning)
        if self._collectives.world == 1:
            return
        # The network lies on its device already. With `device_ids` DDP would move all it is called
        # with there, the lengths too, which then are read back.
        self._running = DistributedDataParallel(
            self.network, find_unused_parameters=leaves_out, gradient_as_bucket_view=True
        )
        if self._config.gradient_exchange == "bf16":
            self._running.register_comm_hook(None, bf16_compress_hook)

    @property
    def running(self) -> nn.Module:
        """What an update calls."""
        return self._running

    def exchanging(self, last: bool) -> AbstractContextManager[None]:
        """Let ranks exchange gradients only in the last micro-batch's backward pass."""
        if last or not isinstance(self._running, DistributedDataParallel):
            return nullcontext()
        return self._running.no_sync()

    def whole(self) -> nn.Module:
        """Return the network, to be validated and saved."""
        return self.network

    def whole_norm(self, norm: Tensor) -> Tensor:
        """Return the norm of all gradients, of what `clip_grad_norm_` returned."""
        return norm

    def state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return weights and moments for a state. Every rank calls it; the first needs the result.

        They are the tensors that learn, and change with them.
        """
        return {"network": self.network.state_dict(), "optimizer": optimizer.state_dict()}

    def load_moments(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        """Give an optimizer the moments of a state, which every rank has."""
        optimizer.load_state_dict(state)


def choose(parameters: Iterable[tuple[str, nn.Parameter]], learning: set[str]) -> None:
    """Let the parameters of these names learn, and no others."""
    for name, parameter in parameters:
        parameter.requires_grad_(name in learning)
        if name not in learning:
            parameter.grad = None
