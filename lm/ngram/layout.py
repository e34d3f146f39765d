"""The file of a backoff automaton, `.automaton`: its parts as arrays, mapped or written.

The compiled search, the batched search and its kernels read the same file. `lm/native/automaton.h`
has its layout in C++; here it is in numpy. All numbers are little-endian, and each part begins at a
multiple of 64 bytes:

    header      88 bytes: `HEADER`
    arcs        (K, 4) int32: state, word, target, and the bits of a float32, log10 p(word | state)
    backoff     (S,) float32, log10 weight of backing off from each state
    shorter     (S,) uint32, the state of the next shorter context
    text_ends   (V,) uint64, where each word ends in the text
    word_table  (L,) uint32, a hash table of words, which the compiled library alone reads
    text        all words in UTF-8, one after the other; <unk> is word 0

`arcs` is a hash table with open addressing: an arc lies at slot `hashed(state, word) & (K - 1)` or
in one of the slots after it, round the end, at most `probes` in all, and before the first empty
slot, whose state is -1. State 0 is the empty context, and every word has an arc from it.

Legend: K slots (a power of two), A arcs, S states, V words of the model, L slots of words.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lm.language_model import UNK, LanguageModelError
from lm.ngram.checksum import stamp

MAGIC = b"w2v2lm02"
# magic; order, words, states, slots of arcs, slots of words, bytes of text, n-grams; state after
# <s>, word </s>, whether <unk> is in the model, checksum, probes of arcs, probes of words
HEADER = struct.Struct("<8s7Q6I")
LINE = 64  # bytes
EMPTY = -1  # state of an unused slot
FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9  # multipliers of `hashed`
FNV_START, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3  # of FNV-1a, for words
LONGEST = 15  # words in an n-gram; look-ups take as many steps at most
MOST_STATES = 1 << 31  # states are int32 in tensors


@dataclass(frozen=True)
class AutomatonArrays:
    """The states and arcs of a backoff automaton; all scores are log10.

    log p(word | state) is the score of the state's arc for the word. A state without such an arc
    gives its backoff weight plus log p(word | the state it backs off to). Every word has an arc
    from the empty context, so this ends.
    """

    vocabulary: dict[str, int]
    """Number of each word; <unk> is 0."""
    order: int
    """Words in the longest n-gram."""
    start: int
    """State after <s>."""
    arcs: np.ndarray
    """(K, 4) int32, the hash table above."""
    probes: int
    """Slots after which an arc that is there has been found."""
    shorter: np.ndarray
    """(S,) int32 state to back off to."""
    backoff: np.ndarray
    """(S,) float32 log10 weight of backing off."""
    has_unknown: bool = True
    """Whether the model itself gives <unk> a probability."""


def map_automaton(path: Path) -> AutomatonArrays:
    """The parts of a file, mapped into memory, not read: its time does not grow with the n-grams.

    Raises LanguageModelError for a file that is cut short or damaged, where its sizes show it;
    OSError.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER.size)
        if size < _filled(HEADER.size) or len(head) < HEADER.size:
            raise _unusable(path, "it is cut short")
        magic, order, words, states, slots, word_slots, letters, _, *numbers = HEADER.unpack(head)
        start, end, has_unknown, _, probes, _ = numbers
        sizes = _sizes(words, states, slots, word_slots, letters)
        if (
            magic != MAGIC
            or not 0 < order <= LONGEST
            or _filled(HEADER.size) + sum(map(_filled, sizes)) != size
            or slots & (slots - 1)
            or not 0 < probes <= slots
            or start >= states
            or states > MOST_STATES
            or end >= words
        ):
            raise _unusable(path, "it is damaged")
        # Copy on write, since torch warns about arrays that it could not write to.
        memory = np.memmap(file, np.uint8, "c")
    parts, at = [], _filled(HEADER.size)
    for length in sizes:
        parts.append(memory[at : at + length])
        at += _filled(length)
    names = _names(bytes(parts[5]), parts[3].view("<u8").tolist())
    vocabulary = {name: number for number, name in enumerate(names)}
    if not {UNK, "</s>"} <= vocabulary.keys():
        raise _unusable(path, "it is damaged")
    return AutomatonArrays(
        vocabulary,
        order,
        start,
        parts[0].view("<i4").reshape(slots, 4),
        probes,
        parts[2].view("<i4"),
        parts[1].view("<f4"),
        bool(has_unknown),
    )


