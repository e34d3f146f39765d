"""Beam search by flashlight-text: with a lexicon and a word n-gram, or without either.

score = acoustic + lm_weight · LM + word_score · words + sil_score · boundaries, over the best alignment of each word sequence
(no log-add). Look-ahead in the lexicon takes the best word below each node (max smearing).
Collobert et al. (2016), "Wav2Letter"; Pratap et al. (2019), "Wav2Letter++".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lm.greedy import Run, split_words, spoken_runs, timed_word
from lm.hypothesis import BeamOptions, DecodingWeights, Hypothesis
from lm.lexicon import Lexicon
from lm.vocabulary import Vocabulary

FEWEST_KNOWN = 0.9  # share of the lexicon that the language model should know; below, somebody mixed up files
UNK = "<unk>"


class SearchError(ValueError):
    """A search that cannot be set up from what it was given."""


@dataclass
class FlashlightSearch:
    """A search ready to run; building it reads the language model and spells the lexicon into a trie."""

    vocabulary: Vocabulary
    weights: DecodingWeights
    options: BeamOptions
    lexicon: Lexicon | None = None
    """None searches over symbols, free of any lexicon."""
    lm_path: Path | None = None
    """A KenLM model, ARPA or binary: of words with a lexicon, of symbols without one."""
    warnings: list[str] = field(default_factory=list)
    """What the user should know of the files, in sentences."""

    def __post_init__(self) -> None:
        self._text = _flashlight()
        self._words: list[str] = []
        if self.lexicon is None:
            self._decoder = self._lexicon_free()
        else:
            self._decoder = self._with_lexicon(self.lexicon)

    def __call__(self, emissions: np.ndarray, lengths: Sequence[int]) -> list[list[Hypothesis]]:
        """(B, T, V) float32 log-probabilities, (B,) frames in each -> up to `nbest` hypotheses each, best first."""
        return [self._search(emission[:length]) for emission, length in zip(emissions, lengths, strict=True)]

    def _search(self, emission: np.ndarray) -> list[Hypothesis]:
        frames = np.ascontiguousarray(emission, dtype=np.float32)
        if not len(frames):
            return [Hypothesis((), (), (), 0.0, 0.0, 0.0)]
        found: dict[tuple[str, ...], Hypothesis] = {}
        for result in self._decoder.decode(frames.ctypes.data, *frames.shape):
            hypothesis = self._hypothesis(frames, result)
            found.setdefault(tuple(word.text for word in hypothesis.words), hypothesis)
            if len(found) == self.options.nbest:
                break
        return list(found.values())

    def _hypothesis(self, frames: np.ndarray, result: Any) -> Hypothesis:
        # The decoder writes a symbol before the first frame and one after the last.
        path = np.array(result.tokens[1 : len(frames) + 1])
        runs = spoken_runs(path, self.vocabulary)
        if self.lexicon is None:
            groups = split_words(runs, self.vocabulary)
            words = [timed_word(frames, group, self.vocabulary) for group in groups]
        else:
            completed = [(t, word) for t, word in enumerate(result.words[1 : len(frames) + 1]) if word >= 0]
            words = list(self._completed_words(frames, runs, completed))
        return Hypothesis(
            tuple(words),
            tuple(symbol for _, _, symbol in runs),
            tuple(start for start, _, _ in runs),
            result.emittingModelScore,
            result.lmScore,
            result.score,
        )

    def _completed_words(self, frames: np.ndarray, runs: list[Run], completed: list[tuple[int, int]]) -> Any:
        """Words by the frame on which the lexicon completed them: theirs are the letters since the word before."""
        letters = [run for run in runs if self.vocabulary.symbols[run[2]] in self.vocabulary.letters]
        at = 0
        for frame, index in completed:
            first = at
            while at < len(letters) and letters[at][0] <= frame:
                at += 1
            if at > first:
                yield timed_word(frames, letters[first:at], self.vocabulary, self._words[index])

    def _with_lexicon(self, lexicon: Lexicon) -> Any:
        text = self._text
        if not lexicon.spellings:
            example = f", not even {lexicon.unspellable[0]!r}" if lexicon.unspellable else ""
            raise SearchError(
                f"The alphabet ({' '.join(sorted(self.vocabulary.letters))}) can spell no word of the lexicon{example}."
            )
        self._words = [*lexicon.spellings, UNK] if UNK not in lexicon.spellings else list(lexicon.spellings)
        dictionary = text.Dictionary(self._words)
        unknown = dictionary.get_index(UNK)
        self._lm = text.ZeroLM() if self.lm_path is None else _kenlm(text, self.lm_path, dictionary)
        start = self._lm.start(False)
        trie = text.Trie(len(self.vocabulary.symbols), self._sil)
        scores = []
        for index, word in enumerate(self._words):
            if word == UNK:
                continue
            _, score = self._lm.score(start, index)
            scores.append(score)
            for spelling in lexicon.spellings[word]:
                trie.insert(list(spelling), index, score)
        trie.smear(text.SmearingMode.MAX)
        if self.lm_path is not None:
            self._check_words(scores, self._lm.score(start, unknown)[1])
        if lexicon.unspellable:
            examples = ", ".join(lexicon.unspellable[:5])
            self.warnings.append(
                f"{len(lexicon.unspellable)} words cannot be spelled in the model's alphabet and are left out: {examples}."
            )
        options = text.LexiconDecoderOptions(
            self.options.beam,
            self.options.beam_tokens or len(self.vocabulary.symbols),
            self.options.beam_threshold,
            self.weights.lm_weight,
            self.weights.word_score,
            self.weights.unk_score,
            self.weights.sil_score,
            False,
            text.CriterionType.CTC,
        )
        return text.LexiconDecoder(options, trie, self._lm, self._sil, self.vocabulary.blank, unknown, [], False)

    def _check_words(self, scores: list[float], unknown: float) -> None:
        """Hold the lexicon against the language model: a word it does not know has the score of <unk>."""
        known = [score != unknown for score in scores]
        share = sum(known) / len(known)
        strangers = [word for word, is_known in zip(self._words, known, strict=False) if not is_known]
        if share == 0:
            raise SearchError(
                f"{self.lm_path} knows no word of the lexicon, not even {', '.join(map(repr, strangers[:3]))}: "
                "is one in upper case and the other in lower case?"
            )
        if share < FEWEST_KNOWN:
            self.warnings.append(
                f"{self.lm_path} does not know {1 - share:.0%} of the lexicon's words, {', '.join(strangers[:5])} among them."
            )

    def _lexicon_free(self) -> Any:
        text = self._text
        if self.lm_path is None:
            self._lm = text.ZeroLM()
        else:
            self._lm = _kenlm(text, self.lm_path, text.Dictionary(list(self.vocabulary.symbols)))
        options = text.LexiconFreeDecoderOptions(
            self.options.beam,
            self.options.beam_tokens or len(self.vocabulary.symbols),
            self.options.beam_threshold,
            self.weights.lm_weight,
            self.weights.sil_score,
            False,
            text.CriterionType.CTC,
        )
        return text.LexiconFreeDecoder(options, self._lm, self._sil, self.vocabulary.blank, [])

    @property
    def _sil(self) -> int:
        """What stands between words; phones have nothing, and the blank serves."""
        boundary = self.vocabulary.word_boundary
        return self.vocabulary.blank if boundary is None else boundary


def _kenlm(text: Any, path: Path, dictionary: Any) -> Any:
    if not path.is_file():
        raise SearchError(f"There is no language model at {path}.")
    try:
        return text.KenLM(str(path), dictionary)
    except RuntimeError as error:
        raise SearchError(f"{path} cannot be read as a KenLM model: {error}.") from None


def _flashlight() -> Any:
    """flashlight-text's decoder, dictionary and KenLM under one name."""
    try:
        from flashlight.lib.text import decoder, dictionary
        from flashlight.lib.text.decoder import kenlm
    except ImportError:
        raise SearchError(
            "Beam search needs flashlight-text, which has no build for this Python: use Python 3.10 to 3.12, "
            "or --search greedy."
        ) from None

    class Text:
        Dictionary = dictionary.Dictionary
        KenLM = kenlm.KenLM

        def __getattr__(self, name: str) -> Any:
            return getattr(decoder, name)

    return Text()
