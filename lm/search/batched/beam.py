"""Hypotheses of many utterances in fixed shapes, and the best of many candidates.

An utterance has a row of K places; a place whose score is minus infinity is empty.
Legend: B utterances, K places for hypotheses, M candidates, Q integer fields.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# The odd 64-bit constants of splitmix64 (Steele et al., 2014) and the golden ratio, as int64.
MIX = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
GOLDEN = -0x61C8864680B583EB

# The integer fields of a candidate, in order; a hypothesis has those from `LAST` on. Merged by its
# last N words it has N fields from `HISTORY` on: hashes of its last N words, N - 1 words, ..., one.
PARENT, WORD, LAST, NODE, STATE, HISTORY = range(6)


class Beam(NamedTuple):
    """Hypotheses. The search writes the next frame's into the same memory."""

    plain: Tensor
    """(B, K) float64 the score without what is looked ahead to; minus infinity for none."""
    said: Tensor
    """(B, K) float64 language model score of the words that have ended, unweighted."""
    fields: Tensor
    """(Q, B, K) int64: symbol of the last frame, doubled, and 1 for a blank; node of the trie;
    state of the language model and the phrases (`lm.search.batched.states`); by history also a hash
    of all words said so far, or hashes of the last ones. That keeps other words apart even where
    the language model cannot tell them apart, as in flashlight."""

    def field(self, name: int) -> Tensor:
        """(B, K) one of the integer fields, from `LAST` on."""
        return self.fields[name - LAST]

    def first(self, count: int) -> Beam:
        """The hypotheses of the first `count` utterances, in the same memory."""
        return Beam(self.plain[:count], self.said[:count], self.fields[:, :count])


def mixed(values: Tensor) -> Tensor:
    """Mix int64 values: one to one, each bit of the result depends on all bits (splitmix64)."""
    # `>>` copies the sign bit of int64; the masks make it a logical shift.
    values = (values ^ ((values >> 30) & 0x3FFFFFFFF)) * MIX[0]
    values = (values ^ ((values >> 27) & 0x1FFFFFFFFF)) * MIX[1]
    return values ^ ((values >> 31) & 0x1FFFFFFFF)


def said_hashes(count: int, device: torch.device) -> Tensor:
    """(count,) int64, a hash of each of so many words."""
    return mixed(torch.arange(count, device=device) + GOLDEN)


def extended(history: Tensor, hashes: Tensor) -> Tensor:
    """Hashes of histories with one more word, of which the hashes are given.

    A polynomial in an odd number, whose coefficients are as good as random: two histories have one
    hash with a probability of 2^-64.
    """
    return history * MIX[0] + hashes


def best_distinct(scores: Tensor, keys: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, M) scores and int64 keys -> the best candidate of each key, the best `most` of them.

    Returns their (B, most) places, best first, their scores, minus infinity where there are fewer,
    and the (B, 1) numbers of all distinct keys. Scores of minus infinity do not count; of equal
    scores the earlier candidate wins.
    """
    scores, by_score = scores.sort(dim=1, descending=True, stable=True)
    keys, by_key = keys.gather(1, by_score).sort(dim=1, stable=True)
    new = torch.ones_like(keys, dtype=torch.bool)
    torch.ne(keys[:, 1:], keys[:, :-1], out=new[:, 1:])
    # (B, M) in the order of scores: whether a candidate is the first, so the best, of its key
    wins = torch.empty_like(new).scatter_(1, by_key, new) & (scores > -torch.inf)
    rank = wins.cumsum(1)  # 1 for the best
    # Each winner goes to its rank; what loses, and what comes too late, to a place that is cut off.
    target = torch.where(wins, (rank - 1).clamp(max=most), most)
    shape = (len(scores), most + 1)
    places = by_score.new_zeros(shape).scatter_(1, target, by_score)[:, :most]
    best = scores.new_full(shape, -torch.inf).scatter_(1, target, scores)[:, :most]
    return places, best, rank[:, -1:]
