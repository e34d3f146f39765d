"""Transcripts without recordings, and what a normaliser's account of a text leaves of it."""

from collections import Counter

import numpy as np

from lm.text.normalization import Changes


class Texts:
    """Recordings of ten seconds, of which only the texts matter."""

    def __init__(self, texts):
        self.texts = list(texts)
        self.ids = [f"u{number}" for number in range(len(self.texts))]
        self.lengths = np.full(len(self.texts), 160_000)


def accounted(text: str, changes: Changes) -> Counter[str]:
    """The characters of a text after the changes; negative where one was not there to change."""
    account = Counter(text)
    for (_, before, after), count in changes.counts.items():
        for character in before:
            account[character] -= count
        for character in after:
            account[character] += count
    return account
