"""The word Transformer of the decoding stack as a task of the loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lm.transformer.checkpoint import TransformerCheckpoint, network_weights, save_transformer
from lm.transformer.config import PRESETS
from lm.transformer.dictionary import PAD, Dictionary
from lm.transformer.network import TransformerNetwork, lm_objective
from lm.transformer.token_shards import Blocks, TokenShards, token_batches
from w2v2cli.errors import UserError
from w2v2cli.training.checkpoints import Position
from w2v2cli.training.collectives import Ranks
from w2v2cli.training.config import LmConfig
from w2v2cli.training.optimization import DTYPES
from w2v2cli.training.tasks.protocol import Draws, Prepared, Step


@dataclass(frozen=True)
class TextBatch:
    """Rows of a text: the word before a block and the block, padded."""

    tokens: Tensor
    """(B, T + 1) int64."""
    name: str
    unreadable: tuple[str, ...] = ()

    @property
    def amount(self) -> float:
        """Words to be predicted in it."""
        return float((self.tokens[:, 1:] != PAD).sum())

    def suspects(self) -> tuple[str, ...]:
        """Where it is in the text."""
        return (self.name,)


@dataclass(frozen=True)
class TextStream:
    """One rank's part of an endless stream of epochs over the blocks of a text."""

    shards: TokenShards
    blocks: Blocks
    rows: int
    """Blocks in one micro-batch."""
    seed: int
    rank: int = 0
    world: int = 1
    accumulate: int = 1

    @property
    def per_update(self) -> int:
        """See `Stream`."""
        return self.world * self.accumulate

    def steps(self, position: Position) -> Iterator[Step]:
        """See `Stream`. Of an epoch, what does not fill an update is left out; another epoch leaves out others."""
        updates = len(self.blocks) // (self.rows * self.per_update)
        if not updates:
            raise UserError(
                f"The text makes {len(self.blocks)} blocks, an update takes {self.rows * self.per_update}: lower --batch-words."
            )
        while True:
            done = position.batch // self.per_update
            batches = token_batches(
                self.shards, self.blocks, self.rows, seed=self.seed, epoch=position.epoch, rank=self.rank, world=self.world,
                skip=done * self.accumulate,
            )  # fmt: skip
            for update in range(done, updates):
                read = tuple(
                    TextBatch(
                        torch.from_numpy(next(batches)),
                        f"batch {update * self.accumulate + i} of epoch {position.epoch}",
                    )
                    for i in range(self.accumulate)
                )
                position = replace(position, batch=(update + 1) * self.per_update)
                yield Step(read, position)
            position = replace(position, epoch=position.epoch + 1, batch=0)


class Predicting(nn.Module):
    """The network with its loss inside, as ranks that exchange gradients need it."""

    def __init__(self, network: TransformerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T + 1) -> the summed -log p of the last T words of each row, in nats."""
        return lm_objective(self.network, tokens)[0]


def build(run: LmConfig, vocabulary: int) -> Predicting:
    """The network a run begins with, drawn from its seed. UserError for a preset that does not exist."""
    if run.model not in PRESETS:
        raise UserError(f"model={run.model}: there are {', '.join(PRESETS)}.")
    torch.manual_seed(run.seed)
    config = replace(
        PRESETS[run.model](vocabulary), dropout=run.dropout, attention_dropout=run.dropout
    )
    return Predicting(TransformerNetwork(config).initialize())


@dataclass
class LanguageModelling:
    """Telling the next word."""

    run: LmConfig
    dictionary: Dictionary
    shards: TokenShards
    held_out: Blocks
    """Of `held_out_shards`."""
    held_out_shards: TokenShards
    rows: int
    metadata: dict[str, Any] = field(default_factory=dict)
    judged_by: str = "valid_perplexity"
    blocks: tuple[int, float] = (0, 0.0)

    def prepare(self, batch: TextBatch, draws: Draws, device: torch.device) -> Prepared:
        """See `Task`."""
        del draws
        return Prepared(
            replace(batch, tokens=batch.tokens.to(device, non_blocking=True)),
            int(batch.amount),
            None,
        )

    def loss(
        self, network: nn.Module, prepared: Prepared, draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task`."""
        del draws
        return network(prepared.batch.tokens), {}

    def summary(self, sums: Mapping[str, float], count: float, update: int) -> dict[str, float]:
        """See `Task`: nats a word, and the perplexity."""
        mean = sums["loss"] / count
        return {"loss": mean, "perplexity": math.exp(min(mean, 50.0))}

    def told(self, amount: float, per_second: float) -> dict[str, float]:
        """See `Task`."""
        return {"words": amount, "words_per_second": per_second}

    def learning(self, network: nn.Module, update: int) -> set[str]:
        """See `Task`: everything."""
        return {name for name, _ in network.named_parameters()}

    @torch.no_grad()
    def validate(self, network: nn.Module, ranks: Ranks) -> dict[str, float]:
        """See `Task`: perplexity of a held-out text, ends of sentences and unknown words counted."""
        batches = token_batches(
            self.held_out_shards,
            self.held_out,
            self.rows,
            seed=0,
            epoch=0,
            rank=ranks.rank,
            world=ranks.world,
        )
        dtype = DTYPES[self.run.precision]
        total, words = 0.0, 0.0
        for tokens in batches:
            batch = TextBatch(torch.from_numpy(tokens), "")
            with torch.autocast(ranks.device.type, dtype, enabled=dtype != torch.float32):
                total += float(network(batch.tokens.to(ranks.device)))
            words += batch.amount
        total, words = ranks.total(torch.tensor([total, words])).tolist()
        return {"valid_perplexity": math.exp(total / max(words, 1.0))}

    def save_best(self, network: nn.Module, path: Path) -> None:
        """See `Task`."""
        assert isinstance(network, Predicting)
        weights = {name: tensor.cpu() for name, tensor in network_weights(network.network).items()}
        save_transformer(
            path,
            TransformerCheckpoint(network.network.config, self.dictionary, weights, self.metadata),
        )

    def watch(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        """See `Task`."""
        return None
