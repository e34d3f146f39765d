"""Hot words: words and phrases that the user expects, and the bonus of each.

A phrase is words with a space between them. Its bonus counts each time its words are said one after
another; phrases that overlap count each. A word of them that a language model lacks is scored as
unknown, but not below a floor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lm.text.vocabulary import Vocabulary

WEIGHT = 5.0  # the bonus of a line without a number: e^5 times as likely


class HotwordsError(ValueError):
    """A list of hot words that cannot be read."""


def read_hotwords(path: Path) -> dict[str, float]:
    """Read `word`, `several words` or `words weight` lines of a text file in UTF-8.

    The last of several words is the weight if it is a number. It is added to the score (natural
    log) each time the word or phrase is said; a negative one makes it rarer. Empty lines and what
    follows `#` are skipped; the last line of a word counts.

    Raises HotwordsError for a weight that is not finite, with its line, and for a file that cannot
    be read, is not text, or names no word.
    """
    found: dict[str, float] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise HotwordsError(f"The list of hot words {path} is not UTF-8 text.") from None
    except OSError as error:
        raise HotwordsError(
            f"The list of hot words {path} cannot be read: {error.strerror}."
        ) from None
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        weight = _weight(path, number, words)
        if words:
            found[" ".join(words)] = weight
    if not found:
        raise HotwordsError(
            f"The list of hot words {path} names none: write `word` or `word weight` lines."
        )
    return found


def in_the_alphabets_case(
    hotwords: Mapping[str, float], vocabulary: Vocabulary
) -> dict[str, float]:
    """The hot words in a case that the alphabet can spell: as given, else upper, else lower.

    People write `Kubernetes` for a model of capital letters.
    """

    def spelled(word: str) -> str:
        cases = (w for w in (word, word.upper(), word.lower()) if vocabulary.can_spell([w]))
        return next(cases, word)

    return {" ".join(map(spelled, words.split())): weight for words, weight in hotwords.items()}


def bonus_of(words: Sequence[str], hotwords: Mapping[str, float]) -> float:
    """What hot words and phrases add to the score of `words`, said one after another."""
    if not hotwords:
        return 0.0
    longest = max(phrase.count(" ") + 1 for phrase in hotwords)
    return sum(
        hotwords.get(" ".join(words[start : start + length]), 0.0)
        for start in range(len(words))
        for length in range(1, min(longest, len(words) - start) + 1)
    )


def _weight(path: Path, number: int, words: list[str]) -> float:
    """Take the weight off the end of a line's words."""
    if len(words) < 2:
        return WEIGHT
    try:
        weight = float(words[-1])
    except ValueError:
        return WEIGHT
    if not math.isfinite(weight):
        raise HotwordsError(
            f"{path}, line {number}: the weight of {' '.join(words[:-1])!r} must be finite, "
            f"got {words[-1]!r}."
        )
    del words[-1]
    return weight
