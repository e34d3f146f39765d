"""Hypotheses of many utterances side by side, and the candidates they grow into.

Everything is flat: an utterance has as many rows as it has hypotheses.
Legend: N hypotheses, M candidates, B utterances.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# The odd 64-bit constants of splitmix64 (Steele et al., 2014) and the golden ratio, as int64.
MIX = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
GOLDEN = -0x61C8864680B583EB


class Beam(NamedTuple):
    """N hypotheses. Those of an utterance lie side by side, utterances in order."""

    utterance: Tensor
    """(N,) int64 number of the utterance."""
    row: Tensor
    """(N,) int64 row in the trace of the last frame."""
    score: Tensor
    """(N,) float64, what the search maximises."""
    acoustic: Tensor
    """(N,) float64 sum of log-probabilities."""
    language: Tensor
    """(N,) float64 language model score, unweighted, with the promise of the unfinished word."""
    history: Tensor
    """(N,) int64, equal for hypotheses that may become one. By history it is a hash of all words
    said so far, so that other words stay apart even where the language model cannot tell them
    apart, as in flashlight. By state it is `state`."""
    state: Tensor
    """(N,) int64 state of the language model."""
    node: Tensor
    """(N,) int64 node of the lexicon's trie."""
    token: Tensor
    """(N,) int64 symbol of the last frame."""
    blank: Tensor
    """(N,) bool, whether the last frame was a blank."""

    def take(self, rows: Tensor) -> Beam:
        """The hypotheses in `rows`, by index or by mask."""
        rows = indices(rows)
        return Beam(*(field[rows] for field in self))


class Candidates(NamedTuple):
    """M continuations of hypotheses by one frame. Fields without a comment are those of `Beam`."""

    parent: Tensor
    """(M,) int64 row of the hypothesis in the beam."""
    score: Tensor
    emitted: Tensor
    """(M,) float64 log-probability of the frame's symbol."""
    language: Tensor
    """(M,) float64, what the frame adds to the language model score."""
    token: Tensor
    word: Tensor
    """(M,) int64 word that ends on the frame, -1 for none."""
    node: Tensor
    blank: Tensor
    state: Tensor

    def take(self, rows: Tensor) -> Candidates:
        """The candidates in `rows`, by index or by mask."""
        rows = indices(rows)
        return Candidates(*(field[rows] for field in self))


def indices(rows: Tensor) -> Tensor:
    """The indices that a mask selects. Several tensors are indexed: the device is asked once."""
    return rows.nonzero().squeeze(1) if rows.dtype == torch.bool else rows


def mixed(values: Tensor) -> Tensor:
    """Mix int64 values: one to one, each bit of the result depends on all bits (splitmix64)."""
    # `>>` copies the sign bit of int64; the masks make it a logical shift.
    values = (values ^ ((values >> 30) & 0x3FFFFFFFF)) * MIX[0]
    values = (values ^ ((values >> 27) & 0x1FFFFFFFFF)) * MIX[1]
    return values ^ ((values >> 31) & 0x1FFFFFFFF)


def extended(history: Tensor, word: Tensor) -> Tensor:
    """Hashes of histories with one more word."""
    return mixed(history * 3 + mixed(word + GOLDEN))


def merge_keys(
    utterance: Tensor, history: Tensor, node: Tensor, token: Tensor, blank: Tensor, count: int
) -> Tensor:
    """(M,) int64 keys, equal for hypotheses that the future cannot tell apart.

    The highest bits are the number of the utterance, of `count`: sorted keys keep them in order.
    """
    bits = 63 - max(1, (count - 1).bit_length())
    place = (node << 20) + (token << 1) + blank.long()
    return (utterance << bits) | (mixed(history + mixed(place)) & ((1 << bits) - 1))


def best_of(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """(M,) values in (M,) groups -> (count,) largest of each group, minus infinity if empty."""
    best = torch.full((count,), -torch.inf, dtype=values.dtype, device=values.device)
    return best.scatter_reduce_(0, groups, values, "amax")


def merge(keys: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """(M,) keys and scores -> the best row of each distinct key, by rising key, and its score.

    Of equal scores the first row in the sorted order of keys wins.
    """
    keys, order = torch.sort(keys)
    scores = scores[order]
    new = torch.ones_like(keys, dtype=torch.bool)
    torch.ne(keys[1:], keys[:-1], out=new[1:])
    groups = torch.cumsum(new, 0) - 1  # (M,) number of the distinct key
    starts = new.nonzero().squeeze(1)
    count = len(starts)
    best = best_of(scores, groups, count)
    # The first place that has its group's best score; the others count as beyond the end.
    places = torch.arange(len(keys), device=keys.device)
    places = torch.where(scores == best[groups], places, len(keys))
    first = torch.full((count,), len(keys), dtype=torch.int64, device=keys.device)
    first.scatter_reduce_(0, groups, places, "amin")
    return order[first], best


def top(scores: Tensor, utterance: Tensor, count: int, beam: int) -> Tensor:
    """(M,) scores in (M,) rising utterances -> the rows of the `beam` best of each, best first."""
    held = torch.bincount(utterance, minlength=count)
    width = int(held.max())
    first = torch.cumsum(held, 0) - held
    # (M,) -> (B, widest): a row for each utterance, minus infinity where it has fewer
    table = torch.full((count, width), -torch.inf, dtype=scores.dtype, device=scores.device)
    table[utterance, torch.arange(len(scores), device=scores.device) - first[utterance]] = scores
    values, places = torch.topk(table, min(beam, width), 1)
    return (places + first[:, None])[values > -torch.inf]
