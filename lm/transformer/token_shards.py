"""Text as word numbers on disk: made once, then read through memory maps.

A folder holds, for each text and dictionary, under the hash of their contents:

    KEY/00000.i32 ...   word numbers, little-endian int32: the words of each sentence, then </s>
    KEY/progress.json   what each of these files holds; an interrupted build continues after them
    KEY.counts.json     how often each word occurs

The numbers of all texts form one stream; positions in it are called places.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from lm.text.reading import Reading, ReadReport
from lm.text.sentences import TextError, read_sentences
from lm.transformer.dictionary import END, PAD, UNKNOWN, Dictionary
from storage.hashing import hash_of, remembered_hash
from storage.whole import write_whole

FORMAT = "1"  # of the numbers, part of each key: a change makes new keys
SHARD = 1 << 24  # numbers in a file: what a build holds in memory and an interruption can cost
REPORTED = 10_000_000  # numbers between two progress messages

OnProgress = Callable[[str], None]


@dataclass(frozen=True)
class Shard:
    """What one file of numbers holds."""

    tokens: int
    """Word numbers, ends of sentences included."""
    sentences: int
    unknown: int
    """Words that the dictionary lacks."""


class TokenShards:
    """The numbers of several texts as one stream."""

    def __init__(self, files: Sequence[tuple[Path, Shard]]) -> None:
        self._maps = [
            np.memmap(path, np.dtype("<i4"), "r") for path, shard in files if shard.tokens
        ]
        self._starts = np.cumsum([0, *(len(numbers) for numbers in self._maps)])
        self.tokens = int(self._starts[-1])
        """Length of the stream, ends of sentences included."""
        self.sentences = sum(shard.sentences for _, shard in files)
        """Sentences of all texts."""
        self.unknown = sum(shard.unknown for _, shard in files)
        """Words of all texts that the dictionary lacks."""

    def read(self, start: int, end: int) -> np.ndarray:
        """(end - start,) int64 numbers from `start` up to `end`; before place 0 comes </s>."""
        parts = [np.full(max(0, min(0, end) - start), END, np.int64)]
        start = max(0, start)
        for numbers, first in zip(self._maps, self._starts[:-1].tolist(), strict=True):
            if start < first + len(numbers) and end > first:
                parts.append(numbers[max(0, start - first) : end - first].astype(np.int64))
        return np.concatenate(parts)

    def ends(self) -> Iterator[np.ndarray]:
        """Yield for each file the places after its sentences; the last is the end of the file."""
        for numbers, first in zip(self._maps, self._starts[:-1].tolist(), strict=True):
            yield first + 1 + np.flatnonzero(numbers == END)


@dataclass(frozen=True)
class Blocks:
    """Pieces of a stream, each of them one row of a batch; every number is in exactly one block."""

    starts: np.ndarray
    """(blocks,) int64 first place of each."""
    ends: np.ndarray
    """(blocks,) int64 place after the last one of each."""
    size: int
    """Most numbers that a block may have."""

    def __len__(self) -> int:
        return len(self.starts)


def sentence_blocks(shards: TokenShards, size: int) -> Blocks:
    """Cut the stream into blocks of whole sentences, as many as fit into `size` numbers.

    So a block begins with a sentence, as recognition does. A sentence longer than `size` is cut.
    Raises TextError for an empty stream.
    """
    starts: list[int] = []
    ends: list[int] = []
    begin = 0
    for stops in shards.ends():
        while begin < stops[-1]:
            at = int(np.searchsorted(stops, begin + size, "right")) - 1
            stop = int(stops[at]) if at >= 0 and stops[at] > begin else begin + size
            starts.append(begin)
            ends.append(stop)
            begin = stop
    if not starts:
        raise TextError("The text has no words to make blocks of.")
    return Blocks(np.array(starts, np.int64), np.array(ends, np.int64), size)


def block_order(blocks: int, seed: int, epoch: int, rank: int = 0, world: int = 1) -> np.ndarray:
    """The numbers of the blocks that one of `world` ranks reads in an epoch, in order.

    Ranks have equally many blocks and share none; the order depends on the arguments alone. The
    remainder of blocks / world is left out of the epoch; another epoch leaves out other blocks.
    """
    order = np.random.default_rng((seed, epoch)).permutation(blocks)
    return order[: blocks - blocks % world][rank::world]


def token_batches(
    shards: TokenShards,
    blocks: Blocks,
    batch: int,
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    skip: int = 0,
) -> Iterator[np.ndarray]:
    """Yield the (batch, size + 1) int64 batches of an epoch after the first `skip`.

    A row is the number before a block, then the block, then padding. The last batch may have fewer
    rows. seed, epoch, rank, world: see `block_order`.
    """
    order = block_order(len(blocks), seed, epoch, rank, world)
    for start in range(skip * batch, len(order), batch):
        chosen = order[start : start + batch]
        rows = np.full((len(chosen), blocks.size + 1), PAD, np.int64)
        for row, index in zip(rows, chosen, strict=True):
            words = shards.read(int(blocks.starts[index]) - 1, int(blocks.ends[index]))
            row[: len(words)] = words
        yield rows


def count_words(
    files: Iterable[Path],
    folder: Path,
    reading: Reading,
    *,
    report: ReadReport | None = None,
    on_progress: OnProgress = lambda sentence: None,
) -> Counter[str]:
    """Count the words of all texts; the counts of each text are kept in `folder`.

    files: UTF-8 texts, gzip by name. reading, report: see `read_sentences`. on_progress: called
    with a sentence for each text that is read. Raises TextError for a text that cannot be read,
    OSError where `folder` cannot be written.
    """
    total: Counter[str] = Counter()
    for path in files:
        kept = folder / f"{_text_key(path, reading)}.counts.json"
        if kept.is_file():
            counts = Counter(json.loads(kept.read_text()))
        else:
            on_progress(f"Counting the words of {path.name}.")
            counts = Counter()
            for words in read_sentences(path, reading, report):
                counts.update(words)
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(kept, json.dumps(counts, ensure_ascii=False))
        total.update(counts)
    return total


def build_shards(
    files: Iterable[Path],
    dictionary: Dictionary,
    folder: Path,
    reading: Reading,
    *,
    shard: int = SHARD,
    on_progress: OnProgress = lambda sentence: None,
) -> TokenShards:
    """The numbers of all texts, from `folder`, where they are made once.

    An interrupted build continues where it stopped.

    files, reading, on_progress: see `count_words`. shard: numbers in a file, about. Only one
    process may build at a time. Raises TextError for a text that cannot be read, OSError where
    `folder` cannot be written.
    """
    made: list[tuple[Path, Shard]] = []
    for path in files:
        key = hash_of(_text_key(path, reading), dictionary.fingerprint)[:32]
        made += _build(path, dictionary, folder / key, reading, shard, on_progress)
    return TokenShards(made)


def _build(
    path: Path,
    dictionary: Dictionary,
    folder: Path,
    reading: Reading,
    size: int,
    on_progress: OnProgress,
) -> list[tuple[Path, Shard]]:
    folder.mkdir(parents=True, exist_ok=True)
    progress = folder / "progress.json"
    state: dict[str, Any] = json.loads(progress.read_text()) if progress.is_file() else {}
    shards = [Shard(**values) for values in state.get("shards", [])]
    if not state.get("complete"):
        done = sum(shard.sentences for shard in shards)
        if done:
            on_progress(f"{path.name}: continuing after sentence {done}.")
        sentences = islice(read_sentences(path, reading), done, None)
        reported = 0
        for numbers, shard in _numbered(sentences, dictionary, size):
            write_whole(folder / f"{len(shards):05}.i32", numbers)
            shards.append(shard)
            _note(progress, shards, complete=False)
            if (words := sum(item.tokens for item in shards)) >= reported + REPORTED:
                on_progress(f"{path.name}: {words / 1e6:.0f} M words.")
                reported = words
        _note(progress, shards, complete=True)
    return [(folder / f"{number:05}.i32", shard) for number, shard in enumerate(shards)]


def _note(progress: Path, shards: list[Shard], *, complete: bool) -> None:
    state = {"complete": complete, "shards": [asdict(shard) for shard in shards]}
    write_whole(progress, json.dumps(state))


def _numbered(
    sentences: Iterable[list[str]], dictionary: Dictionary, size: int
) -> Iterator[tuple[bytes, Shard]]:
    """Yield the bytes of each file: whole sentences until there are `size` numbers."""
    find = dictionary.index.get
    numbers, count = array("i"), 0
    for words in sentences:
        numbers.extend(map(find, words, repeat(UNKNOWN)))
        numbers.append(END)
        count += 1
        if len(numbers) >= size:
            yield _packed(numbers, count)
            numbers, count = array("i"), 0
    if count:
        yield _packed(numbers, count)


def _packed(numbers: array[int], sentences: int) -> tuple[bytes, Shard]:
    shard = Shard(len(numbers), sentences, numbers.count(UNKNOWN))
    return np.array(numbers, "<i4").tobytes(), shard


def _text_key(path: Path, reading: Reading) -> str:
    """Hash of a text's content and of how it is read."""
    try:
        content = remembered_hash(path)
    except OSError as error:
        raise TextError(f"The text {path} cannot be read: {error.strerror}.") from None
    return hash_of(FORMAT, reading.key, content)[:32]
