"""Hot words: words that the user expects, and the bonus of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from lm.text.vocabulary import Vocabulary

WEIGHT = 5.0  # the bonus of a line without a number: e^5 times as likely


class HotwordsError(ValueError):
    """A list of hot words that cannot be read."""


def read_hotwords(path: Path) -> dict[str, float]:
    """Read `word` or `word weight` lines of a text file in UTF-8.

    A weight is added to the score (natural log) each time the word is said; a negative one makes
    the word rarer. Empty lines and what follows `#` are skipped; the last line of a word counts.

    Raises HotwordsError for a weight that is not a number, with its line, and for a file that
    cannot be read, is not text, or names no word.
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
        word, *rest = line.partition("#")[0].split() or [""]
        if word:
            found[word] = _weight(path, number, word, rest)
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
    found = {}
    for word, weight in hotwords.items():
        spelled = (w for w in (word, word.upper(), word.lower()) if vocabulary.can_spell([w]))
        found[next(spelled, word)] = weight
    return found


def _weight(path: Path, number: int, word: str, rest: list[str]) -> float:
    if not rest:
        return WEIGHT
    try:
        weight = float(rest[0]) if len(rest) == 1 else math.nan
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise HotwordsError(
            f"{path}, line {number}: after the word {word!r} comes its weight, a number, "
            f"not {' '.join(rest)!r}."
        )
    return weight
