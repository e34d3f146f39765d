"""How the ranks of a run share a network: whole on each of them, or a part on each.

`Replicas` is DistributedDataParallel, `Shards` is FSDP2. Both take the mean of the gradients over
the ranks, and both give and take states of the whole network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import RunConfig
from w2v2cli.training.updates.replicas import Replicas

if TYPE_CHECKING:
    from w2v2cli.training.updates.shards import Shards


def sharing(network: nn.Module, config: RunConfig, collectives: Collectives) -> Replicas | Shards:
    """Return how the ranks of a run share its network.

    Raises UsageError where torch cannot do it as configured.
    """
    if config.parallel == "fsdp" and collectives.world > 1:
        from w2v2cli.training.updates.shards import Shards  # slow to import

        return Shards(network, config, collectives)
    return Replicas(network, config, collectives)
