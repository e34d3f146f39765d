"""The best path: at every frame the likeliest symbol, repeats merged, blanks dropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lm.hypothesis import Hypothesis, Word
from lm.vocabulary import Vocabulary


def greedy_search(
    emissions: np.ndarray, lengths: Sequence[int], vocabulary: Vocabulary
) -> list[list[Hypothesis]]:
    """(B, T, V) float32 log-probabilities, (B,) frames in each -> one hypothesis for each utterance."""
    found = []
    for emission, length in zip(emissions, lengths, strict=True):
        path = emission[:length].argmax(1) if length else np.zeros(0, np.int64)
        score = float(emission[np.arange(length), path].sum(dtype=np.float64))
        found.append([hypothesis_from_path(emission[:length], path, vocabulary, acoustic_score=score)])
    return found


def hypothesis_from_path(
    emission: np.ndarray,
    path: np.ndarray,
    vocabulary: Vocabulary,
    *,
    acoustic_score: float,
    lm_score: float = 0.0,
    score: float | None = None,
    words: Sequence[str] | None = None,
) -> Hypothesis:
    """Read words and times off a path of one symbol a frame.

    emission: (T, V) log-probabilities; path: (T,) indices. words: what the words are called, in order, where a lexicon
    knows better than the spelling (homophones, word pieces); their number must be that of the path's words.
    """
    changes = np.flatnonzero(np.diff(path, prepend=-1))
    ends = np.append(changes[1:], len(path))
    spoken = [(int(a), int(b), int(path[a])) for a, b in zip(changes, ends, strict=True) if path[a] != vocabulary.blank]
    spans = _word_spans(spoken, vocabulary)
    frame_scores = emission[np.arange(len(path)), path] if len(path) else np.zeros(0, np.float32)
    texts = words if words is not None else [vocabulary.text(symbol for _, _, symbol in span) for span in spans]
    timed = []
    for span, text in zip(spans, texts, strict=True):
        on = np.concatenate([frame_scores[a:b] for a, b, _ in span])
        confidence = float(np.exp(min(on.mean(dtype=np.float64), 0.0)))
        timed.append(Word(text, span[0][0], span[-1][1], confidence))
    return Hypothesis(
        tuple(word for word in timed if word.text),
        tuple(symbol for _, _, symbol in spoken),
        tuple(start for start, _, _ in spoken),
        acoustic_score,
        lm_score,
        acoustic_score if score is None else score,
    )


def _word_spans(
    spoken: Sequence[tuple[int, int, int]], vocabulary: Vocabulary
) -> list[list[tuple[int, int, int]]]:
    """Group (start, end, symbol) runs into words; without a word boundary every symbol stands for itself."""
    if vocabulary.word_boundary is None:
        return [[run] for run in spoken]
    spans: list[list[tuple[int, int, int]]] = [[]]
    for run in spoken:
        if run[2] == vocabulary.word_boundary:
            spans.append([])
        elif vocabulary.symbols[run[2]] in vocabulary.letters:
            spans[-1].append(run)
    return [span for span in spans if span]
