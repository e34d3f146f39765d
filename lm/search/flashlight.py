"""Beam search by flashlight-text: with a lexicon and a word n-gram, or without either.

score = acoustic + lm_weight · LM + word_score · words + sil_score · boundary frames, over the best alignment of each
word sequence (no log-add). Look-ahead in the lexicon takes the best word below each node (max smearing). A path reads
`boundary* (word boundary+)*`: letters at the end that no boundary follows make no word, and win only when no hypothesis
in the beam ends with a whole one. A boundary on the first frame goes on with the silence before the utterance, and a
language model of symbols does not score it. Where the alphabet has no boundary (phones, word pieces), a word ends with
its last symbol or with the first blank after it: only a last symbol that the next word follows at once has one frame.
Hot words make flashlight ask a model in Python, word by word: the other engines are ten times as fast with them.
Collobert et al. (2016), "Wav2Letter"; Pratap et al. (2019), "Wav2Letter++".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lm.decoding import BeamOptions, DecodingWeights
from lm.hypothesis import Hypothesis
from lm.ngram.kenlm import check_file, why_unreadable
from lm.search.greedy import split_words, spoken_runs, timed_word, valid_frames
from lm.search.hotwords import with_hotwords
from lm.search.lexicon_checks import (
    FEWEST_KNOWN,
    SearchError,
    case_probes,
    check_spelling,
    check_words,
    examples,
)
from lm.search.words import completed_words
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

UNK = "<unk>"
IMPOSSIBLE = -1e9  # log-probability; flashlight adds them up, and infinity is no number to add


class Flashlight(NamedTuple):
    """The three extension modules of flashlight-text."""

    decoder: Any
    dictionary: Any
    kenlm: Any


@dataclass
class FlashlightSearch:
    """A search ready to run; building it reads the language model and spells the lexicon into a trie."""

    vocabulary: Vocabulary
    weights: DecodingWeights
    options: BeamOptions
    lexicon: Lexicon | None = None
    """None searches over symbols, free of any lexicon."""
    lm_path: Path | None = None
    """A KenLM model, ARPA (gzip or not) or binary: of words with a lexicon, of symbols without one."""
    hotwords: Mapping[str, float] = field(default_factory=dict)
    """Added to the score for each time a word is said; words outside the lexicon join it, spelled by the alphabet."""
    warnings: list[str] = field(default_factory=list)
    """What the user should know of the files, in sentences."""

    def __post_init__(self) -> None:
        self._flashlight = import_flashlight()
        self._words: list[str] = []
        self._hot: Any = None
        self._build = (
            self._lexicon_free() if self.lexicon is None else self._with_lexicon(self.lexicon)
        )
        self._decoder = self._build()

    def __call__(
        self, emissions: np.ndarray, lengths: Sequence[int], weights: DecodingWeights | None = None
    ) -> list[list[Hypothesis]]:
        """(B, T, V) float32 log-probabilities, (B,) frames in each -> up to `nbest` hypotheses each, best first.

        Hypotheses of one utterance differ in their words. `weights` hold from this call on; None leaves them as they are.
        Raises ValueError for emissions of another vocabulary.
        """
        if weights is not None and weights != self.weights:
            self.weights = weights
            self._decoder = (
                self._build()
            )  # of the same trie and language model, so it costs nothing
        return [
            self._search(valid_frames(emission, length, self.vocabulary))
            for emission, length in zip(emissions, lengths, strict=True)
        ]

    def _search(self, frames: np.ndarray) -> list[Hypothesis]:
        frames = np.ascontiguousarray(frames, dtype=np.float32)
        if not len(frames):
            return [Hypothesis((), (), (), 0.0, 0.0, 0.0)]
        found: dict[tuple[str, ...], Hypothesis] = {}
        indices: set[tuple[int, ...]] = set()
        searched = self._with_blank_after(frames) if self._ends_with_blank else frames
        for result in self._decoder.decode(
            searched.ctypes.data, *searched.shape
        ):  # sorted, best first
            if self.lexicon is not None and self.weights.unk_score == -math.inf:
                said = tuple(word for word in result.words if word >= 0)
                if said in indices:  # the same words along another path: not worth building
                    continue
                indices.add(said)
            hypothesis = self._hypothesis(frames, result)
            found.setdefault(tuple(word.text for word in hypothesis.words), hypothesis)
            if len(found) == self.options.nbest:
                break
        return list(found.values())

    def _hypothesis(self, frames: np.ndarray, result: Any) -> Hypothesis:
        # The decoder writes a symbol before the first frame and one after the last.
        runs = spoken_runs(np.array(result.tokens[1 : len(frames) + 1]), self.vocabulary)
        if self.lexicon is None:
            groups = split_words(runs, self.vocabulary)
            words = [timed_word(frames, group, self.vocabulary) for group in groups]
        else:
            completed = [
                (t, self._text(word)) for t, word in enumerate(result.words[1:-1]) if word >= 0
            ]
            words = list(completed_words(frames, runs, completed, self.vocabulary))
        return Hypothesis(
            tuple(words),
            tuple(symbol for _, _, symbol in runs),
            tuple(start for start, _, _ in runs),
            result.emittingModelScore,
            self._lm_score(result),
            result.score,
        )

    def _text(self, word: int) -> str | None:
        """Of a word's index; None for one outside the lexicon, which is called what its letters spell."""
        return None if self._words[word] == UNK else self._words[word]

    def _with_lexicon(self, lexicon: Lexicon) -> Callable[[], Any]:
        """What builds a decoder of the weights as they are then."""
        self.warnings += check_spelling(lexicon, self.vocabulary)
        own = [word for word in lexicon.spellings if word != UNK]
        lexicon, told = with_hotwords(lexicon, self.hotwords, self.vocabulary)
        self.warnings += told
        self._words = [*(word for word in lexicon.spellings if word != UNK), UNK]
        unknown = (
            len(self._words) - 1
        )  # flashlight wants an index for it, whether or not it may be said
        probes = case_probes(own)
        self._lm = self._language_model([*self._words, *probes])
        start = self._lm.start(False)
        scores = [
            self._lm.score(start, index)[1] for index in range(len(self._words) + len(probes))
        ]
        if self.lm_path is not None:
            known = [
                score != scores[unknown] for score in scores
            ]  # a word it does not know has the score of <unk>
            seen = [
                probe
                for probe, is_known in zip(probes, known[unknown + 1 :], strict=True)
                if is_known
            ]
            self.warnings += check_words(self.lm_path, own, known[: len(own)], seen)
        if self.hotwords:
            return lambda: self._with_bonuses(lexicon, scores)
        trie = self._trie(lexicon, scores)
        return lambda: self._lexicon_decoder(trie, self._lm, self.weights.lm_weight)

    def _trie(self, lexicon: Lexicon, scores: Sequence[float]) -> Any:
        """The spellings with what each word promises; the words are those of `_words`."""
        decoder = self._flashlight.decoder
        trie = decoder.Trie(len(self.vocabulary.symbols), self._silence)
        for index, (word, score) in enumerate(zip(self._words[:-1], scores, strict=False)):
            for spelling in lexicon.spellings[word]:
                trie.insert(spelling, index, score)
                if self._ends_with_blank:
                    trie.insert((*spelling, self.vocabulary.blank), index, score)
        trie.smear(decoder.SmearingMode.MAX)
        return trie

    def _with_bonuses(self, lexicon: Lexicon, scores: Sequence[float]) -> Any:
        """A decoder whose language model is weighed and given bonuses before flashlight hears of it."""
        bonuses = [self.hotwords.get(word, 0.0) for word in self._words]
        weight, inner = self.weights.lm_weight, self._lm

        class Weighed(self._flashlight.decoder.LM):  # type: ignore[name-defined, misc]
            """The language model as the score has it."""

            def start(self, start_with_nothing: bool) -> Any:
                return inner.start(start_with_nothing)

            def score(self, state: Any, word: int) -> tuple[Any, float]:
                after, score = inner.score(state, word)
                return after, weight * score + bonuses[word]

            def finish(self, state: Any) -> tuple[Any, float]:
                after, score = inner.finish(state)
                return after, weight * score

        self._hot = Weighed()  # the decoder does not keep it alive
        promised = [weight * score + bonus for score, bonus in zip(scores, bonuses, strict=False)]
        return self._lexicon_decoder(self._trie(lexicon, promised), self._hot, 1.0)

    def _lexicon_decoder(self, trie: Any, lm: Any, lm_weight: float) -> Any:
        decoder = self._flashlight.decoder
        options = decoder.LexiconDecoderOptions(
            beam_size=self.options.width,
            beam_size_token=self._beam_tokens,
            beam_threshold=self.options.threshold,
            lm_weight=lm_weight,
            word_score=self.weights.word_score,
            unk_score=self.weights.unk_score,
            sil_score=0.0 if self._ends_with_blank else self.weights.sil_score,
            log_add=False,
            criterion_type=decoder.CriterionType.CTC,
        )
        unknown = len(self._words) - 1
        return decoder.LexiconDecoder(
            options, trie, lm, self._silence, self.vocabulary.blank, unknown, [], False
        )

    def _lm_score(self, result: Any) -> float:
        """Of the language model alone."""
        if self._hot is None:
            return float(result.lmScore)
        state, total = self._lm.start(False), 0.0
        for word in result.words:
            if word >= 0:
                state, score = self._lm.score(state, word)
                total += score
        return total + float(self._lm.finish(state)[1])

    def _lexicon_free(self) -> Callable[[], Any]:
        symbols = list(self.vocabulary.symbols)
        self._lm = self._language_model([*symbols, UNK] if UNK not in symbols else symbols)
        if self.lm_path is not None:
            self._check_symbols()
        decoder = self._flashlight.decoder

        def build() -> Any:
            options = decoder.LexiconFreeDecoderOptions(
                beam_size=self.options.width,
                beam_size_token=self._beam_tokens,
                beam_threshold=self.options.threshold,
                lm_weight=self.weights.lm_weight,
                sil_score=self.weights.sil_score,
                log_add=False,
                criterion_type=decoder.CriterionType.CTC,
            )
            return decoder.LexiconFreeDecoder(
                options, self._lm, self._silence, self.vocabulary.blank, []
            )

        return build

    def _language_model(self, words: list[str]) -> Any:
        """flashlight's KenLM over `words` by index, or its ZeroLM."""
        if self.lm_path is None:
            return self._flashlight.decoder.ZeroLM()
        check_file(self.lm_path)
        try:
            return self._flashlight.kenlm.KenLM(
                str(self.lm_path), self._flashlight.dictionary.Dictionary(words)
            )
        except RuntimeError as error:
            raise SearchError(why_unreadable(self.lm_path, str(error))) from None

    @property
    def _silence(self) -> int:
        """What stands between words; phones have nothing, and the blank serves."""
        boundary = self.vocabulary.word_boundary
        return self.vocabulary.blank if boundary is None else boundary

    @property
    def _ends_with_blank(self) -> bool:
        """Whether the lexicon spells every word a second time with a blank after it, so that its last symbol may last."""
        return self.lexicon is not None and self.vocabulary.word_boundary is None

    def _with_blank_after(self, frames: np.ndarray) -> np.ndarray:
        """(T, V) -> (T + 1, V): a blank for certain after the utterance, for a last symbol that lasts to its end."""
        after = np.full((1, frames.shape[1]), IMPOSSIBLE, np.float32)
        after[0, self.vocabulary.blank] = 0.0
        return np.concatenate([frames, after])

    @property
    def _beam_tokens(self) -> int:
        return min(
            self.options.tokens or len(self.vocabulary.symbols), len(self.vocabulary.symbols)
        )

    def _check_symbols(self) -> None:
        """Hold a language model of symbols against the alphabet."""
        start, index = self._lm.start(False), self.vocabulary.index
        unknown = self._lm.score(start, index.get(UNK, len(index)))[1]
        letters = sorted(self.vocabulary.letters)
        missing = [
            letter for letter in letters if self._lm.score(start, index[letter])[1] == unknown
        ]
        if len(missing) > len(letters) * (1 - FEWEST_KNOWN):
            raise SearchError(
                f"Without a lexicon the language model is one of symbols, but {self.lm_path} does not know "
                f"{len(missing)} of the alphabet's {len(letters)}, {examples(missing)} for example: give a lexicon."
            )


def import_flashlight() -> Flashlight:
    """flashlight-text, which not every Python has; SearchError says what to do without."""
    try:
        from flashlight.lib.text import decoder, dictionary
        from flashlight.lib.text.decoder import kenlm
    except ImportError:
        raise SearchError(
            "This search needs flashlight-text, which is not installed (it has no build for Python 3.13 and later): "
            "use Python 3.10 to 3.12, or --search compiled with an ARPA file."
        ) from None
    return Flashlight(decoder, dictionary, kenlm)
