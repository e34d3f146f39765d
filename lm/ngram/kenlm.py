"""n-gram models of words, read and scored by KenLM."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lm.language_model import LanguageModelError
from lm.ngram.arpa import SPECIALS, read_ngrams, read_unigrams

BINARY_START = b"mmap lm http://kheafield.com/code format version 5\n"
# After that line, padded to 56 bytes, and 32 of numbers that tell the machine: order, a float, the
# kind of model, whether the words are at the end of the file, a version; then the counts.
PARAMETERS = struct.Struct("<88xB3xfI?3xIQ")
COUNTS = 108  # byte where the counts begin
TRIE = 2  # the first kind of model that is a trie; those before it are hash tables
MISSING_UNK = -100.0  # log10 p(<unk>) of a model without it
ARPA_NAMES = (".arpa", ".arpa.gz")
EXCEPTION = re.compile(r"threw \w+Exception(?: because `.*?')?\. ")  # what precedes a reason
LONGEST_REASON = 160  # characters; KenLM quotes lines of the file, of any length


class NgramLM:
    """A model of the kenlm package, behind the verbs of `LanguageModel`; scores are log10."""

    log_base = 10.0

    def __init__(self, path: Path, words: Sequence[str] | None = None) -> None:
        """path: an ARPA file, gzip by name, or a binary file of KenLM.

        words: the word of each index; by default the unigrams of the ARPA file, without specials.
        Words that the model lacks score as its <unk>.

        Raises LanguageModelError for a file that cannot be read, and for a binary file without
        `words`; ImportError where kenlm is not installed (it has no build for Python 3.13).
        """
        import kenlm

        check_file(path)
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self._model: Any = kenlm.Model(str(path), config)
        except OSError as error:
            raise LanguageModelError(why_unreadable(path, str(error))) from None
        except UnicodeDecodeError as error:  # KenLM quotes the file, which is not text
            message = error.object.decode(errors="replace")
            raise LanguageModelError(why_unreadable(path, message)) from None
        if words is None and not is_arpa(path):
            raise LanguageModelError(
                f"{path} does not list its words as an ARPA file does: pass them too."
            )
        self.words: Sequence[str] = read_unigrams(path) if words is None else words
        self._new_state = kenlm.State

    @property
    def order(self) -> int:
        """Words in the longest n-gram."""
        return int(self._model.order)

    def knows(self, word: str) -> bool:
        """Whether `word` is among the model's unigrams."""
        return word in self._model

    def start(self, count: int = 1) -> list[Any]:
        """See `LanguageModel`."""
        state = self._new_state()
        self._model.BeginSentenceWrite(state)
        return [state] * count

    def score(self, states: Sequence[Any], words: Sequence[int]) -> tuple[np.ndarray, list[Any]]:
        """See `LanguageModel`."""
        after = [self._new_state() for _ in states]
        rows = zip(states, words, after, strict=True)
        return np.array(
            [self._model.BaseScore(state, self.words[word], new) for state, word, new in rows]
        ), after

    def finish(self, states: Sequence[Any]) -> np.ndarray:
        """See `LanguageModel`."""
        nowhere = self._new_state()
        return np.array([self._model.BaseScore(state, "</s>", nowhere) for state in states])


def is_arpa(path: Path) -> bool:
    """Whether a file has the name of an ARPA file: `.arpa` or `.arpa.gz`."""
    return path.name.endswith(ARPA_NAMES)


def listed_words(path: Path) -> list[str]:
    """The words of an ARPA file or of a binary file of KenLM, without <s>, </s> and <unk>.

    Raises LanguageModelError for a binary file that does not list them, and as `read_unigrams`
    does; OSError.
    """
    with path.open("rb") as file:
        binary = file.read(len(BINARY_START)) == BINARY_START
    if not binary:
        return read_unigrams(path)
    words = binary_words(path)
    if words is None:
        raise LanguageModelError(
            f"{path} was built without its words: give them by --lexicon, a line for each word and "
            "its spelling, or give the ARPA file that it was built from."
        )
    return words


def lists_words(path: Path) -> bool:
    """Whether a file is a binary one of KenLM whose words stand at its end."""
    try:
        with path.open("rb") as file:
            head = file.read(PARAMETERS.size)
    except OSError:
        return False
    if len(head) < PARAMETERS.size or not head.startswith(BINARY_START):
        return False
    return bool(PARAMETERS.unpack(head)[3])


def binary_words(path: Path) -> list[str] | None:
    """The words that KenLM's build_binary writes at the end of a file, without <s>, </s>, <unk>.

    None where it wrote none (it can be told so), and for a file that is not of this format.
    Raises OSError.
    """
    with path.open("rb") as file:
        head = file.read(PARAMETERS.size)
        if len(head) < PARAMETERS.size or not head.startswith(BINARY_START):
            return None
        order, _, kind, has_words, _, count = PARAMETERS.unpack(head)
        if not has_words:
            return None
        if kind < TRIE:  # its count may leave <unk> out; the number of words begins the vocabulary
            file.seek(-(-(COUNTS + 8 * order) // 8) * 8 + 4)
            count = int.from_bytes(file.read(4), "little")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            # <unk> is the first one, and the end of the last word is that of the file.
            start = content.rfind(b"<unk>\0")
            ending = content[start:] if start >= 0 else b""
    words = ending.decode("utf-8", "surrogateescape").split("\0")[:-1]
    if not ending.endswith(b"\0") or len(words) != count:
        return None
    return [word for word in words if word not in SPECIALS]


def check_file(path: Path) -> None:
    """Raise LanguageModelError unless `path` is a file that can be opened."""
    if not path.is_file():
        raise LanguageModelError(f"There is no language model at {path}.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise LanguageModelError(
            f"The language model {path} cannot be opened: {error.strerror}."
        ) from None


def why_unreadable(path: Path, kenlm_says: str) -> str:
    """A sentence that says why KenLM refused a file; for an ARPA file, where it is wrong.

    kenlm_says: the message of KenLM's exception.
    """
    if is_arpa(path):
        try:
            for _ in read_ngrams(path):
                pass
        except ValueError as error:
            return str(error)
    reason = EXCEPTION.split(" ".join(kenlm_says.split()))[-1]
    reason = re.sub(r"(\.? Run build_binary [^.]*)?\.? Byte: \d+\)?$", "", reason).rstrip(".")
    shown = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"
    return f"{path} cannot be read as an ARPA or KenLM file: {shown}."
