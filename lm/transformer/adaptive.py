"""Vectors of words that are narrower for rarer words.

Adaptive input: Baevski and Auli (2018); adaptive softmax: Grave et al. (2017). The vocabulary is
sorted by frequency and cut into bands. Legend: N rows, D width, V words, C bands after the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm.transformer.config import TransformerLMConfig

CHUNK = 1 << 26  # logits of a band that are computed together


class AdaptiveInput(nn.Module):
    """Turns word numbers into vectors; a band has a table and a projection to the common width."""

    def __init__(self, config: TransformerLMConfig) -> None:
        super().__init__()
        cutoffs = config.input_cutoffs
        self.ends = (*(cutoffs or ()), config.vocabulary)
        starts = (0, *self.ends[:-1])
        widths = [
            int(config.input_width // config.input_factor**band) for band in range(len(self.ends))
        ]
        if cutoffs is None:
            widths = [config.width]
        sizes = [end - start for start, end in zip(starts, self.ends, strict=True)]
        self.tables = nn.ModuleList(
            nn.Embedding(size, width, _weight=torch.empty(size, width))
            for size, width in zip(sizes, widths, strict=True)
        )
        projected = [] if cutoffs is None else widths
        self.projections = nn.ParameterList(
            nn.Parameter(torch.empty(config.width, width)) for width in projected
        )
        self.width = config.width

    def forward(self, tokens: Tensor, bands: Sequence[Tensor] | None = None) -> Tensor:
        """(...) int word numbers -> (..., D).

        bands: what `band_rows` finds for the flattened numbers; by default it is found here.
        """
        if len(self.projections) == 0:
            return self.tables[0](tokens)
        flat = tokens.reshape(-1)
        bands = band_rows(flat, self.ends) if bands is None else bands
        vectors = self.projections[0].new_zeros(len(flat), self.width)
        start = 0
        for table, projection, end, rows in zip(
            self.tables, self.projections, self.ends, bands, strict=True
        ):
            part = F.linear(table(flat[rows] - start), projection)
            vectors = vectors.to(part.dtype).index_copy(0, rows, part)
            start = end
        return vectors.view(*tokens.shape, self.width)


class AdaptiveSoftmax(nn.Module):
    """Turns vectors into log-probabilities of words.

    log p(w) = head(w) for a word w of the first band, and head(class c) + tail_c(w) for one of band
    c. Without cutoffs this is an ordinary softmax.
    """

    def __init__(self, config: TransformerLMConfig) -> None:
        super().__init__()
        self.ends = config.bands
        self.words = nn.Parameter(torch.empty(self.ends[0], config.width))
        count = len(self.ends) - 1
        self.classes = nn.Parameter(torch.empty(count, config.width)) if count else None
        widths = [int(config.width // config.factor ** (band + 1)) for band in range(count)]
        self.projections = nn.ParameterList(
            nn.Parameter(torch.empty(config.width, width)) for width in widths
        )
        self.tails = nn.ParameterList(
            nn.Parameter(torch.empty(end - start, width))
            for start, end, width in zip(self.ends[:-1], self.ends[1:], widths, strict=True)
        )

    def tie(self, embedding: AdaptiveInput, projections: bool) -> None:
        """Share the word vectors of the input and, if asked, its projections."""
        tables: list[Tensor] = [table.weight for table in embedding.tables]  # type: ignore[misc]
        self.words = tables[0]  # type: ignore[assignment]
        for band, table in enumerate(tables[1:]):
            self.tails[band] = table
            if projections:
                self.projections[band] = embedding.projections[band + 1]

    def head(self, hidden: Tensor) -> Tensor:
        """(N, D) -> (N, words of the first band + C) logits."""
        logits = F.linear(hidden, self.words)
        return (
            logits
            if self.classes is None
            else torch.cat([logits, F.linear(hidden, self.classes)], 1)
        )

    def loss(
        self, hidden: Tensor, targets: Tensor, bands: Sequence[Tensor] | None = None
    ) -> Tensor:
        """(N, D) and (N,) word numbers -> () float32, the sum of -log p(target).

        bands: see `target_log_probs`.
        """
        return -self.target_log_probs(hidden, targets, bands).sum()

    def target_log_probs(
        self, hidden: Tensor, targets: Tensor, bands: Sequence[Tensor] | None = None
    ) -> Tensor:
        """(N, D) and (N,) word numbers -> (N,) float32 log p(target).

        bands: what `band_rows` finds for the targets; by default it is found here.
        """
        first = self.ends[0]
        bands = band_rows(targets, self.ends) if bands is None else bands
        head_targets = targets
        tails = hidden.new_zeros(len(hidden), dtype=torch.float32)
        for band, (start, rows) in enumerate(zip(self.ends[:-1], bands[1:], strict=True)):
            head_targets = head_targets.index_fill(0, rows, first + band)
            # Also without such a word, so that each weight has a gradient (of 0) in every step.
            logits = F.linear(hidden[rows] @ self.projections[band], self.tails[band]).float()
            tails = tails.index_add(
                0, rows, F.cross_entropy(logits, targets[rows] - start, reduction="none")
            )
        return -F.cross_entropy(self.head(hidden).float(), head_targets, reduction="none") - tails

    def log_probs(self, hidden: Tensor) -> Tensor:
        """(N, D) -> (N, V) float32 log-probabilities of every word."""
        head = self.head(hidden).float().log_softmax(1)
        first = self.ends[0]
        parts = [head[:, :first]]
        for band in range(len(self.tails)):
            tail = (
                F.linear(hidden @ self.projections[band], self.tails[band]).float().log_softmax(1)
            )
            parts.append(tail + head[:, first + band, None])
        return torch.cat(parts, 1)

    def normalizer(self, hidden: Tensor, band: int) -> Tensor:
        """(N, D) -> (N,) float32, log of the sum of exp(logit) over a band; band 0 is the head."""
        rows = max(1, CHUNK // (self.ends[0] if band == 0 else len(self.tails[band - 1])))
        return torch.cat(
            [self._logits(part, band).float().logsumexp(1) for part in hidden.split(rows)]
        )

    def _logits(self, hidden: Tensor, band: int) -> Tensor:
        if band == 0:
            return self.head(hidden)
        return F.linear(hidden @ self.projections[band - 1], self.tails[band - 1])

    def pair_logits(self, hidden: Tensor, owners: Tensor, tokens: Tensor, band: int) -> Tensor:
        """(P,) float32 logits, within one band, of P words after given rows.

        hidden: (N, D). owners: (P,) row of `hidden` for each word. tokens: (P,) word numbers, all
        of the band.
        """
        queries = hidden if band == 0 else hidden @ self.projections[band - 1]
        table = self.words if band == 0 else self.tails[band - 1]
        rows = tokens - (0 if band == 0 else self.ends[band - 1])
        size = max(1, CHUNK // (2 * queries.shape[1]))
        parts = [
            (queries[owner].float() * table[row].float()).sum(1)
            for owner, row in zip(owners.split(size), rows.split(size), strict=True)
        ]
        return torch.cat(parts)

    def class_logits(self, hidden: Tensor, band: int) -> Tensor:
        """(N, D) -> (N,) float32 logits, in the head, of the class of a band (from 1 up)."""
        assert self.classes is not None, "a softmax of one band has no classes"
        return hidden.float() @ self.classes[band - 1].float()


def band_rows(tokens: Tensor, ends: Sequence[int]) -> tuple[Tensor, ...]:
    """(N,) word numbers -> for each band the int64 places of its words, in order.

    ends: the word after the last one of each band. Their number has to be known, so the host waits
    for a device that has the numbers; on the CPU it does not.
    """
    return tuple(
        ((tokens >= start) & (tokens < end)).nonzero().squeeze(1)
        for start, end in zip((0, *ends[:-1]), ends, strict=True)
    )


def initialize(embedding: AdaptiveInput, softmax: AdaptiveSoftmax) -> None:
    """Draw random weights, as fairseq does.

    tables, tails, words     normal, standard deviation 1/√width of the vector
    projections, classes     Xavier uniform
    """
    for table in _vectors(embedding, softmax):
        nn.init.normal_(table, std=1 / math.sqrt(table.shape[1]))
    for matrix in (
        *embedding.projections,
        *softmax.projections,
        *([] if softmax.classes is None else [softmax.classes]),
    ):
        nn.init.xavier_uniform_(matrix)


def _vectors(embedding: AdaptiveInput, softmax: AdaptiveSoftmax) -> Iterator[Tensor]:
    tables: Sequence[nn.Module] = list(embedding.tables)
    for table in tables:
        yield table.weight  # type: ignore[misc]
    yield softmax.words
    yield from softmax.tails
