"""Binary files of KenLM, probing and trie, read by us: their n-grams as the text of an ARPA file.

Layout: KenLM's sources of 2020 to 2024, `lm/binary_format`, `search_hashed`, `search_trie`,
`quantize` and `bhiksha`. A trie holds its n-grams from the last word to the first, packed in bits,
its numbers in bins where it is quantised. A probing file holds hashed keys in place of words;
`lm/native/kenlm_keys.h` finds the words again. N-grams that `build_binary` added, because a longer
one ends with them, are in the file as all others are.

Legend: N n-grams of one order n; V words.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lm.language_model import LanguageModelError
from lm.native.library import is_built, native, pointer
from lm.ngram.kenlm import BINARY_START, MISSING_UNK, TRIE

FIXED = struct.Struct("<88xB3xfI?3xI")  # order, multiplier, kind, whether words follow, a version
REST, QUANTISED, ARRAYS = 1, 1, 2  # a kind of hash tables, and what adds to the kind of a trie
KINDS = (
    "probing",
    "probing, with rest costs",
    "trie",
    "trie, quantised",
    "trie, pointers in arrays",
    "trie, quantised, pointers in arrays",
)
LAST, FIRST = np.uint64(8978948897894561157), np.uint64(17894857484156487943)  # of keys
NO_EXTENSION = 0x80000000  # the bits of -0.0: a backoff weight of what is no context
FLOAT31, FLOAT32 = 31, 32  # bits of a log-probability without its sign, and of a backoff weight
AT_ONCE = 1 << 18  # n-grams that are written at a time
MOST_PAIRS = 10**12  # an hour's work: pairs of n-grams that are tried in one order


@dataclass(frozen=True)
class Header:
    """What the beginning of a file says."""

    order: int
    multiplier: float
    """Buckets of a hash table for each n-gram."""
    kind: int
    has_words: bool
    counts: tuple[int, ...]
    """N-grams of each order, those that build_binary added to a trie included."""

    @property
    def size(self) -> int:
        """Bytes of it in the file."""
        return -(-(FIXED.size + 8 * self.order) // 8) * 8


@dataclass(frozen=True)
class Ngrams:
    """The n-grams of one order."""

    words: np.ndarray
    """(N, n) word numbers."""
    log_prob: np.ndarray
    """(N,) float32, log10."""
    backoff: np.ndarray | None
    """(N,) float32, log10; None in the highest order."""


def is_binary(path: Path) -> bool:
    """Whether a file begins as KenLM's binary files do. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(BINARY_START)) == BINARY_START


def read_header(path: Path) -> Header:
    """Raise LanguageModelError for a file that is cut short or of another version; OSError."""
    with path.open("rb") as file:
        head = file.read(FIXED.size)
        if len(head) < FIXED.size or not head.startswith(BINARY_START):
            raise LanguageModelError(
                f"{path} cannot be read as an ARPA or KenLM file: it has no name of the one "
                "(.arpa, .arpa.gz) and does not begin as the other does."
            )
        order, multiplier, kind, has_words, _ = FIXED.unpack(head)
        counts = file.read(8 * order)
    if order < 2 or len(counts) < 8 * order or kind >= len(KINDS) or not 1 <= multiplier < 1e6:
        raise _damaged(path)
    return Header(order, multiplier, kind, has_words, struct.unpack(f"<{order}Q", counts))


def arpa_text(path: Path) -> Iterator[bytes]:
    """Yield the model in a binary file as the text of an ARPA file, piece by piece.

    Its numbers are those of the file to the last bit, and words and n-grams in its order. Raises
    LanguageModelError for a file without its words, damaged, or of a kind that cannot be read here;
    OSError.
    """
    header = read_header(path)
    if not header.has_words:
        raise LanguageModelError(
            f"{path} was built without its words: build it anew without -v, give the ARPA file "
            "that it was built from, or take --search flashlight with a --lexicon."
        )
    model = (_Trie if header.kind >= TRIE else _Probing)(path, header)
    names = np.array(model.names, dtype=object)
    known = model.unigrams.log_prob[0] > MISSING_UNK
    counts = [len(names) - (not known), *model.counts[1:]]
    lines = "".join(f"ngram {n}={count}\n" for n, count in enumerate(counts, 1))
    yield f"\\data\\\n{lines}".encode()
    for n in range(1, header.order + 1):
        yield f"\n\\{n}-grams:\n".encode()
        for ngrams in model.ngrams(n):
            yield _written(ngrams, names, skip=int(n == 1 and not known))
    yield b"\n\\end\\\n"


