"""Steps of a frame of the batched search as kernels; `lm.search.batched.frame` says what each is.

Legend: B utterances, K places for hypotheses, W columns of the trie, V symbols, M candidates, C
candidates inside words, Q integer fields.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256  # candidates that a program takes at once
FULL = 1024  # the same, where a program takes all of an utterance
UNUSED = 0x7FFFFFFF  # of a slot


def grown(
    frame: Tensor,
    plain: Tensor,
    last: Tensor,
    node: Tensor,
    language: Tensor,
    promise: Tensor,
    bonus: Tensor | None,
    column: Tensor,
    silence: int,
) -> Tensor:
    """(B, K · W) float64 scores of what each column of the trie's tables leads to.

    frame: (B, ...) float64 log-probabilities of the symbols, then of the columns. plain: (B, K).
    last, node: (B, K) fields of the beam. language: (B, 1) weights. promise, bonus: (N, W) tables
    of the trie. column: (V,) of each symbol.
    """
    rows, width = plain.shape
    columns = promise.shape[1]
    scores = plain.new_empty(rows, width * columns)
    _grown[(rows, triton.cdiv(width * columns, BLOCK))](
        frame,
        frame.stride(0),
        plain,
        last,
        node,
        language,
        promise,
        promise if bonus is None else bonus,
        column,
        scores,
        width,
        columns,
        len(column),
        silence,
        bonus is not None,
        BLOCK,
    )
    return scores


@triton.jit
def _grown(
    frame,
    frame_stride,
    plain,
    last,
    node,
    language,
    promise,
    bonus,
    column,
    scores,
    width,
    columns,
    symbols,
    silence,
    FAVOURED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = place < width * columns
    own = row * width + place // columns
    leads = place % columns
    frame += row * frame_stride
    said = tl.load(last + own, mask=live, other=0)
    symbol, blank = said >> 1, (said & 1) == 1
    here = tl.load(node + own, mask=live, other=0)
    entry = here * columns + leads
    score = tl.load(promise + entry, mask=live, other=0.0).to(tl.float64)
    score = score * tl.load(language + row)
    if FAVOURED:
        score += tl.load(bonus + entry, mask=live, other=0.0).to(tl.float64)
    score += tl.load(plain + own, mask=live, other=0.0)
    score += tl.load(frame + symbols + leads, mask=live, other=0.0)
    # Between words silence lasts, in a word the last symbol, unless a blank came after it.
    lasts = live & (leads == columns - 3)
    root = here == 0
    lasting = tl.where(root, silence, symbol)
    heard = tl.load(frame + lasting, mask=lasts, other=0.0)
    heard = tl.where(lasts & blank & ~root, float("-inf"), heard)
    score += heard
    # A symbol only follows itself after a blank; else it is the same symbol that lasts.
    again = tl.load(column + symbol, mask=live, other=0)
    again = tl.where(blank, columns - 1, again)
    score = tl.where(leads == again, float("-inf"), score)
    tl.store(scores + row * width * columns + place, score, mask=live)


def inside(
    index: Tensor,
    fields: Tensor,
    symbols: Tensor,
    child: Tensor,
    silence: int,
) -> Tensor:
    """(B, C) places of `grown` -> the (Q, B, C) int64 fields of those candidates.

    fields: (Q - 2, B, K) of the beam. symbols: (W,) of each column. child: (N, W) nodes.
    """
    rows, count = index.shape
    columns = len(symbols)
    out = index.new_empty(len(fields) + 2, rows, count)
    _inside[(rows, triton.cdiv(count, BLOCK))](
        index.contiguous(),
        fields,
        fields.stride(0),
        fields.stride(1),
        symbols,
        child,
        out,
        out.stride(0),
        out.stride(1),
        count,
        columns,
        silence,
        len(out),
        BLOCK,
    )
    return out


@triton.jit
def _inside(
    index,
    fields,
    field_stride,
    row_stride,
    symbols,
    child,
    out,
    out_field,
    out_row,
    count,
    columns,
    silence,
    FIELDS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = place < count
    fields += row * row_stride
    out += row * out_row + place
    chosen = tl.load(index + row * count + place, mask=live, other=0)
    parent, leads = chosen // columns, chosen % columns
    last = tl.load(fields + parent, mask=live, other=0)
    node = tl.load(fields + field_stride + parent, mask=live, other=0)
    lasting = tl.where(node == 0, silence, last >> 1)
    symbol = tl.load(symbols + leads, mask=live, other=0)
    symbol = tl.where(leads == columns - 3, lasting, symbol)
    blank = (leads == columns - 2).to(tl.int64)
    deeper = tl.load(child + node * columns + leads, mask=live, other=0).to(tl.int64)
    tl.store(out, parent, mask=live)
    tl.store(out + out_field, tl.full((BLOCK,), -1, tl.int64), mask=live)
    tl.store(out + 2 * out_field, symbol * 2 + blank, mask=live)
    tl.store(out + 3 * out_field, deeper, mask=live)
    for field in range(2, FIELDS - 2):  # the state, and by history the hash of words
        value = tl.load(fields + field * field_stride + parent, mask=live, other=0)
        tl.store(out + (2 + field) * out_field, value, mask=live)


def best_distinct(scores: Tensor, keys: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """See `lm.search.batched.beam.best_distinct`: the same by hashing in place of a second sort.

    A program has an utterance. It enters its candidates, best first, into a hash table, in which a
    key keeps the rank of its best one; then it writes those in order.
    """
    scores, by_score = scores.sort(dim=1, descending=True, stable=True)
    rows, count = scores.shape
    slots = 1 << (2 * count - 1).bit_length()  # at most half of them are used
    device = scores.device
    # The last slot of a row is that of candidates that have found theirs.
    table = torch.full((rows, slots + 1), UNUSED, dtype=torch.int32, device=device)
    places = torch.zeros(rows, most, dtype=torch.int64, device=device)
    best = torch.full((rows, most), -torch.inf, dtype=torch.float64, device=device)
    numbers = torch.empty(rows, 1, dtype=torch.int64, device=device)
    _distinct[(rows,)](
        scores, by_score, keys.contiguous(), table, places, best, numbers, count, slots, most, FULL
    )
    return places, best, numbers


@triton.jit
def _distinct(
    scores, by_score, keys, table, places, best, numbers, count, slots, most, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    scores += row * count
    by_score += row * count
    keys += row * count
    table += row * (slots + 1)
    places += row * most
    best += row * most
    begin = 0
    while begin < count:
        rank = begin + tl.arange(0, BLOCK)
        inside = rank < count
        score = tl.load(scores + rank, mask=inside, other=float("-inf"))
        looking = inside & (score > float("-inf"))
        key = tl.load(keys + tl.load(by_score + rank, mask=looking, other=0), mask=looking, other=0)
        slot = _hashed(key) & (slots - 1)
        while tl.max(looking.to(tl.int32), 0) > 0:
            at = table + tl.where(looking, slot, slots)
            unused = tl.full((BLOCK,), 0x7FFFFFFF, tl.int32)
            there = tl.atomic_cas(at, unused, tl.where(looking, rank, unused))
            taken = looking & (there != 0x7FFFFFFF)
            other = tl.load(by_score + there, mask=taken, other=0)
            same = taken & (tl.load(keys + other, mask=taken, other=0) == key)
            tl.atomic_min(at, rank, mask=same)
            looking = taken & ~same
            slot = (slot + 1) & (slots - 1)
        begin += BLOCK
    tl.debug_barrier()
    found = tl.zeros((1,), tl.int32)
    begin = 0
    while begin < count:
        rank = begin + tl.arange(0, BLOCK)
        inside = rank < count
        score = tl.load(scores + rank, mask=inside, other=float("-inf"))
        place = tl.load(by_score + rank, mask=inside, other=0)
        looking = inside & (score > float("-inf"))
        key = tl.load(keys + place, mask=looking, other=0)
        slot = _hashed(key) & (slots - 1)
        wins = looking & False
        while tl.max(looking.to(tl.int32), 0) > 0:
            # Past the cache of the processor, in which the atomic operations left no trace.
            there = tl.load(table + slot, mask=looking, other=0, cache_modifier=".cg")
            other = tl.load(by_score + there, mask=looking, other=0)
            same = looking & (tl.load(keys + other, mask=looking, other=0) == key)
            wins = wins | (same & (there == rank))
            looking = looking & ~same
            slot = (slot + 1) & (slots - 1)
        target = found + tl.cumsum(wins.to(tl.int32), 0) - 1
        kept = wins & (target < most)
        tl.store(places + target, place, mask=kept)
        tl.store(best + target, score, mask=kept)
        found += tl.sum(wins.to(tl.int32), 0)
        begin += BLOCK
    tl.store(numbers + row + tl.zeros((1,), tl.int32), found.to(tl.int64))


@triton.jit
def _hashed(key):
    """`lm.search.batched.beam.mixed`."""
    key = (key ^ ((key >> 30) & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    key = (key ^ ((key >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    return key ^ ((key >> 31) & 0x1FFFFFFFF)
