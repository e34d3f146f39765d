"""Text as word numbers on disk: made once, read through memory maps, never held in memory.

A folder holds, for each text and dictionary, named by the hash of their contents:

    KEY/00000.i32 ...   word numbers, little-endian int32; each sentence is its words and </s>
    KEY/progress.json   what each of these holds; a build that was interrupted goes on behind the last one
    KEY.counts.json     how often each word occurs
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from lm.text.sentences import TextError, read_sentences
from lm.transformer.dictionary import END, PAD, UNKNOWN, Dictionary

FORMAT = "1"  # of the numbers; a change makes new keys
SHARD = (
    1 << 24
)  # word numbers in a file: what an interruption can cost, and what a build holds in memory
TOLD = 10_000_000  # words between two messages


@dataclass(frozen=True)
class Shard:
    """One file of numbers."""

    tokens: int
    sentences: int
    unknown: int
    """Words among them that the dictionary lacks."""


class TokenShards:
    """The numbers of several texts as one long stream."""

    def __init__(self, files: Sequence[tuple[Path, Shard]]) -> None:
        self._maps = [
            np.memmap(path, np.dtype("<i4"), "r") for path, shard in files if shard.tokens
        ]
        self._starts = np.cumsum([0, *(len(numbers) for numbers in self._maps)])
        self.tokens = int(self._starts[-1])
        """All numbers, ends of sentences included."""
        self.sentences = sum(shard.sentences for _, shard in files)
        self.unknown = sum(shard.unknown for _, shard in files)

    def read(self, start: int, end: int) -> np.ndarray:
        """Numbers from `start` up to `end`, int64; before the first one stands </s>."""
        parts = [np.full(max(0, min(0, end) - start), END, np.int64)]
        start = max(0, start)
        for numbers, first in zip(self._maps, self._starts[:-1].tolist(), strict=True):
            if start < first + len(numbers) and end > first:
                parts.append(numbers[max(0, start - first) : end - first].astype(np.int64))
        return np.concatenate(parts)

    def ends(self) -> Iterator[np.ndarray]:
        """For each file the places behind its sentences, in the whole stream; each file ends with a sentence."""
        for numbers, first in zip(self._maps, self._starts[:-1].tolist(), strict=True):
            yield first + 1 + np.flatnonzero(numbers == END)


@dataclass(frozen=True)
class Blocks:
    """Stretches of a stream, each of which is one row of a batch: every word is in exactly one of them."""

    starts: np.ndarray
    ends: np.ndarray
    size: int
    """Words of the longest that there may be."""

    def __len__(self) -> int:
        return len(self.starts)


def contiguous_blocks(shards: TokenShards, size: int) -> Blocks:
    """Of `size` words each, wherever sentences end; what remains at the end of the stream is left out.

    Raises TextError when there is none.
    """
    if shards.tokens < size:
        raise TextError(f"The text has {shards.tokens} words, too few for one block of {size}.")
    starts = np.arange(shards.tokens // size, dtype=np.int64) * size
    return Blocks(starts, starts + size, size)


def sentence_blocks(shards: TokenShards, size: int) -> Blocks:
    """As many whole sentences each as `size` words hold, so that each begins as a sentence to be recognised does.

    A longer sentence is cut. Raises TextError when there is none.
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
    """The blocks of an epoch in the order of one of `world` ranks: disjoint, equally many, a function of the numbers.

    What does not divide evenly is left out of the epoch; another epoch leaves out others.
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
    """The (batch, size + 1) int64 batches of an epoch after the first `skip`; the last may have fewer rows.

    A row is the word before a block and the block, filled up with padding.
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
    *,
    normalize: bool,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Counter[str]:
    """How often each word occurs in all texts; each text is counted once and remembered in `folder`."""
    total: Counter[str] = Counter()
    for path in files:
        kept = folder / f"{_text_key(path, folder, normalize)}.counts.json"
        if kept.is_file():
            counts = Counter(json.loads(kept.read_text()))
        else:
            tell(f"Counting the words of {path.name}.")
            counts = Counter()
            for words in read_sentences(path, normalize=normalize):
                counts.update(words)
            _write(kept, json.dumps(counts, ensure_ascii=False))
        total.update(counts)
    return total


def build_shards(
    files: Iterable[Path],
    dictionary: Dictionary,
    folder: Path,
    *,
    normalize: bool,
    shard: int = SHARD,
    tell: Callable[[str], None] = lambda sentence: None,
) -> TokenShards:
    """The numbers of all texts, taken from `folder` where they have been made before.

    One process builds; others wait for it. Raises TextError for a text that cannot be read, OSError for a full disk.
    """
    made: list[tuple[Path, Shard]] = []
    for path in files:
        text = _text_key(path, folder, normalize)
        key = hashlib.sha256(f"{text} {dictionary.fingerprint}".encode()).hexdigest()[:32]
        made += _build(path, dictionary, folder / key, normalize, shard, tell)
    return TokenShards(made)


def _build(
    path: Path,
    dictionary: Dictionary,
    folder: Path,
    normalize: bool,
    size: int,
    tell: Callable[[str], None],
) -> list[tuple[Path, Shard]]:
    folder.mkdir(parents=True, exist_ok=True)
    progress = folder / "progress.json"
    state: dict[str, Any] = json.loads(progress.read_text()) if progress.is_file() else {}
    shards = [Shard(**values) for values in state.get("shards", [])]
    if not state.get("complete"):
        behind = sum(shard.sentences for shard in shards)
        if behind:
            tell(f"{path.name}: going on behind sentence {behind}.")
        sentences = islice(read_sentences(path, normalize=normalize), behind, None)
        told = 0
        for numbers, shard in _numbered(sentences, dictionary, size):
            _write_bytes(folder / f"{len(shards):05}.i32", numbers)
            shards.append(shard)
            _write(
                progress,
                json.dumps({"complete": False, "shards": [asdict(item) for item in shards]}),
            )
            if (words := sum(item.tokens for item in shards)) >= told + TOLD:
                tell(f"{path.name}: {words / 1e6:.0f} M words.")
                told = words
        _write(
            progress, json.dumps({"complete": True, "shards": [asdict(item) for item in shards]})
        )
    return [(folder / f"{number:05}.i32", shard) for number, shard in enumerate(shards)]


def _numbered(
    sentences: Iterable[list[str]], dictionary: Dictionary, size: int
) -> Iterator[tuple[bytes, Shard]]:
    """Whole sentences until there are `size` numbers, as bytes, and what they are."""
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
    return np.array(numbers, "<i4").tobytes(), Shard(
        len(numbers), sentences, numbers.count(UNKNOWN)
    )


def _text_key(path: Path, folder: Path, normalize: bool) -> str:
    """Hash of a text's content and of how it is read; of a file whose size and time are the same, the one known."""
    try:
        status = path.stat()
    except OSError as error:
        raise TextError(f"The text {path} cannot be read: {error.strerror}.") from None
    known = folder / "hashes.json"
    hashes = json.loads(known.read_text()) if known.is_file() else {}
    mark = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    if mark not in hashes:
        with path.open("rb") as file:
            hashes[mark] = _digest(iter(lambda: file.read(1 << 20), b""))
        folder.mkdir(parents=True, exist_ok=True)
        _write(known, json.dumps(hashes))
    return hashlib.sha256(f"{FORMAT} {normalize} {hashes[mark]}".encode()).hexdigest()[:32]


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    _write_bytes(path, text.encode())


def _write_bytes(path: Path, content: bytes) -> None:
    """Beside it first and then renamed: a file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