def write_automaton(automaton: AutomatonArrays, path: Path) -> None:
    """Write a new file with its checksum. Raises OSError."""
    names = [word.encode() for word in automaton.vocabulary]
    ends = np.cumsum([len(name) for name in names], dtype="<u8")
    table, word_probes = _word_table(names)
    used = int((automaton.arcs[:, 0] != EMPTY).sum())
    head = HEADER.pack(
        MAGIC,
        automaton.order,
        len(names),
        len(automaton.backoff),
        len(automaton.arcs),
        len(table),
        int(ends[-1]),
        used,
        automaton.start,
        automaton.vocabulary["</s>"],
        automaton.has_unknown,
        0,
        automaton.probes,
        word_probes,
    )
    arrays = (automaton.arcs, automaton.backoff, automaton.shorter, ends, table)
    with path.open("wb") as file:
        for content in (head, *(array.tobytes() for array in arrays), b"".join(names)):
            file.write(content)
            file.write(bytes(_filled(len(content)) - len(content)))
    stamp(path)


def arc_table(
    states: np.ndarray, words: np.ndarray, targets: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, int]:
    """(A,) states, words, targets and float32 scores -> the (K, 4) table, and its probes."""
    table = np.zeros((slots_for(len(states)), 4), np.int32)
    table[:, 0] = EMPTY
    places, probes = placed(hashed(states, words), len(table))
    rows = np.stack([states, words, targets], axis=1).astype(np.int32)
    table[places, :3] = rows
    table[places, 3] = scores.astype(np.float32).view(np.int32)
    return table, probes


def slots_for(count: int) -> int:
    """Slots of a table for `count` entries: at most two thirds of them are used."""
    slots = 16
    while slots * 2 < count * 3:
        slots *= 2
    return slots


def hashed(states: np.ndarray, words: np.ndarray) -> np.ndarray:
    """(N,) states and words -> (N,) uint64; `mix` of automaton.h."""
    return _mixed((states.astype(np.uint64) << np.uint64(32)) | words.astype(np.uint64))


def placed(hashes: np.ndarray, slots: int) -> tuple[np.ndarray, int]:
    """(N,) hashes -> the (N,) slots where they find room, each its own; and the probes needed."""
    at = (hashes & np.uint64(slots - 1)).astype(np.int64)
    home, taken, settled = at.copy(), np.zeros(slots, bool), np.zeros(len(at), bool)
    waiting = np.arange(len(at))
    while len(waiting):
        free = waiting[~taken[at[waiting]]]
        _, first = np.unique(at[free], return_index=True)  # of those that want one slot
        settled[free[first]] = True
        taken[at[free[first]]] = True
        waiting = waiting[~settled[waiting]]
        at[waiting] = (at[waiting] + 1) & (slots - 1)
    return at, int(((at - home) & (slots - 1)).max(initial=0)) + 1


def _mixed(key: np.ndarray) -> np.ndarray:
    key = (key ^ (key >> np.uint64(32))) * np.uint64(FIRST)
    key = (key ^ (key >> np.uint64(29))) * np.uint64(SECOND)
    return key ^ (key >> np.uint64(32))


def _word_table(names: list[bytes]) -> tuple[np.ndarray, int]:
    """The hash table of words, (L,) uint32, and the probes it needs."""
    hashes = _mixed(np.array([_text_hash(name) for name in names], np.uint64))
    table = np.full(slots_for(len(names)), 0xFFFFFFFF, "<u4")
    places, probes = placed(hashes, len(table))
    table[places] = np.arange(len(names))
    return table, probes


def _text_hash(name: bytes) -> int:
    value = FNV_START
    for byte in name:
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


def _names(text: bytes, ends: list[int]) -> list[str]:
    return [
        text[begin:end].decode("utf-8", "replace")
        for begin, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def _sizes(words: int, states: int, slots: int, word_slots: int, letters: int) -> tuple[int, ...]:
    """Bytes of the parts after the header, in order."""
    return slots * 16, states * 4, states * 4, words * 8, word_slots * 4, letters


def _filled(size: int) -> int:
    return -(-size // LINE) * LINE


def _unusable(path: Path, why: str) -> LanguageModelError:
    return LanguageModelError(f"The cached language model {path} cannot be used: {why}.")
