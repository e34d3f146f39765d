"""n-gram models as backoff automata: read from an ARPA file once, cached by its content, mapped into memory after that.

Scores and states are KenLM's: log10, added up in float; histories that no n-gram goes on from are the next shorter one.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import tempfile
import time
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from lm.language_model import LanguageModelError
from lm.native.library import native, pointer
from lm.ngram.arpa import ArpaError
from lm.ngram.kenlm import check_file

BLOCK = 1 << 22  # bytes read at a time
NOT_WRITTEN = "cannot be cached"  # what the library says of a disk, not of the model
UNUSED_DAYS = 90  # after which a cached file goes when a new one comes
KINDS = (".automaton", ".lexicon", ".sha256", ".part")
FORMAT = 1  # of the cached file; another is another name


class NgramAutomaton:
    """A model mapped into memory, behind the three verbs; `words` are those that indices stand for."""

    log_base = 10.0

    def __init__(self, path: Path, words: Sequence[str]) -> None:
        """path: what `automaton_file` made. Words that the model lacks score as its <unk>."""
        library = native()
        self.handle = library.lm_open(os.fsencode(path))
        if self.handle is None:
            raise LanguageModelError(
                f"The cached language model {path} cannot be used: {library.reason()}."
            )
        self._close = weakref.finalize(self, library.lm_close, self.handle)
        facts = np.zeros(7, np.uint64)
        library.lm_facts(self.handle, pointer(facts))
        self.order, _, self.states, self.ngrams, self._begin, self._end, unknown = (
            int(fact) for fact in facts
        )
        self.has_unknown = bool(unknown)
        self.words = words
        self.indices = self.lookup(words)
        """(words,) uint32, the model's own number of each; 0 for those it lacks."""

    def knows(self, word: str) -> bool:
        """Whether `word` is among the model's unigrams."""
        return bool(self.lookup([word])[0])

    def lookup(self, words: Sequence[str]) -> np.ndarray:
        """The model's own numbers of words, (N,) uint32; 0 for those it lacks."""
        found = np.zeros(len(words), np.uint32)
        text = "".join(f"{word}\n" for word in words).encode()
        native().lm_index(self.handle, text, len(words), pointer(found))
        return found

    def start(self, count: int = 1) -> list[int]:
        """See `LanguageModel`."""
        return [self._begin] * count

    def score(self, states: Sequence[int], words: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """See `LanguageModel`."""
        scores, after = self._score(states, self.indices[np.asarray(words, np.int64)])
        return scores, after.tolist()

    def finish(self, states: Sequence[int]) -> np.ndarray:
        """See `LanguageModel`."""
        return self._score(states, np.full(len(states), self._end, np.uint32))[0]

    def _score(self, states: Sequence[int], indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = np.asarray(states, np.uint32)
        scores, after = np.zeros(len(before), np.float32), np.zeros(len(before), np.uint32)
        native().lm_score(
            self.handle,
            pointer(before),
            pointer(indices),
            len(before),
            pointer(scores),
            pointer(after),
        )
        return scores.astype(np.float64), after


def open_automaton(
    arpa: Path, cache: Path, words: Sequence[str]
) -> tuple[NgramAutomaton, list[str]]:
    """The automaton of an ARPA file, kept in `cache`; and a sentence if it cannot be, in which case it is made for now.

    One that was damaged since is made again. Raises as `automaton_file` does, but for OSError.
    """
    try:
        made = automaton_file(arpa, cache)
        try:
            return NgramAutomaton(made, words), []
        except LanguageModelError:
            made.unlink()
        return NgramAutomaton(automaton_file(arpa, cache), words), []
    except OSError as error:
        with tempfile.TemporaryDirectory(prefix="w2v2-") as folder:
            model = NgramAutomaton(
                automaton_file(arpa, Path(folder)), words
            )  # mapped, so it outlives its name
        return model, [
            f"{arpa} cannot be kept ready ({error.strerror or error}): it is read anew each time."
        ]


def automaton_file(arpa: Path, cache: Path) -> Path:
    """The automaton of an ARPA file (gzip by name) in the folder `cache`, made there unless it is.

    Raises LanguageModelError for a file that is not there, ArpaError for one that is no whole ARPA model, and OSError for a
    folder that cannot be written.
    """
    check_file(arpa)
    made = cache / f"{content_hash(arpa, cache)}-{FORMAT}.automaton"
    if made.is_file():
        with contextlib.suppress(OSError):  # read now, even where the disk keeps no such times
            os.utime(made, ns=(time.time_ns(), made.stat().st_mtime_ns))
    else:
        cache.mkdir(parents=True, exist_ok=True)
        remove_unused(cache)
        beside = made.with_name(f".{made.name}.{os.getpid()}.part")
        try:
            _build(arpa, beside)
            os.replace(beside, made)
        finally:
            beside.unlink(missing_ok=True)
    return made


def remove_unused(cache: Path) -> None:
    """Remove what nobody has read for `UNUSED_DAYS`: a cache that only grew would fill the disk."""
    oldest = time.time() - UNUSED_DAYS * 86_400
    for path in cache.iterdir():
        with contextlib.suppress(OSError):  # another process was quicker
            if (
                path.suffix in KINDS
                and path.is_file()
                and max(path.stat().st_atime, path.stat().st_mtime) < oldest
            ):
                path.unlink()


def _build(arpa: Path, target: Path) -> None:
    library = native()
    reader = library.arpa_new()
    try:
        with _opened(arpa) as file:
            while block := file.read(BLOCK):
                if not library.arpa_feed(reader, block, len(block)):
                    raise ArpaError(f"{arpa} {library.reason()}.")
        if not library.arpa_write(reader, os.fsencode(target)):
            if (reason := library.reason()).startswith(NOT_WRITTEN):
                raise OSError(f"{target.parent} {reason}")
            raise ArpaError(f"{arpa} {reason}.")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ArpaError(f"{arpa} is cut short or damaged: {error}.") from None
    finally:
        library.arpa_free(reader)


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def content_hash(path: Path, cache: Path) -> str:
    """SHA-256 of a file's content, remembered in the folder `cache` for as long as the file's size and time stay."""
    status = path.stat()
    name = f"{path.resolve()} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
    note = cache / f"{hashlib.sha256(os.fsencode(name)).hexdigest()}.sha256"
    with contextlib.suppress(OSError, ValueError):  # none, or damaged
        if len(bytes.fromhex(known := note.read_text())) == 32:
            return known
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    with contextlib.suppress(OSError):  # the next call computes it again
        cache.mkdir(parents=True, exist_ok=True)
        beside = note.with_name(f".{note.name}.{os.getpid()}.part")
        beside.write_text(digest.hexdigest())
        os.replace(beside, note)
    return digest.hexdigest()
