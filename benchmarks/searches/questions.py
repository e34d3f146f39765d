"""The questions that a beam search asks its language model, written down frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.searches.inputs import VOCABULARY
from lm.ngram.kenlm import NgramLM
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import CHARACTERS

History = tuple[int, ...]
"""The numbers of the words said so far."""
Question = tuple[History, int]
"""A history, and the number of the word that may follow it; -1 for the end."""


@dataclass(frozen=True)
class Frame:
    """What a search asks in one frame, and the histories that its beam holds afterwards."""

    questions: list[Question]
    alive: set[History]


def trace(
    emissions: list[np.ndarray], lm: Path, lexicon: Path, words: Sequence[str], beam: int
) -> list[list[Frame]]:
    """Search with flashlight and a 4-gram, and return the frames with questions of each utterance.

    Args:
        emissions: log-probabilities, float32 (T, V) each.
        lm: a file of KenLM.
        lexicon: spellings of all words.
        words: the words in the order of the numbers that stand for them in questions.
        beam: hypotheses kept in a frame.
    """
    model = NgramLM(lm, words)
    asked: list[Question] = []
    recording = _recording(model, asked)  # flashlight does not keep a Python object alive
    search = _search(recording, model, lexicon, words, beam)
    utterances = []
    for emission in emissions:
        search.decode_begin()
        frames = []
        for row in emission:
            search.decode_step(np.ascontiguousarray(row).ctypes.data, 1, len(row))
            alive = {
                tuple(word for word in found.words if word >= 0)
                for found in search.get_all_final_hypothesis()
            }
            frames.append(Frame(list(asked), alive))
            asked.clear()
        search.decode_end()
        frames.append(Frame(list(asked), set()))
        asked.clear()
        utterances.append([frame for frame in frames if frame.questions])
    return utterances


def _recording(model: NgramLM, asked: list[Question]) -> Any:
    """A language model for flashlight that answers from `model` and appends every question."""
    from flashlight.lib.text import decoder

    class Recording(decoder.LM):  # type: ignore[misc]
        """The 4-gram, with a log of its questions."""

        def start(self, start_with_nothing: bool) -> Any:
            root = decoder.LMState()
            self.known: dict[Any, tuple[tuple[int, ...], Any]] = {root: ((), model.start()[0])}
            return root

        def score(self, state: Any, word: int) -> tuple[Any, float]:
            history, inner = self.known[state]
            asked.append((history, word))
            scores, after = model.score([inner], [word])
            child = state.child(word)
            self.known.setdefault(child, ((*history, word), after[0]))
            return child, float(scores[0])

        def finish(self, state: Any) -> tuple[Any, float]:
            history, inner = self.known[state]
            asked.append((history, -1))
            return state.child(-1), float(model.finish([inner])[0])

    return Recording()


def _search(recording: Any, model: NgramLM, lexicon: Path, words: Sequence[str], beam: int) -> Any:
    """A lexicon search of flashlight, threshold 50, LM weight 2, word score -1."""
    from flashlight.lib.text import decoder

    silence = VOCABULARY.index["|"]
    numbers = {word: number for number, word in enumerate(words)}
    trie = decoder.Trie(len(CHARACTERS), silence)
    begin = model.start()
    for word, spellings in Lexicon.read(lexicon, VOCABULARY).spellings.items():
        score = float(model.score(begin, [numbers[word]])[0][0])
        for spelling in spellings:
            trie.insert(list(spelling), numbers[word], score)
    trie.smear(decoder.SmearingMode.MAX)
    options = decoder.LexiconDecoderOptions(
        beam, len(CHARACTERS), 50.0, 2.0, -1.0, -np.inf, 0.0, False, decoder.CriterionType.CTC
    )
    return decoder.LexiconDecoder(
        options, trie, recording, silence, VOCABULARY.blank, len(words), [], False
    )
