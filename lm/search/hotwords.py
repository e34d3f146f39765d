"""Hot words: words that the user expects, and how much each is favoured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

WEIGHT = 5.0  # of a line that names none: e^5 times as likely


class HotwordsError(ValueError):
    """A list of hot words that cannot be read."""


def read_hotwords(path: Path) -> dict[str, float]:
    """`word` or `word weight` lines; empty lines and those after `#` do not count, and the last line of a word does.

    A weight is added to the score (natural log) each time the word is said; below zero it is said less. Raises
    HotwordsError with the line for what is no number, and for a file that is no text or names no word.
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
    """The words as the alphabet can spell them: people write `Kubernetes` for a model that knows capitals alone."""
    found = {}
    for word, weight in hotwords.items():
        spelled = (w for w in (word, word.upper(), word.lower()) if vocabulary.can_spell([w]))
        found[next(spelled, word)] = weight
    return found


def with_hotwords(
    lexicon: Lexicon, hotwords: Mapping[str, float], vocabulary: Vocabulary
) -> tuple[Lexicon, list[str]]:
    """The lexicon with the hot words that it lacks, spelled by the alphabet, and a sentence for each that cannot be.

    Raises LexiconError for phones, which no rule makes of a word.
    """
    new = [word for word in hotwords if word not in lexicon.spellings]
    if not new:
        return lexicon, []
    added = Lexicon.from_words(new, vocabulary)
    told = [
        f"The hot word {word!r} cannot be spelled in the model's alphabet."
        for word in added.unspellable
    ]
    return Lexicon(lexicon.spellings | added.spellings, lexicon.unspellable), told


def _weight(path: Path, number: int, word: str, rest: list[str]) -> float:
    if not rest:
        return WEIGHT
    try:
        weight = float(rest[0]) if len(rest) == 1 else math.nan
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise HotwordsError(
            f"{path}, line {number}: after the word {word!r} comes its weight, a number, not {' '.join(rest)!r}."
        )
    return weight