def _written(ngrams: Ngrams, names: np.ndarray, skip: int) -> bytes:
    words = [" ".join(row) for row in names[ngrams.words[skip:]].tolist()]
    scores = ngrams.log_prob[skip:].tolist()
    if ngrams.backoff is None:
        rows = (f"{score:.9g}\t{text}\n" for score, text in zip(scores, words, strict=True))
    else:
        rows = (
            f"{score:.9g}\t{text}\t{backoff:.9g}\n"
            for score, text, backoff in zip(
                scores, words, ngrams.backoff[skip:].tolist(), strict=True
            )
        )
    return "".join(rows).encode("utf-8", "surrogateescape")


def _damaged(path: Path) -> LanguageModelError:
    return LanguageModelError(
        f"{path} is damaged, or KenLM built it on another kind of machine: build it anew."
    )


class _File:
    """A file mapped into memory; its search begins at `at`."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header, self.counts = path, header, header.counts
        self.bytes = np.memmap(path, np.uint8, "r")
        self.at = header.size

    @cached_property
    def names(self) -> list[str]:
        """(V,) the words, which end the file."""
        text = bytes(self.bytes[self.end :])
        names = text.decode("utf-8", "surrogateescape").split("\0")[:-1]
        if not text.endswith(b"\0") or names[:1] != ["<unk>"] or len(names) != self.words:
            raise _damaged(self.path)
        return names

    words: int
    end: int
    """Where the search ends in the file."""

    def array(self, at: int, dtype: np.dtype, count: int) -> np.ndarray:
        """`count` values of the file from byte `at`, wherever it lies."""
        if at + count * dtype.itemsize > len(self.bytes):
            raise _damaged(self.path)
        return np.ndarray((count,), dtype, self.bytes, at)

    def checked(self, ngrams: Ngrams) -> Ngrams:
        """The n-grams, whose words and figures can be. Raises LanguageModelError."""
        if not (ngrams.words < self.words).all() or not (ngrams.log_prob <= 0).all():
            raise _damaged(self.path)
        if ngrams.backoff is not None and not np.isfinite(ngrams.backoff).all():
            raise _damaged(self.path)
        return ngrams


@dataclass(frozen=True)
class _Level:
    """One order of a trie: entries of `total` bits, words first."""

    begin: int
    """Byte of the file where the entries begin."""
    count: int
    word_bits: int
    value_bits: int
    next_bits: int
    high: np.ndarray | None = None
    """Where the higher bits of the pointers change, in files that keep them apart."""

    @property
    def total(self) -> int:
        """Bits of an entry."""
        return self.word_bits + self.value_bits + self.next_bits


class _Trie(_File):
    """A trie from the last word of an n-gram to its first."""

    def __init__(self, path: Path, header: Header) -> None:
        super().__init__(path, header)
        self.words = self.counts[0]
        at = self.at + 8 + 8 * self.words
        kind = header.kind - TRIE
        self.bins: list[tuple[np.ndarray, np.ndarray | None]] = []
        self.bits = (FLOAT31, FLOAT32)
        if kind & QUANTISED:
            at = self._read_bins(at)
        unigram = np.dtype([("log_prob", "<f4"), ("backoff", "<f4"), ("next", "<u8")])
        self._unigrams = self.array(at, unigram, self.words + 1)
        at += (self.words + 2) * unigram.itemsize
        self.levels: list[_Level] = []
        for n in range(2, header.order + 1):
            at = self._lay_out(at, n, bool(kind & ARRAYS))
        self.end = at
        if at > len(self.bytes):
            raise _damaged(path)
        self._words8 = np.ndarray((len(self.bytes) - 7,), "<u8", self.bytes, 0, (1,))

    def _read_bins(self, at: int) -> int:
        version, *bits = (int(value) for value in self.array(at, np.dtype(np.uint8), 3))
        if version != 2 or not all(0 < width <= 25 for width in bits):
            raise _damaged(self.path)
        self.bits = bits[0], bits[1]
        at += 8
        for n in range(2, self.header.order + 1):
            probs = self.array(at, np.dtype("<f4"), 1 << bits[0])
            at += probs.nbytes
            backoffs = None
            if n < self.header.order:
                backoffs = self.array(at, np.dtype("<f4"), 1 << bits[1])
                at += backoffs.nbytes
            self.bins.append((probs, backoffs))
        return at

    def _lay_out(self, at: int, n: int, arrays: bool) -> int:
        """Add the level of order n, which begins at byte `at`; return where it ends."""
        count, width = self.counts[n - 1], self.words.bit_length()
        if n == self.header.order:
            self.levels.append(_Level(at, count, width, self.bits[0], 0))
        else:
            most, high = self.counts[n], None
            next_bits = most.bit_length()
            if arrays:
                chop = _chopped(count + 1, most, int(self.array(at, np.dtype(np.uint8), 2)[1]))
                entries = (most >> (next_bits - chop)) + 1
                next_bits -= chop
                high = self.array(-(-at // 8) * 8 + 8, np.dtype("<u8"), entries)
                at += 8 * (1 + entries) + 7
            self.levels.append(_Level(at, count, width, sum(self.bits), next_bits, high))
        return at + ((1 + count) * self.levels[-1].total + 7) // 8 + 8

    @property
    def unigrams(self) -> Ngrams:
        """The words."""
        table = self._unigrams[:-1]
        words = np.arange(len(table), dtype=np.uint32)[:, None]
        return Ngrams(words, table["log_prob"], table["backoff"])

    def ngrams(self, n: int) -> Iterator[Ngrams]:
        """Yield the n-grams of one order, some at a time."""
        if n == 1:
            yield self.checked(self.unigrams)
            return
        level = self.levels[n - 2]
        for begin in range(0, level.count, AT_ONCE):
            rows = np.arange(begin, min(level.count, begin + AT_ONCE), dtype=np.uint64)
            columns: list[np.ndarray] = []
            above: np.ndarray = rows
            for upper in range(n, 1, -1):
                columns.append(self._field(self.levels[upper - 2], above, 0, level.word_bits))
                # The entry one word shorter whose pointers take this one in.
                above = np.searchsorted(self._nexts[upper - 1], above, "right") - 1
                above = above.astype(np.uint64)
            columns.append(above)
            yield self.checked(Ngrams(np.stack(columns, axis=1), *self._values(n, rows)))

    @cached_property
    def _nexts(self) -> dict[int, np.ndarray]:
        """For each order but the highest where the entries of the next one begin, and an end."""
        begins = {1: self._unigrams["next"]}
        for n, level in enumerate(self.levels[:-1], 2):
            rows = np.arange(level.count + 1, dtype=np.uint64)
            skip = level.word_bits + level.value_bits
            pointers = self._field(level, rows, skip, level.next_bits)
            if level.high is not None:
                above = np.searchsorted(level.high, rows, "right").astype(np.uint64) - np.uint64(1)
                pointers |= above << np.uint64(level.next_bits)
            begins[n] = pointers
        for n, pointers in begins.items():
            if (np.diff(pointers.astype(np.int64)) < 0).any() or (
                pointers[0] != 0 or pointers[-1] != self.counts[n]
            ):
                raise _damaged(self.path)
        return begins

    def _values(self, n: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        level, (prob_bits, backoff_bits) = self.levels[n - 2], self.bits
        highest = n == self.header.order
        if not self.bins:
            bits = self._field(level, rows, level.word_bits, FLOAT31).astype(np.uint32)
            scores = (bits | np.uint32(NO_EXTENSION)).view(np.float32)
            if highest:
                return scores, None
            bits = self._field(level, rows, level.word_bits + FLOAT31, FLOAT32).astype(np.uint32)
            return scores, bits.view(np.float32)
        probs, backoffs = self.bins[n - 2]
        if backoffs is None:
            return probs[self._field(level, rows, level.word_bits, prob_bits)], None
        place = self._field(level, rows, level.word_bits, backoff_bits)
        other = self._field(level, rows, level.word_bits + backoff_bits, prob_bits)
        return probs[other], backoffs[place]

    def _field(self, level: _Level, rows: np.ndarray, skip: int, width: int) -> np.ndarray:
        """(N,) uint64, `width` bits after the first `skip` of each entry."""
        at = rows * np.uint64(level.total) + np.uint64(skip)
        found = self._words8[(at >> np.uint64(3)) + np.uint64(level.begin)]
        return found >> (at & np.uint64(7)) & np.uint64((1 << width) - 1)


def _chopped(entries: int, most: int, allowed: int) -> int:
    """The higher bits of a pointer to `most` that a table holds in place of each of the entries."""
    required = most.bit_length()
    costs = [
        (most >> (required - chop)) * 64 - entries * chop
        for chop in range(min(required, allowed) + 1)
    ]
    return costs.index(min(costs))


@dataclass(frozen=True)
class _Hashed:
    """The n-grams of one order of a probing file, with what joins them to longer ones."""

    words: np.ndarray
    keys: np.ndarray
    context: np.ndarray
    """(N,) each one's words but the last, among those of the order below."""
    suffix: np.ndarray
    """(N,) each one's words but the first."""
    log_prob: np.ndarray
    backoff: np.ndarray | None
    ends_longer: np.ndarray
    """(N,) whether a longer n-gram ends with it."""

    @classmethod
    def of(
        cls,
        words: np.ndarray,
        keys: np.ndarray,
        context: np.ndarray,
        suffix: np.ndarray,
        table: np.ndarray,
    ) -> _Hashed:
        """With the figures of (N,) entries, of which signs say what ends with an n-gram."""
        scores, backoff = np.ascontiguousarray(table["log_prob"]), None
        if "backoff" in (table.dtype.names or ()):
            backoff = np.ascontiguousarray(table["backoff"])
        ends_longer = scores.view(np.uint32) & NO_EXTENSION == 0
        return cls(words, keys, context, suffix, -np.abs(scores), backoff, ends_longer)


