"""n-gram models in the compiled library: made of a file once, then mapped into memory.

The library builds a backoff automaton (see `lm.ngram.arpa_automaton`) and writes it to a cache
file named by the content of the ARPA file. Scores and states are those of KenLM: log10, summed in
float32, and a history that no n-gram continues is replaced by the next shorter one.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import os
import shutil
import tempfile
import time
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from lm.language_model import LanguageModelError
from lm.native.library import is_built, native, pointer
from lm.ngram.arpa import ArpaError
from lm.ngram.arpa_automaton import read_automaton
from lm.ngram.checksum import is_whole, stamp
from lm.ngram.kenlm import check_file
from lm.ngram.kenlm_binary import arpa_text, is_binary
from lm.ngram.layout import AutomatonArrays, write_automaton
from storage.hashing import remembered_hash
from storage.whole import whole_file

BLOCK = 1 << 22  # bytes read at a time
NOT_WRITTEN = "cannot be cached"  # how the library's reasons begin that are about the disk
UNUSED_DAYS = 90  # without a read, after which a cached file is removed when a new one is made
# of what is in a cache: automata, lexicons, files of killed processes, and what older versions made
KINDS = (".automaton", ".lexicon", ".part", ".arrays")
FORMAT = 2  # of the cached file, part of its name: a change makes new files

T = TypeVar("T")


class CompiledNgramLM:
    """An n-gram model of the compiled library, behind the verbs of `LanguageModel`."""

    log_base = 10.0

    def __init__(self, path: Path, words: Sequence[str]) -> None:
        """path: what `automaton_file` made. words: the word of each index.

        Words that the model lacks score as its <unk>. Raises LanguageModelError for a damaged file.
        """
        library = native()
        self.handle = library.lm_open(os.fsencode(path))
        """What the library's functions take for this model."""
        if self.handle is None:
            raise LanguageModelError(
                f"The cached language model {path} cannot be used: {library.reason()}."
            )
        self._close = weakref.finalize(self, library.lm_close, self.handle)
        facts = np.zeros(7, np.uint64)
        library.lm_facts(self.handle, pointer(facts))
        *_, self._begin, self._end, unknown = (int(fact) for fact in facts)
        self.has_unknown = bool(unknown)
        """Whether the ARPA file gives <unk> a probability."""
        self.words = words
        self.indices = self.lookup(words)
        """(words,) uint32, the model's own number of each word; 0 for those it lacks."""

    def knows(self, word: str) -> bool:
        """Whether `word` is among the model's unigrams."""
        return bool(self.lookup([word])[0])

    def lookup(self, words: Sequence[str]) -> np.ndarray:
        """N words -> (N,) uint32, the model's own numbers; 0 for words that it lacks."""
        found = np.zeros(len(words), np.uint32)
        lines = "".join(f"{word}\n" for word in words)
        if "\0" in lines or lines.count("\n") > len(words):
            # The library reads lines up to a NUL, so what is no word of a line goes as no word.
            lines = "".join("\n" if {"\0", "\n"} & set(word) else f"{word}\n" for word in words)
        native().lm_index(self.handle, lines.encode(), len(words), pointer(found))
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
) -> tuple[CompiledNgramLM, list[str]]:
    """The model in an ARPA file, from the folder `cache`, where it is made once.

    words: the word of each index. A cached file that is damaged is made again without a word.
    Returns the model and the warnings: one sentence where the folder cannot be written.
    Raises LanguageModelError and ArpaError as `automaton_file` does.
    """
    return from_cache(arpa, cache, lambda path: CompiledNgramLM(path, words))


def from_cache(arpa: Path, cache: Path, opened: Callable[[Path], T]) -> tuple[T, list[str]]:
    """What `opened` makes of the file of an ARPA model in the folder `cache`, as `open_automaton`.

    opened: maps the file, which may be removed afterwards; raises LanguageModelError for a damaged
    one.
    """
    try:
        made = automaton_file(arpa, cache)
        try:
            return opened(made), []
        except LanguageModelError:
            made.unlink(missing_ok=True)
        return opened(automaton_file(arpa, cache)), []
    except OSError as error:
        with tempfile.TemporaryDirectory(prefix="w2v2-") as folder:
            model = opened(automaton_file(arpa, Path(folder)))
        return model, [
            f"{arpa} cannot be cached ({error.strerror or error}): it is read again each time."
        ]


def automaton_file(arpa: Path, cache: Path) -> Path:
    """The library's file of an n-gram model in the folder `cache`.

    arpa: an ARPA file, gzip by name, or a binary file of KenLM with its words.
    It is made where it is missing, and again where its checksum does not hold: in Python, which
    takes far longer, where the library was not built.

    Raises LanguageModelError for a missing file and a binary one that cannot be read, ArpaError for
    one that is not a complete ARPA model, OSError for a folder that cannot be written.
    """
    check_file(arpa)
    made = kept_path(arpa, cache)
    if made.is_file() and is_whole(made):
        # Note the read where the file system does not, for `remove_unused`.
        with contextlib.suppress(OSError):
            os.utime(made, ns=(time.time_ns(), made.stat().st_mtime_ns))
    else:
        cache.mkdir(parents=True, exist_ok=True)
        remove_unused(cache)
        with whole_file(made) as beside:
            if is_built():
                _build(arpa, beside)
                stamp(beside)
            else:
                write_automaton(_read_in_python(arpa), beside)
    return made


def kept_path(arpa: Path, cache: Path) -> Path:
    """Where `automaton_file` keeps the automaton of this content. Raises OSError."""
    return cache / f"{remembered_hash(arpa)}-{FORMAT}.automaton"


def remove_unused(cache: Path) -> None:
    """Remove what nobody has read for `UNUSED_DAYS` from a cache, so that it stays small."""
    oldest = time.time() - UNUSED_DAYS * 86_400
    for path in cache.iterdir():
        with contextlib.suppress(OSError):  # another process was quicker
            if path.suffix in KINDS and _last_use(path) < oldest:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def _last_use(path: Path) -> float:
    """When a file, or any file of a folder, was last read or written. Raises OSError."""
    files = list(path.iterdir()) if path.is_dir() else [path]
    return max((max(file.stat().st_atime, file.stat().st_mtime) for file in files), default=0.0)


def _build(arpa: Path, target: Path) -> None:
    library = native()
    reader = library.arpa_new()
    try:
        for block in _text(arpa):
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


def _read_in_python(path: Path) -> AutomatonArrays:
    if not is_binary(path):
        return read_automaton(path)
    with tempfile.TemporaryDirectory(prefix="w2v2-") as folder:
        arpa = Path(folder, "lm.arpa")
        with arpa.open("wb") as file:
            file.writelines(arpa_text(path))
        return read_automaton(arpa)


def _text(path: Path) -> Iterator[bytes]:
    """The text of an ARPA file, and what it would be of a binary file of KenLM, in pieces."""
    if is_binary(path):
        yield from arpa_text(path)
        return
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield file.read(BLOCK).removeprefix(codecs.BOM_UTF8)
        while block := file.read(BLOCK):
            yield block
