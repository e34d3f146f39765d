"""Whether lexicon, alphabet and language model belong together, told in sentences; whatever engine searches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lm.text.vocabulary import Vocabulary

FEWEST_SPELLED = 0.9  # share of the lexicon's words that the alphabet should spell
FEWEST_KNOWN = (
    0.9  # share of them that the language model should know; below, somebody mixed up files
)
STRANGERS = 0.01  # a share that chance explains: the two have nothing to do with each other
PROBES = 20  # words looked up in the other case, to tell the user when that is all that is wrong
EXAMPLES = 5


class SearchError(ValueError):
    """A search that cannot be set up from what it was given."""


class Spelled(Protocol):
    """Words, and those that the alphabet cannot write."""

    @property
    def unspellable(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...


def check_spelling(lexicon: Spelled, vocabulary: Vocabulary) -> list[str]:
    """Hold the lexicon against the alphabet: warnings, or SearchError where it can spell no word."""
    left_out = lexicon.unspellable
    if not len(lexicon):
        alphabet = " ".join(sorted(vocabulary.letters))
        if not left_out:
            raise SearchError("The lexicon holds no word.")
        other_case = [word for word in left_out if vocabulary.can_spell([word.swapcase()])]
        why = (
            f"; it could spell {other_case[0].swapcase()!r}: the letters differ in case"
            if other_case
            else ""
        )
        raise SearchError(
            f"The model's alphabet ({alphabet}) can spell none of the lexicon's {len(left_out)} words, "
            f"{examples(left_out)} for example{why}."
        )
    if not left_out:
        return []
    share = len(left_out) / (len(left_out) + len(lexicon))
    mixed_up = ": do model and lexicon belong together?" if share > 1 - FEWEST_SPELLED else "."
    return [
        f"{len(left_out)} of the lexicon's words ({share:.1%}) cannot be spelled in the model's alphabet "
        f"and are left out, {examples(left_out)} for example{mixed_up}"
    ]


def case_probes(words: Sequence[str]) -> list[str]:
    """A few of a lexicon's words in the other case, for `check_words`."""
    known = set(words)
    probes = [word.swapcase() for word in sorted(words, key=len)[:PROBES]]
    return [word for word in dict.fromkeys(probes) if word not in known]


def check_words(
    lm_path: Path, words: Sequence[str], known: Sequence[bool], probes: Sequence[str]
) -> list[str]:
    """Hold the lexicon against the language model: warnings, or SearchError where they are strangers.

    known: of each of `words` whether the model knows it. probes: those of `case_probes` that it knows.
    """
    strangers = [word for word, is_known in zip(words, known, strict=True) if not is_known]
    share = 1 - len(strangers) / len(words)
    if share >= FEWEST_KNOWN:
        return []
    told = f"{lm_path} knows {len(words) - len(strangers)} of the lexicon's {len(words)} words ({share:.0%})"
    if probes and share < 0.5:
        raise SearchError(
            f"{told}: not {probes[0].swapcase()!r}, but {probes[0]!r}. Bring language model and lexicon to one case."
        )
    if share < STRANGERS:
        raise SearchError(
            f"{told}: not {examples(strangers)} for example. Do they belong together?"
        )
    return [f"{told}; it lacks {examples(strangers)} for example. Do they belong together?"]


def examples(words: Sequence[str]) -> str:
    """The first few of many words, quoted."""
    return ", ".join(repr(word) for word in words[:EXAMPLES])
