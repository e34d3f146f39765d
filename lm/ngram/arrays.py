"""Backoff automata as arrays: kept on disk, mapped into memory, and looked up on a device.

The batched search uses them. An ARPA file is read once, by the compiled library where it was built
and by `lm.ngram.arpa_automaton` otherwise; after that its arrays are mapped from the cache.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lm.language_model import UNK
from lm.native.library import is_built
from lm.ngram.arpa_automaton import AutomatonArrays, read_automaton
from lm.ngram.automaton import automaton_file
from lm.ngram.kenlm import check_file
from storage.hashing import file_hash, remembered_hash
from storage.whole import whole_folder

FORMAT = 2  # of a kept folder, part of its name: a change makes new folders
SUMS = "sha256.txt"  # the hash of each other file of the folder, as sha256sum writes it
ARRAYS = ("keys", "scores", "targets", "shorter", "backoff")
ARC = np.dtype(
    [("state", np.uint32), ("word", np.uint32), ("target", np.uint32), ("score", np.float32)]
)
HEADER = struct.Struct("=8s7Q6I")  # as in lm/native/automaton.h
LINE = 64  # bytes; each part of that file begins at a multiple
EMPTY = 0xFFFFFFFF  # state of an unused place in the hash table of arcs


def kept_automaton(arpa: Path, cache: Path) -> tuple[AutomatonArrays, list[str]]:
    """The automaton of an ARPA file, mapped from the folder `cache`, where it is made once.

    Returns it and the warnings: one sentence where the folder cannot be written.
    Raises LanguageModelError for a missing file, ArpaError for one that is not a complete ARPA
    model.
    """
    check_file(arpa)
    folder = cache / f"{remembered_hash(arpa)}-{FORMAT}.arrays"
    if folder.is_dir():
        try:
            return _mapped(folder), []
        except (ValueError, OSError, EOFError):
            shutil.rmtree(folder, ignore_errors=True)  # damaged: it is made again
    made = _made(arpa, cache)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _keep(made, folder)
    except OSError as error:
        return made, [f"{arpa} cannot be cached ({error.strerror}): it is read again each time."]
    return _mapped(folder), []


def _made(arpa: Path, cache: Path) -> AutomatonArrays:
    if not is_built():
        return read_automaton(arpa)
    try:
        return from_compiled(automaton_file(arpa, cache))
    except OSError:  # the cache cannot be written: the caller warns when it cannot keep this either
        with tempfile.TemporaryDirectory(prefix="w2v2-") as folder:
            return from_compiled(automaton_file(arpa, Path(folder)))


def from_compiled(path: Path) -> AutomatonArrays:
    """The automaton in a file of the compiled library: its hash table of arcs, sorted.

    path: what `lm.ngram.automaton.automaton_file` made.
    """
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
    return AutomatonArrays(
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


def _keep(automaton: AutomatonArrays, folder: Path) -> None:
    with whole_folder(folder) as beside:
        for name in ARRAYS:
            np.save(beside / f"{name}.npy", getattr(automaton, name))
        words = "".join(f"{word}\n" for word in automaton.vocabulary)
        (beside / "words.txt").write_text(
            f"{automaton.order} {automaton.start}\n{words}", encoding="utf-8"
        )
        names = [*(f"{name}.npy" for name in ARRAYS), "words.txt"]
        sums = "".join(f"{file_hash(beside / name)}  {name}\n" for name in names)
        (beside / SUMS).write_text(sums)


def _mapped(folder: Path) -> AutomatonArrays:
    for line in (folder / SUMS).read_text().splitlines(keepends=True):
        digest, name = line.rstrip("\n").split("  ")
        if remembered_hash(folder / name) != digest:
            raise ValueError(f"{folder / name} is damaged.")
    first, *words = (folder / "words.txt").read_text(encoding="utf-8").split("\n")[:-1]
    order, start = map(int, first.split())
    # Copy on write, since torch warns about arrays that it could not write to.
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="c") for name in ARRAYS]
    return AutomatonArrays(
        {word: number for number, word in enumerate(words)}, order, start, *arrays
    )


class NgramTensors:
    """An automaton on a device, looked up for many (state, word) pairs at once.

    It has the verbs that the batched search asks of a language model: states are int64 tensors,
    scores float64 log10. Legend: P pairs of a state and a word.
    """

    log_base = 10.0

    def __init__(
        self, automaton: AutomatonArrays, words: Sequence[str], device: torch.device
    ) -> None:
        """words: the word of each index; those that the model lacks score as its <unk>."""
        vocabulary = automaton.vocabulary
        unknown = vocabulary[UNK]
        self._words = torch.tensor(
            [vocabulary.get(word, unknown) for word in words], dtype=torch.int64, device=device
        )
        self._end, self._size, self._order = vocabulary["</s>"], len(vocabulary), automaton.order
        self._start, self._device = automaton.start, device
        self._keys, self._scores, self._targets, self._shorter, self._backoff = (
            torch.from_numpy(getattr(automaton, name)).to(device) for name in ARRAYS
        )

    def begin(self) -> None:
        """Do nothing: no state depends on earlier utterances."""

    def start(self, count: int) -> Tensor:
        """(count,) states at the beginning of a sentence."""
        return torch.full((count,), self._start, dtype=torch.int64, device=self._device)

    def expect(self, states: Tensor) -> None:
        """Do nothing: every score is in the tables already."""

    def score(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """(P,) states and words -> (P,) log10 p(word | state), and the (P,) states after them."""
        return self._looked_up(states, self._words[words])

    def finish(self, states: Tensor) -> Tensor:
        """(P,) states -> (P,) log10 p(the sentence ends here)."""
        return self._looked_up(states, torch.full_like(states, self._end))[0]

    def first_scores(self) -> Tensor:
        """(words,) log10 p of each word at the beginning of a sentence."""
        words = torch.arange(len(self._words), device=self._device)
        return self.score(self.start(len(words)), words)[0]

    def _looked_up(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.zeros(len(states), dtype=torch.float32, device=self._device)
        arcs = torch.zeros_like(states)
        lacking = torch.ones_like(states, dtype=torch.bool)
        for _ in range(self._order):  # after at most this many steps every pair has its arc
            wanted = states * self._size + words
            at = torch.searchsorted(self._keys, wanted).clamp_(max=len(self._keys) - 1)
            found = lacking & (self._keys[at] == wanted)
            arcs = torch.where(found, at, arcs)
            lacking = lacking & ~found
            total = torch.where(lacking, total + self._backoff[states], total)
            states = torch.where(lacking, self._shorter[states], states)
        return (total + self._scores[arcs]).double(), self._targets[arcs]
