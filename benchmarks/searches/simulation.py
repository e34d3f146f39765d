"""Emissions like those of a CTC model, made from text.

Each symbol is a peak between blanks, and some letters are mistaken for others that sound like them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lm.text.vocabulary import Vocabulary

# Letters that models take for one another: English writes the same sound with each of a group.
ALIKE = ("AEIOUY", "CKQSZX", "TDH", "BPVFM", "GJ", "NM", "LR", "WUV", "SC'")
# Means and standard deviations. GAP, with the peak, makes 15 letters a second of 49 frames.
GAP = (2.0, 1.2)  # blank frames after a symbol
FLOOR = (-11.0, 1.6)  # log-odds of symbols that were not said
PEAK = (0.0, 1.5)  # log-odds of the likeliest symbol of a frame, relative to the blank
SECOND = (-7.0, 4.0)  # log-odds of the symbol that was said, where a rival wins
RIVAL = (-6.0, 2.5)  # log-odds of the rivals of a symbol that wins


@dataclass(frozen=True)
class Simulation:
    """A generator of emissions; the same seed gives the same ones."""

    vocabulary: Vocabulary
    mistaken: float
    """Share of letters and word boundaries where another symbol or the blank wins."""
    seed: int = 0

    def __call__(self, texts: list[str]) -> list[np.ndarray]:
        """Draw log-probabilities, float32 (T, V), for each text."""
        generator = np.random.default_rng(self.seed)
        return [self._emission(text, generator) for text in texts]

    def _emission(self, text: str, generator: np.random.Generator) -> np.ndarray:
        symbols = [
            self.vocabulary.index["|" if character == " " else character]
            for character in f"{text} "
        ]
        gaps = np.maximum(1, generator.normal(*GAP, len(symbols)).round().astype(int))
        holds = 1 + (generator.random(len(symbols)) < 0.25)
        starts = 5 + np.concatenate([[0], np.cumsum(gaps + holds)[:-1]])
        frames = int(starts[-1] + holds[-1] + 5)
        odds = generator.normal(*FLOOR, (frames, len(self.vocabulary.symbols)))
        odds[:, self.vocabulary.blank] = 0.0
        for symbol, start, hold in zip(symbols, starts, holds, strict=True):
            self._say(odds[start : start + hold], symbol, generator)
        odds -= np.log(np.exp(odds).sum(1, keepdims=True))
        return odds.astype(np.float32)

    def _say(self, odds: np.ndarray, symbol: int, generator: np.random.Generator) -> None:
        """Write one symbol into the log-odds of its frames, (hold, V)."""
        blank = self.vocabulary.blank
        rivals = self._rivals(symbol)
        odds[:, blank] = generator.normal(-4.0, 2.0)
        odds[:, rivals] = generator.normal(*RIVAL, len(rivals))
        if generator.random() >= self.mistaken:
            odds[:, rivals] = np.minimum(odds[:, rivals], -1.0)
            odds[:, symbol] = abs(generator.normal(*PEAK))
            odds[:, blank] = min(odds[0, blank], -0.5)
            return
        odds[:, symbol] = min(-0.2, generator.normal(*SECOND))
        winner = generator.choice([*rivals, blank])
        odds[:, winner] = abs(generator.normal(*PEAK))

    def _rivals(self, symbol: int) -> list[int]:
        name = self.vocabulary.symbols[symbol]
        alike = {letter for group in ALIKE if name in group for letter in group} - {name}
        return sorted(
            self.vocabulary.index[letter] for letter in alike if letter in self.vocabulary.index
        )
