"""The hypotheses of many utterances side by side, and what they grow into: merged, pruned, the best of each kept.

Everything is flat: an utterance has as many rows as it has hypotheses. Legend: N hypotheses, M candidates, B utterances.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Odd 64-bit constants of splitmix64 (Steele et al., 2014) and the golden ratio, as signed numbers.
MIX = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
GOLDEN = -0x61C8864680B583EB


class Beam(NamedTuple):
    """N hypotheses, those of an utterance side by side, utterances in order."""

    utterance: Tensor
    """(N,) int64."""
    row: Tensor
    """(N,) int64 place among those that the last frame left, which the next frame's backtrace points to."""
    score: Tensor
    """(N,) float64, as is `acoustic` and `language`: what the search maximises, and the parts of it."""
    acoustic: Tensor
    language: Tensor
    """Unweighted, with what the lexicon promises of the word that is being said."""
    history: Tensor
    """(N,) int64 hash of the words said: flashlight's language models tell histories apart by all of their words."""
    state: Tensor
    """(N,) int64 of the language model."""
    node: Tensor
    """(N,) int64 of the lexicon."""
    token: Tensor
    """(N,) int64 symbol of the last frame."""
    blank: Tensor
    """(N,) bool: the last frame was a blank."""

    def take(self, rows: Tensor) -> Beam:
        """Some of them."""
        return Beam(*(field[rows] for field in self))


class Candidates(NamedTuple):
    """M ways to go on for a frame. Fields as those of `Beam`, but `language` is what is added."""

    parent: Tensor
    score: Tensor
    emitted: Tensor
    """(M,) float64 log-probability of the symbol."""
    language: Tensor
    token: Tensor
    word: Tensor
    """(M,) int64 word that ends here, -1 where none does."""
    node: Tensor
    blank: Tensor
    state: Tensor

    def take(self, rows: Tensor) -> Candidates:
        """Some of them."""
        return Candidates(*(field[rows] for field in self))


def mixed(values: Tensor) -> Tensor:
    """int64 -> int64, one to one, every bit of the result depends on all bits."""
    values = (values ^ ((values >> 30) & 0x3FFFFFFFF)) * MIX[0]
    values = (values ^ ((values >> 27) & 0x1FFFFFFFFF)) * MIX[1]
    return values ^ ((values >> 31) & 0x1FFFFFFFF)


def extended(history: Tensor, word: Tensor) -> Tensor:
    """Hashes of histories with a word after them."""
    return mixed(history * 3 + mixed(word + GOLDEN))


def merge_keys(
    utterance: Tensor, history: Tensor, node: Tensor, token: Tensor, blank: Tensor, count: int
) -> Tensor:
    """Equal for hypotheses that only differ in how they came about; of rising utterance when sorted."""
    bits = 63 - max(1, (count - 1).bit_length())
    place = (node << 20) + (token << 1) + blank.long()
    return (utterance << bits) | (mixed(history + mixed(place)) & ((1 << bits) - 1))


def best_of(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """(M,) values of (M,) groups -> (count,) the largest of each, minus infinity where there is none."""
    best = torch.full((count,), -torch.inf, dtype=values.dtype, device=values.device)
    return best.scatter_reduce_(0, groups, values, "amax")


def merge(keys: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """(M,) keys and scores -> the best row of each distinct key, by rising key, and its score."""
    keys, order = torch.sort(keys)
    scores = scores[order]
    new = torch.ones_like(keys, dtype=torch.bool)
    torch.ne(keys[1:], keys[:-1], out=new[1:])
    groups = torch.cumsum(new, 0) - 1
    starts = new.nonzero().squeeze(1)
    count = len(starts)
    best = best_of(scores, groups, count)
    places = torch.arange(len(keys), device=keys.device)
    places = torch.where(scores == best[groups], places, len(keys))
    first = torch.full((count,), len(keys), dtype=torch.int64, device=keys.device)
    first.scatter_reduce_(0, groups, places, "amin")
    return order[first], best


def top(scores: Tensor, utterance: Tensor, count: int, beam: int) -> Tensor:
    """(M,) scores of (M,) rising utterances -> the rows of the `beam` best of each, best first, utterances in order."""
    held = torch.bincount(utterance, minlength=count)
    width = int(held.max())
    first = torch.cumsum(held, 0) - held
    table = torch.full((count, width), -torch.inf, dtype=scores.dtype, device=scores.device)
    table[utterance, torch.arange(len(scores), device=scores.device) - first[utterance]] = scores
    values, places = torch.topk(table, min(beam, width), 1)
    return (places + first[:, None])[values > -torch.inf]
