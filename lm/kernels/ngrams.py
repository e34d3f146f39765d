"""N-grams with backoff, looked up by one kernel: `lm.ngram.arrays` says what it must answer.

A thread has one pair of a state and a word. It walks from the longest context to the empty one and
probes the hash table of `lm.ngram.layout` in each, until it finds the arc. Legend: P pairs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128  # pairs of a program


def look_up(
    states: Tensor,
    words: Tensor,
    arcs: Tensor,
    shorter: Tensor,
    backoff: Tensor,
    order: int,
    probes: int,
) -> tuple[Tensor, Tensor]:
    """(P,) int64 states and words of the model -> (P,) float64 log10 p, and int64 states after.

    arcs: (K, 4) int32. shorter, backoff: (S,), as in `AutomatonArrays`. order: words of the
    longest n-gram. probes: slots that an arc may be in.
    """
    states, words = states.contiguous(), words.contiguous()
    scores = torch.empty(states.shape, dtype=torch.float64, device=states.device)
    after, count = torch.empty_like(states), states.numel()
    _look_up[(triton.cdiv(count, BLOCK),)](
        states,
        words,
        arcs.view(torch.int64),
        shorter,
        backoff,
        scores,
        after,
        count,
        len(arcs) - 1,
        len(backoff) - 1,
        probes,
        order,
        BLOCK,
    )
    return scores, after


@triton.jit
def _shifted(key, bits: tl.constexpr):
    """The key shifted right as a number without sign."""
    return (key >> bits) & ((1 << (64 - bits)) - 1)


@triton.jit
def _look_up(
    states,
    words,
    arcs,
    shorter,
    backoff,
    scores,
    after,
    count,
    last_slot,
    last_state,
    probes,
    ORDER: tl.constexpr,
    BLOCK: tl.constexpr,
):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = place < count
    first = tl.load(states + place, mask=live, other=0)
    word = tl.load(words + place, mask=live, other=0)
    state = first
    slot = tl.full((BLOCK,), -1, tl.int64)
    level = tl.zeros((BLOCK,), tl.int32)  # contexts that were left before the arc was found
    for _ in range(ORDER):
        # `lm.ngram.layout.hashed`
        key = (state << 32) | word
        key = (key ^ _shifted(key, 32)) * -0x61C8864680B583EB
        key = (key ^ _shifted(key, 29)) * -0x40A7B892E31B1A47
        at = (key ^ _shifted(key, 32)) & last_slot
        wanted = (word << 32) | state
        looking = live & (slot < 0)
        probe = 0
        while (probe < probes) & (tl.max(looking.to(tl.int32), 0) > 0):
            there = tl.load(arcs + at * 2, mask=looking, other=-1)
            slot = tl.where(looking & (there == wanted), at, slot)
            # The arc lies before the first empty slot, whose state is -1.
            looking = looking & (there != wanted) & ((there & 0xFFFFFFFF) != 0xFFFFFFFF)
            at = (at + 1) & last_slot
            probe += 1
        level = tl.where(slot < 0, level + 1, level)
        shorter_one = tl.load(shorter + state, mask=live, other=0).to(tl.int64)
        state = tl.minimum(tl.maximum(shorter_one, 0), last_state)
    # Only in a damaged file there is no arc at all: then as PyTorch's operations do.
    level = tl.where(slot < 0, 0, level)
    slot = tl.where(slot < 0, last_slot, slot)
    pair = tl.load(arcs + slot * 2 + 1, mask=live, other=0)
    score = (pair >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    # Summed from the shortest context up, as the compiled search does.
    for step in range(ORDER - 1):
        before = ORDER - 2 - step
        state = first
        for passed in range(ORDER - 2):
            shorter_one = tl.load(shorter + state, mask=live, other=0).to(tl.int64)
            shorter_one = tl.minimum(tl.maximum(shorter_one, 0), last_state)
            state = tl.where(passed < before, shorter_one, state)
        weight = tl.load(backoff + state, mask=live, other=0.0)
        score = tl.where(level > before, score + weight, score)
    tl.store(scores + place, score.to(tl.float64), mask=live)
    target = (pair << 32) >> 32
    tl.store(after + place, tl.minimum(tl.maximum(target, 0), last_state), mask=live)
