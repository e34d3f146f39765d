"""Backoff automata for the batched search, kept as arrays: read from an ARPA file once, mapped into memory after that.

Where the package was built with its compiled part, that reads the ARPA file; else Python does, which takes minutes for
millions of n-grams.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np

from lm.native.library import is_built
from lm.ngram.arrays import BackoffAutomaton, read_automaton
from lm.ngram.automaton import automaton_file, content_hash
from lm.ngram.kenlm import check_file

FORMAT = 1  # of the kept folder; another is another name
ARRAYS = ("keys", "scores", "targets", "shorter", "backoff")
ARC = np.dtype(
    [("state", np.uint32), ("word", np.uint32), ("target", np.uint32), ("score", np.float32)]
)
HEADER = struct.Struct("=8s7Q4I")  # of lm/native/automaton.h
LINE = 64  # bytes to whose multiples the parts of that file are filled up
EMPTY = 0xFFFFFFFF


def kept_automaton(arpa: Path, cache: Path) -> tuple[BackoffAutomaton, list[str]]:
    """The automaton of an ARPA file from the folder `cache`, made there unless it is; and a sentence if it cannot be kept.

    Raises LanguageModelError for a file that is not there, or no whole ARPA model.
    """
    check_file(arpa)
    folder = cache / f"{content_hash(arpa, cache)}-{FORMAT}.arrays"
    if folder.is_dir():
        try:
            return _mapped(folder), []
        except (ValueError, OSError, EOFError):
            shutil.rmtree(folder)  # damaged: it is made again
    made = _made(arpa, cache)
    try:
        _keep(made, folder)
    except OSError as error:
        return made, [f"{arpa} cannot be kept ready ({error.strerror}): it is read anew each time."]
    return _mapped(folder), []


def _made(arpa: Path, cache: Path) -> BackoffAutomaton:
    if not is_built():
        return read_automaton(arpa)
    try:
        return from_native(automaton_file(arpa, cache))
    except OSError:  # of the cache: the caller says so when it cannot keep this one either
        with tempfile.TemporaryDirectory(prefix="w2v2-") as folder:
            return from_native(automaton_file(arpa, Path(folder)))


def from_native(path: Path) -> BackoffAutomaton:
    """The automaton in a file of the compiled search: the same states, its hash table of arcs in order."""
    with path.open("rb") as file:
        _, order, words, states, arcs, slots, letters, _, begin, *_ = HEADER.unpack(
            file.read(HEADER.size)
        )
        sizes = (arcs * ARC.itemsize, states * 4, states * 4, words * 8, slots * 4, letters)
        at, places = _filled(HEADER.size), list[int]()
        for size in sizes:
            places.append(at)
            at += _filled(size)
        memory = np.memmap(file, np.uint8, "r")
    parts = [memory[place : place + size] for place, size in zip(places, sizes, strict=True)]
    table = parts[0].view(ARC)
    table = table[table["state"] != EMPTY]
    keys = table["state"].astype(np.int64) * words + table["word"]
    rising = np.argsort(keys)
    text, ends = bytes(parts[5]), parts[3].view(np.uint64).tolist()
    names = [
        text[i:j].decode("utf-8", "replace") for i, j in zip([0, *ends[:-1]], ends, strict=True)
    ]
    return BackoffAutomaton(
        {name: number for number, name in enumerate(names)},
        order,
        begin,
        keys[rising],
        table["score"][rising],
        table["target"][rising].astype(np.int64),
        parts[2].view(np.uint32).astype(np.int64),
        np.array(parts[1].view(np.float32)),
    )


def _filled(size: int) -> int:
    return -(-size // LINE) * LINE


def _keep(automaton: BackoffAutomaton, folder: Path) -> None:
    """Write the folder, beside it first and then renamed; another process may have been faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".arrays-", dir=folder.parent))
    try:
        for name in ARRAYS:
            np.save(beside / f"{name}.npy", getattr(automaton, name))
        words = "".join(f"{word}\n" for word in automaton.vocabulary)
        (beside / "words.txt").write_text(
            f"{automaton.order} {automaton.start}\n{words}", encoding="utf-8"
        )
        with contextlib.suppress(FileExistsError):
            if not folder.is_dir():
                os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _mapped(folder: Path) -> BackoffAutomaton:
    first, *words = (folder / "words.txt").read_text(encoding="utf-8").split("\n")[:-1]
    order, start = map(int, first.split())
    # Copy on write: torch wants arrays that could be written.
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="c") for name in ARRAYS]
    return BackoffAutomaton(
        {word: number for number, word in enumerate(words)}, order, start, *arrays
    )
