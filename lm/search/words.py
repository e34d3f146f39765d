"""The words of a path that a lexicon search found, with their times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lm.hypothesis import Word
from lm.search.greedy import Run, timed_word
from lm.text.vocabulary import Vocabulary


def completed_words(
    frames: np.ndarray,
    runs: Sequence[Run],
    completed: Sequence[tuple[int, str | None]],
    vocabulary: Vocabulary,
) -> Iterator[Word]:
    """Words by the frame on which the lexicon completed them: theirs are the letters since the word before.

    A word whose name is None, one outside the lexicon, is called what its letters spell.
    """
    letters = [run for run in runs if vocabulary.symbols[run[2]] in vocabulary.letters]
    at = 0
    for frame, text in completed:
        first = at
        while at < len(letters) and letters[at][0] <= frame:
            at += 1
        if at > first:
            yield timed_word(frames, letters[first:at], vocabulary, text)
