"""Estimation in the compiled library, for texts whose counts do not fit into memory.

The figures are those of `lm.ngram.kneser_ney`, which tests compare, and of KenLM's `lmplz`. Counts
are sorted runs on disk where they are more than the memory given; see `lm/native/estimation.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lm.native.library import native, pointer
from lm.ngram.arpa import arpa_file, write_arpa
from lm.ngram.kneser_ney import (
    EOS,
    NO_WORD,
    SPECIAL,
    Warn,
    count_ngrams,
    discounts_from,
    estimate,
    prune_thresholds,
)

PYTHON = 32 << 20  # bytes that reading the text takes beside the estimation
LEAST = 16 << 20  # bytes to estimate anything with


@dataclass(frozen=True)
class Request:
    """What is asked of an estimation."""

    order: int = 4
    """Words in the longest n-grams."""
    prune: Sequence[int] = ()
    """One threshold for each order, as `kneser_ney.estimate` takes them."""
    words: int | Iterable[str] | None = None
    """Words that the model has: so many, the most frequent ones, or these; None for all. N-grams
    with another word are left out, and what they were seen goes to shorter ones and to <unk>."""
    memory: int = 4 << 30
    """Bytes that the whole process may take."""
    folder: Path = Path("/tmp")
    """Where temporary files are."""


@dataclass(frozen=True)
class Estimated:
    """What was read and written."""

    sizes: tuple[int, ...]
    """Number of n-grams of each order."""
    words: int
    """Number of words in the text."""
    sentences: int
    """Number of sentences in the text."""
    types: int
    """Number of distinct words in the text, with <unk>, <s> and </s>."""
    disk: int
    """Most bytes that temporary files took at once."""
    runs: int
    """Sorted runs that were written to disk."""
    vocabulary: tuple[str, ...]
    """The words of the model, without <unk>, <s> and </s>."""


class NotEstimated(ValueError):
    """A text that no model can be estimated from, or settings that cannot be."""


Told = Callable[[int, int], None]


def estimate_arpa(
    blocks: Iterable[bytes],
    path: Path,
    request: Request,
    told: Told = lambda words, sentences: None,
    warn: Warn = lambda sentence: None,
) -> Estimated:
    """Estimate a model and write it as an ARPA file, gzip by name, whole or not at all.

    blocks: the text, whole lines of UTF-8, each a sentence of words between spaces; blank ones
    are left out.
    told: called with the number of words and of sentences when the text is read.
    warn: called with a sentence where an order uses the fallback discounts.

    Raises NotEstimated for a text without words, for one that uses <s>, </s> or <unk> as a word,
    and for settings that cannot be; OSError that names the file or folder where the disk is full
    or cannot be written; MemoryError. NativeMissing without the compiled library.
    """
    thresholds = prune_thresholds(request.prune, request.order)
    with _Estimation(request) as estimation:
        for block in blocks:
            estimation.feed(block)
        estimation.limit(request.words)
        words, sentences, types, *_ = estimation.facts()
        if not words:
            raise NotEstimated(NO_WORD)
        told(words, sentences)
        seen, kept = estimation.count(thresholds)
        estimation.discount(
            [discounts_from(row, n, warn) for n, row in enumerate(seen.tolist(), 1)]
        )
        sizes = tuple(kept.tolist())
        with arpa_file(path, sizes) as file:
            while text := estimation.text():
                file.write(text)
        *_, disk, runs = estimation.facts()
        vocabulary = estimation.vocabulary()
    return Estimated(sizes, words, sentences, types, disk, runs, vocabulary)


def estimate_in_memory(
    blocks: Iterable[bytes],
    path: Path,
    request: Request,
    told: Told = lambda words, sentences: None,
    warn: Warn = lambda sentence: None,
) -> Estimated:
    """As `estimate_arpa`, without the compiled library and however much memory it takes."""
    lines = (line.split() for block in blocks for line in block.decode().split("\n"))
    counts = count_ngrams((line for line in lines if line), request.order)
    raw = counts.orders[0].raw
    words, sentences = int(raw[len(SPECIAL) :].sum()), int(raw[SPECIAL.index(EOS)])
    told(words, sentences)
    model = estimate(counts, request.prune, warn, request.words)
    write_arpa(model, path)
    sizes = tuple(len(order.words) for order in model.orders)
    vocabulary = tuple(model.vocabulary[word] for word in model.orders[0].words[:, 0])
    return Estimated(
        sizes, words, sentences, len(counts.vocabulary), 0, 0, vocabulary[len(SPECIAL) :]
    )


def largest_files(words: int, order: int) -> int:
    """Bytes that temporary files take at most for a text of so many words, all n-grams distinct."""
    top = 4 * order + 8
    return words * (top + sum(4 * n + 8 for n in range(2, order + 1)))


class _Estimation:
    """The library's functions in a thread of their own, so that Ctrl-C is heard at any time.

    The text is read and spelled meanwhile.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.library = native()
        left = request.memory - _memory_in_use() - PYTHON
        if left < LEAST:
            least = -(-(request.memory - left + LEAST) >> 20)
            raise NotEstimated(
                f"--memory {request.memory >> 20}MB is too little: give {least}MB or more."
            )
        self.handle = self.library.estimate_new()
        if self.handle is None:
            raise MemoryError
        self.worker = ThreadPoolExecutor(1)
        self.pending: Any = None
        folder = os.fsencode(request.folder)
        try:
            self._call(self.library.estimate_begin, request.order, left, folder)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> _Estimation:
        return self

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        if kind is not None:
            self.library.estimate_stop(self.handle)
        self.worker.shutdown(cancel_futures=True)
        self.library.estimate_free(self.handle)

    def feed(self, block: bytes) -> None:
        """Count a block while the next one is read."""
        self._wait()
        self.pending = self.worker.submit(
            self._checked, self.library.estimate_feed, block, len(block)
        )

    def limit(self, words: int | Iterable[str] | None) -> None:
        self._wait()
        if isinstance(words, int):
            self._call(self.library.estimate_limit, words)
        elif words is not None:
            text = "\n".join(words).encode()
            self._call(self.library.estimate_allow, text, len(text))

    def count(self, thresholds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(order, 4) numbers of n-grams with a count of 1 to 4; (order,) those of the model."""
        order = self.request.order
        seen, kept = np.zeros((order, 4), np.uint64), np.zeros(order, np.uint64)
        limits = np.array(thresholds, np.uint64)
        self._call(self.library.estimate_count, pointer(limits), pointer(seen), pointer(kept))
        return seen, kept

    def discount(self, discounts: Sequence[np.ndarray]) -> None:
        given = np.ascontiguousarray(np.stack(discounts))
        self._call(self.library.estimate_discount, pointer(given))

    def text(self) -> bytes:
        """The next piece of the ARPA file; empty after the last."""
        return self._bytes(self.library.estimate_text)

    def vocabulary(self) -> tuple[str, ...]:
        words = self._bytes(self.library.estimate_vocabulary).decode()
        return tuple(words.split("\n")[:-1])

    def facts(self) -> list[int]:
        facts = np.zeros(5, np.uint64)
        self.library.estimate_facts(self.handle, pointer(facts))
        return [int(fact) for fact in facts]

    def _bytes(self, function: Callable[..., int]) -> bytes:
        data, size = ctypes.c_void_p(), ctypes.c_uint64()
        self._call(function, ctypes.byref(data), ctypes.byref(size))
        return ctypes.string_at(data, size.value) if size.value else b""

    def _call(self, function: Callable[..., int], *arguments: Any) -> None:
        self._wait()
        self.worker.submit(self._checked, function, *arguments).result()

    def _wait(self) -> None:
        if self.pending is not None:
            self.pending.result()
            self.pending = None

    def _checked(self, function: Callable[..., int], *arguments: Any) -> None:
        if function(self.handle, *arguments):
            return
        reason = self.library.estimate_error(self.handle).decode("utf-8", "replace")
        number = self.library.estimate_errno(self.handle)
        if number == errno.ENOMEM:
            raise MemoryError
        if number:
            raise OSError(number, os.strerror(number), str(self.request.folder))
        raise NotEstimated(reason)


def _memory_in_use() -> int:
    """Bytes that this process takes; where the system does not say, most bytes so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most << 10