class _Probing(_File):
    """Hash tables of keys."""

    def __init__(self, path: Path, header: Header) -> None:
        super().__init__(path, header)
        if not is_built():
            raise LanguageModelError(
                f"{path} keeps hashes in place of words, which the compiled library reads, and it "
                "was not built: give the ARPA file, or a trie (build_binary trie)."
            )
        _, self.words = map(int, self.array(self.at, np.dtype("<u4"), 2))
        at = self.at + 8 + 12 * self._buckets(self.counts[0])
        weights = 12 if header.kind == REST else 8
        self._unigrams = self.array(at, _weights(0, weights), self.words)
        at += weights * (self.counts[0] + 1)
        self.tables = []
        for n in range(2, header.order + 1):
            entry = _weights(8, 4 if n == header.order else weights)
            self.tables.append(self.array(at, entry, self._buckets(self.counts[n - 1])))
            at += self.tables[-1].nbytes
        self.end = at
        used = [int((table["key"] != 0).sum()) for table in self.tables]
        self.counts = (self.words, *used)
        self._orders: dict[int, _Hashed] = {}

    def _buckets(self, count: int) -> int:
        return max(count + 1, int(np.float32(self.header.multiplier) * np.float32(count)))

    @property
    def unigrams(self) -> Ngrams:
        """The words."""
        table = self._unigrams
        words = np.arange(len(table), dtype=np.uint32)[:, None]
        return Ngrams(words, -np.abs(table["log_prob"]), table["backoff"])

    def ngrams(self, n: int) -> Iterator[Ngrams]:
        """Yield the n-grams of one order, some at a time."""
        hashed = self._order(n)
        for begin in range(0, len(hashed.keys), AT_ONCE):
            some = slice(begin, begin + AT_ONCE)
            backoff = None if hashed.backoff is None else hashed.backoff[some]
            yield self.checked(Ngrams(hashed.words[some], hashed.log_prob[some], backoff))

    def _order(self, n: int) -> _Hashed:
        """The n-grams of order n, from those of the order below, which is given up."""
        if n == 1:
            words, table = self.unigrams.words, self._unigrams
            nothing = np.zeros(len(words), np.int64)
            made = _Hashed.of(words, words[:, 0].astype(np.uint64), nothing, nothing, table)
        else:
            made = self._joined(n, self._orders.pop(n - 1))
        self._orders[n] = made
        return made

    def _joined(self, n: int, lower: _Hashed) -> _Hashed:
        assert lower.backoff is not None
        groups = 1 if n == 2 else 1 + max(lower.context.max(initial=0), lower.suffix.max(initial=0))
        extended = lower.backoff.view(np.uint32) != NO_EXTENSION
        suffixes, suffix_ends = _grouped(lower.context, lower.ends_longer, groups)
        contexts, context_ends = _grouped(lower.suffix, extended, groups)
        pairs = np.diff(suffix_ends, prepend=0) * np.diff(context_ends, prepend=0).astype(float)
        if pairs.sum() > MOST_PAIRS:
            raise LanguageModelError(
                f"{self.path} keeps hashes in place of words, and it would take hours to find the "
                f"words of its {n}-grams: give the ARPA file, or a trie (build_binary trie)."
            )
        table, keys, firsts = self.tables[n - 2], lower.keys[suffixes], lower.words[contexts, 0]
        which = _join(table, keys, suffix_ends, firsts.astype(np.uint64), context_ends)
        suffix, context, slots = suffixes[which[0]], contexts[which[1]], which[2]
        if len(np.unique(slots)) != self.counts[n - 1]:
            raise _damaged(self.path)
        first = lower.words[context, 0]
        key = lower.keys[suffix] * LAST ^ (first.astype(np.uint64) + np.uint64(1)) * FIRST
        words = np.column_stack([first, lower.words[suffix]])
        return _Hashed.of(words, key, context, suffix, table[slots])


