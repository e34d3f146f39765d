"""The best path: the likeliest symbol of each frame, repeats merged, blanks dropped.

Legend: B utterances, T frames, V symbols.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lm.hypothesis import Hypothesis, Word
from lm.text.pieces import MARK
from lm.text.vocabulary import Vocabulary

Run = tuple[int, int, int]  # first frame, frame after the last, symbol


def greedy_search(
    emissions: np.ndarray, lengths: Sequence[int], vocabulary: Vocabulary
) -> list[list[Hypothesis]]:
    """(B, T, V) float32 log-probabilities and (B,) valid frames -> one hypothesis an utterance.

    Raises ValueError where the emissions have another number of symbols or contain NaN.
    """
    found = []
    for emission, length in zip(emissions, lengths, strict=True):
        frames = valid_frames(emission, length, vocabulary)
        path = frames.argmax(1) if length else np.zeros(0, np.int64)
        runs = spoken_runs(path, vocabulary)
        words = [timed_word(frames, word, vocabulary) for word in split_words(runs, vocabulary)]
        score = float(frames[np.arange(length), path].sum(dtype=np.float64))
        symbols, starts = (
            tuple(symbol for _, _, symbol in runs),
            tuple(start for start, _, _ in runs),
        )
        found.append([Hypothesis(tuple(words), symbols, starts, score, 0.0, score)])
    return found


def valid_frames(emission: np.ndarray, length: int, vocabulary: Vocabulary) -> np.ndarray:
    """(T, V) padded log-probabilities -> (length, V). Raises ValueError as `greedy_search` does."""
    frames = emission[:length]
    if frames.shape != (length, len(vocabulary.symbols)):
        raise ValueError(
            f"An emission of {length} frames over {len(vocabulary.symbols)} symbols was expected, "
            f"got {frames.shape}."
        )
    if np.isnan(frames).any():
        at = int(np.isnan(frames).any(1).argmax())
        raise ValueError(
            f"The acoustic model's output is not a number from frame {at} on: its weights are "
            "damaged."
        )
    return frames


def spoken_runs(path: np.ndarray, vocabulary: Vocabulary) -> list[Run]:
    """(T,) symbol of each frame -> the runs of equal symbols, without those of the blank."""
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    edges = [*starts.tolist(), len(path)]
    runs = zip(edges[:-1], edges[1:], path[starts].tolist(), strict=True)
    return [run for run in runs if run[2] != vocabulary.blank]


def timed_word(
    emission: np.ndarray, runs: Sequence[Run], vocabulary: Vocabulary, text: str | None = None
) -> Word:
    """The word that `runs` of (T, V) log-probabilities write.

    text: the word's name in a lexicon; None to take what the symbols spell.
    """
    scores = np.concatenate([emission[start:end, symbol] for start, end, symbol in runs])
    confidence = float(np.exp(min(scores.mean(dtype=np.float64), 0.0)))
    spelled = vocabulary.text(symbol for _, _, symbol in runs) if text is None else text
    return Word(spelled, runs[0][0], runs[-1][1], confidence)


def split_words(runs: Sequence[Run], vocabulary: Vocabulary) -> list[list[Run]]:
    """Group runs by word: at boundaries, or where a piece bears the mark of a word's beginning.

    Phones, and other symbols of an alphabet without a boundary, are a word each.
    """
    words: list[list[Run]] = [[]]
    for run in runs:
        symbol = vocabulary.symbols[run[2]]
        if run[2] == vocabulary.word_boundary:
            words.append([])
        elif symbol in vocabulary.letters:
            alone = vocabulary.word_boundary is None and vocabulary.units != "pieces"
            if alone or (vocabulary.units == "pieces" and symbol.startswith(MARK)):
                words.append([])
            words[-1].append(run)
    return [
        word for word in words if any(vocabulary.symbols[symbol] != MARK for _, _, symbol in word)
    ]
