"""The word Transformer of the decoding stack as a task of the loop."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lm.transformer.checkpoint import TransformerCheckpoint, network_weights, save_transformer
from lm.transformer.config import PRESETS, TransformerLMConfig
from lm.transformer.dictionary import PAD, Dictionary
from lm.transformer.network import Places, TransformerNetwork, lm_objective
from lm.transformer.token_shards import Blocks, TokenShards, token_batches
from models.masking import sent
from w2v2cli.errors import UserError
from w2v2cli.recognition.devices import dtype_named
from w2v2cli.training.checkpoints import Position
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import LmConfig
from w2v2cli.training.pace import Phase
from w2v2cli.training.tasks.protocol import Draws, Prepared, Step


@dataclass(frozen=True)
class TextBatch:
    """Rows of a text: the word before a block, then the block, padded."""

    tokens: Tensor
    """(B, T + 1) int64."""
    name: str
    unreadable: tuple[str, ...] = ()

    @property
    def amount(self) -> float:
        """Number of words to predict."""
        return float((self.tokens[:, 1:] != PAD).sum())

    @property
    def described(self) -> str:
        """Its rows and words."""
        return f"{self.tokens.shape[0]} rows of {self.tokens.shape[1] - 1} words"

    def suspects(self) -> tuple[str, ...]:
        """Return the place of the batch in the text."""
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

    @property
    def micro_batch(self) -> int:
        """See `Stream`."""
        return self.rows

    @property
    def recordings(self) -> int:
        """See `Stream`."""
        return len(self.blocks)

    def steps(self, position: Position) -> Generator[Step[TextBatch], None, None]:
        """Yield endless steps from a position on (see `Stream`).

        Blocks of an epoch that do not fill an update are left out; each epoch leaves out others.
        Raises UserError for a text too short for one update.
        """
        updates = len(self.blocks) // (self.rows * self.per_update)
        if not updates:
            raise UserError(
                f"The text makes {len(self.blocks)} blocks, but an update takes "
                f"{self.rows * self.per_update}: lower --batch-words."
            )
        while True:
            done = position.batch // self.per_update
            batches = token_batches(
                self.shards,
                self.blocks,
                self.rows,
                seed=self.seed,
                epoch=position.epoch,
                rank=self.rank,
                world=self.world,
                skip=done * self.accumulate,
            )
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
    """The network with its loss inside: DDP needs the loss to be what `forward` returns."""

    def __init__(self, network: TransformerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """Return the summed -log p, in nats, of the last T words of (B, T + 1) tokens."""
        return lm_objective(self.network, tokens, places)[0]


def build(run: LmConfig, vocabulary: int) -> Predicting:
    """Return the network a run begins with, its weights drawn from the run's seed.

    vocabulary: size of its dictionary. Raises UserError for a preset that does not exist.
    """
    if run.model not in PRESETS:
        raise UserError(f"There is no preset model={run.model}; there are {', '.join(PRESETS)}.")
    torch.manual_seed(run.seed)
    return Predicting(TransformerNetwork(_architecture(run, vocabulary)).initialize())


def _architecture(run: LmConfig, vocabulary: int) -> TransformerLMConfig:
    preset = PRESETS[run.model](vocabulary)
    return replace(preset, dropout=run.dropout, attention_dropout=run.dropout)


@dataclass
class LanguageModelling:
    """The task of predicting the next word. Implements `Task[TextBatch, Places]`."""

    run: LmConfig
    dictionary: Dictionary
    shards: TokenShards
    held_out: Blocks
    """Blocks of `held_out_shards` to validate on."""
    held_out_shards: TokenShards
    rows: int
    """Blocks in one micro-batch."""
    metadata: dict[str, Any] = field(default_factory=dict)
    judged_by: str = "valid_perplexity"
    blocks: tuple[int, float] = (0, 0.0)
    phases: tuple[Phase, ...] = (Phase(0, 3.0),)  # forward, and twice that backward

    def __post_init__(self) -> None:
        self.architecture = _architecture(self.run, len(self.dictionary))

    @property
    def validation_work(self) -> float:
        """See `Task`."""
        return float(self.held_out_shards.tokens)

    def prepare(
        self, batch: TextBatch, draws: Draws | None, device: torch.device
    ) -> Prepared[TextBatch, Places]:
        """Find where the words of each band are, and move the batch to the device (see `Task`)."""
        places = Places.found(batch.tokens, self.architecture)
        return Prepared(
            replace(batch, tokens=sent(batch.tokens, device)),
            int(batch.amount),
            places.moved(lambda rows: sent(rows, device)),
        )

    def loss(
        self, network: nn.Module, prepared: Prepared[TextBatch, Places], draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task`."""
        return network(prepared.batch.tokens, prepared.drawn), {}

    def summary(self, sums: Mapping[str, float], count: float, update: int) -> dict[str, float]:
        """Return nats per word, and the perplexity (see `Task`)."""
        mean = sums["loss"] / count
        return {"loss": mean, "perplexity": math.exp(min(mean, 50.0))}

    def throughput(self, amount: float, per_second: float) -> dict[str, float]:
        """See `Task`."""
        return {"words": amount, "words_per_second": per_second}

    def learning(self, network: nn.Module, update: int) -> set[str]:
        """Return all names (see `Task`)."""
        return {name for name, _ in network.named_parameters()}

    def leaves_out(self, learning: set[str]) -> bool:
        """Return false: a band without a word in a batch gets gradients of 0 (see `Task`)."""
        return False

    @torch.no_grad()
    def validate(self, network: nn.Module, collectives: Collectives) -> dict[str, float]:
        """Return the perplexity of the held-out text (see `Task`).

        Ends of sentences and unknown words count as words.
        """
        batches = token_batches(
            self.held_out_shards,
            self.held_out,
            self.rows,
            seed=0,
            epoch=0,
            rank=collectives.rank,
            world=collectives.world,
        )
        dtype = dtype_named(self.run.precision)
        total, words = 0.0, 0.0
        for tokens in batches:
            batch = TextBatch(torch.from_numpy(tokens), "")
            prepared = self.prepare(batch, None, collectives.device)
            with torch.autocast(collectives.device.type, dtype, enabled=dtype != torch.float32):
                total += float(network(prepared.batch.tokens, prepared.drawn))
            words += batch.amount
        total, words = collectives.total(torch.tensor([total, words])).tolist()
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