def _weights(skip: int, size: int) -> np.dtype:
    """An entry: a key of `skip` bytes, a log-probability and, for 8 bytes, a backoff weight."""
    names = [*(["key"] if skip else []), "log_prob", *(["backoff"] if size >= 8 else [])]
    places = {"key": ("<u8", 0), "log_prob": ("<f4", skip), "backoff": ("<f4", skip + 4)}
    formats, offsets = zip(*(places[name] for name in names), strict=True)
    return np.dtype(
        {"names": names, "formats": formats, "offsets": offsets, "itemsize": skip + size}
    )


def _grouped(of: np.ndarray, kept: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams that are kept, those of one group together, and where each group ends."""
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(of[rows], kind="stable")]
    ends = np.cumsum(np.bincount(of[rows], minlength=groups), dtype=np.uint64)
    return rows, ends


def _join(
    table: np.ndarray, keys: np.ndarray, suffix_ends: np.ndarray, firsts: np.ndarray,
    context_ends: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """See `lm/native/kenlm_keys.h`: places of suffixes and contexts, and slots."""
    library = native()
    joined = library.keys_join(
        pointer(table),
        table.dtype.itemsize,
        len(table),
        *map(pointer, (keys, suffix_ends, firsts, context_ends)),
        len(suffix_ends),
    )
    if joined is None:
        raise MemoryError(library.reason())
    try:
        count = library.keys_count(joined)
        suffixes, contexts = np.zeros((2, count), np.uint32)
        slots = np.zeros(count, np.uint64)
        library.keys_copy(joined, pointer(suffixes), pointer(contexts), pointer(slots))
    finally:
        library.keys_free(joined)
    return suffixes, contexts, slots
