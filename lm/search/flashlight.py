"""Beam search by flashlight-text: with a lexicon and a word n-gram, or without either.

score = acoustic + lm_weight * LM + word_score * words + sil_score * boundary frames, over the best
alignment of each word sequence: alignments are not added up. Look-ahead in the lexicon takes the
best word below each node (max smearing).

A path reads `boundary* (word boundary+)*`. Letters at the end that no boundary follows make no
word; they win only when no hypothesis in the beam ends with a whole word. A boundary on the first
frame continues the silence before the utterance, and a language model of symbols does not score it.
Where the alphabet has no boundary (phones, word pieces), a word ends with its last symbol or with
the first blank after it; only a last symbol that the next word follows at once has a single frame.

With hot words flashlight asks a model in Python, word by word: the other engines are ten times as
fast with them. Its trie holds six words of one spelling.

Collobert et al. (2016), "Wav2Letter"; Pratap et al. (2019), "Wav2Letter++".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lm.decoding import FLOOR, BeamOptions, DecodingWeights
from lm.hypothesis import NOTHING, Hypothesis
from lm.language_model import UNK
from lm.ngram.kenlm import check_file, why_unreadable
from lm.search.context import ALONE, Context
from lm.search.flat_lexicon import FlatLexicon
from lm.search.greedy import split_words, spoken_runs, timed_word, valid_frames
from lm.search.paths import FoundPath, hypotheses
from lm.search.phrases import PhraseAutomaton
from lm.search.setup import SearchError, SearchSetup, other_case, prepare
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

MOST_HOMOPHONES = 6  # words of one spelling that flashlight's trie holds


class Flashlight(NamedTuple):
    """The three extension modules of flashlight-text."""

    decoder: Any
    dictionary: Any
    kenlm: Any


class KenlmFile:
    """A KenLM model (ARPA, gzip or not, or binary) as `prepare` opens it, inside flashlight."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model: Any = None
        """flashlight's KenLM, once it is open."""
        self.scores: list[float] = []
        """What it scores each word that it was opened over, and then others, in a new sentence."""

    def open(self, words: Sequence[str]) -> list[str]:
        """See `ModelFile`. Raises LanguageModelError or SearchError for a file of no such model.

        flashlight must be told every word that will be looked up: `other_case` of them, too.
        """
        check_file(self.path)
        every = [*words, *other_case(words)]
        flashlight = import_flashlight()
        try:
            self.model = flashlight.kenlm.KenLM(
                str(self.path), flashlight.dictionary.Dictionary(every)
            )
        except RuntimeError as error:
            raise SearchError(why_unreadable(self.path, str(error))) from None
        start = self.model.start(False)
        self.scores = [self.model.score(start, word)[1] for word in range(len(every))]
        # KenLM does not say which words it has; an unknown one has the score of <unk>.
        unknown = self.scores[every.index(UNK)]
        self._known = {w: s != unknown for w, s in zip(every, self.scores, strict=True)}
        return []

    def knows(self, words: Sequence[str]) -> Sequence[bool]:
        """See `ModelFile`."""
        return [self._known[word] for word in words]


class FlashlightSearch:
    """A search ready to run. Building it spells the lexicon into a trie."""

    def __init__(
        self,
        setup: SearchSetup,
        file: KenlmFile | None,
        weights: DecodingWeights,
        options: BeamOptions,
    ) -> None:
        """Set the search up.

        file: the language model, opened over `setup.words`; None to search without one.
        Raises SearchError where flashlight-text is not installed.
        """
        self.setup, self.weights, self.options = setup, weights, options
        self._decoders = import_flashlight().decoder
        self._lm = self._decoders.ZeroLM() if file is None else file.model
        # (W,) for the look-ahead
        self._scores = [0.0] * len(setup.words) if file is None else file.scores[: len(setup.words)]
        floors = setup.floors
        self._floors = [-math.inf] * len(setup.words) if floors is None else floors.tolist()
        self._scores = list(map(max, self._scores, self._floors))
        self._hot: Any = None
        self._build = self._lexicon_free if setup.lexicon is None else self._with_lexicon()
        self._decoder = self._build()

    @classmethod
    def open(
        cls,
        vocabulary: Vocabulary,
        weights: DecodingWeights,
        options: BeamOptions,
        lexicon: Lexicon | FlatLexicon | None = None,
        lm_path: Path | None = None,
        hotwords: Mapping[str, float] | None = None,
        floor: float = FLOOR,
    ) -> FlashlightSearch:
        """A search over files.

        lexicon: None searches over symbols, free of any lexicon.
        lm_path: a KenLM model, of words with a lexicon, of symbols without one.
        floor: of hot words that the language model lacks: see `prepare`.
        Raises SearchError, LanguageModelError or LexiconError for what cannot be used.
        """
        import_flashlight()
        file = None if lm_path is None else KenlmFile(lm_path)
        setup = prepare(vocabulary, lexicon, file, hotwords, MOST_HOMOPHONES, floor)
        return cls(setup, file, weights, options)

    def __call__(
        self,
        emissions: np.ndarray,
        lengths: Sequence[int],
        weights: DecodingWeights | Sequence[DecodingWeights] | None = None,
        contexts: Sequence[Context] | None = None,
    ) -> list[list[Hypothesis]]:
        """Search (B, T, V) float32 log-probabilities with (B,) valid frames.

        weights: from this call on for all, or (B,) for this call; None leaves them as they are.
        Returns up to `nbest` hypotheses for each utterance, best first, different in their words.
        Raises ValueError for emissions of another vocabulary, SearchError for a context:
        flashlight's decoder begins with a sentence and ends it, and cannot be told otherwise.
        """
        if any(context != ALONE for context in contexts or ()):
            raise SearchError(
                "--search flashlight takes every utterance for a sentence: nothing can have been "
                "said before it."
            )
        stays = self.weights if weights is None or isinstance(weights, Sequence) else weights
        each = weights if isinstance(weights, Sequence) else [stays] * len(lengths)
        found = []
        for emission, length, own in zip(emissions, lengths, each, strict=True):
            self._use(own)
            found.append(self._search(valid_frames(emission, length, self.setup.vocabulary)))
        self._use(stays)
        return found

    def _use(self, weights: DecodingWeights) -> None:
        if weights != self.weights:
            self.weights = weights
            self._decoder = self._build()  # over the same trie and language model: cheap

    def _search(self, frames: np.ndarray) -> list[Hypothesis]:
        if not len(frames):
            return [NOTHING]
        frames = np.ascontiguousarray(frames, dtype=np.float32)
        searched = self.setup.searched(frames)
        results = self._decoder.decode(searched.ctypes.data, *searched.shape)  # best first
        if self.setup.lexicon is None:
            return self._symbol_hypotheses(frames, results)
        return hypotheses(frames, self._paths(results), self.setup, self.options.nbest)

    def _paths(self, results: Sequence[Any]) -> Iterator[FoundPath]:
        """The decoder's results as paths; it writes a symbol before the first frame and after the
        last one."""
        known_words = self.weights.unk_score == -math.inf
        said: set[tuple[int, ...]] = set()
        for result in results:
            words = np.array(result.words[1:-1], np.int64)
            if known_words:
                spoken = tuple(words[words >= 0].tolist())
                if spoken in said:  # the same words along a worse path: not worth reading
                    continue
                said.add(spoken)
            yield FoundPath(
                np.array(result.tokens[1:-1], np.int64),
                words,
                result.score,
                result.emittingModelScore,
                self._lm_score(result),
            )

    def _symbol_hypotheses(self, frames: np.ndarray, results: Sequence[Any]) -> list[Hypothesis]:
        """Without a lexicon the words are what the symbols spell."""
        vocabulary = self.setup.vocabulary
        found: dict[tuple[str, ...], Hypothesis] = {}
        for result in results:
            runs = spoken_runs(np.array(result.tokens[1 : len(frames) + 1]), vocabulary)
            groups = split_words(runs, vocabulary)
            words = tuple(timed_word(frames, group, vocabulary) for group in groups)
            hypothesis = Hypothesis(
                words,
                tuple(symbol for _, _, symbol in runs),
                tuple(start for start, _, _ in runs),
                result.emittingModelScore,
                float(result.lmScore),
                result.score,
            )
            found.setdefault(tuple(word.text for word in words), hypothesis)
            if len(found) == self.options.nbest:
                break
        return list(found.values())

    def _with_lexicon(self) -> Callable[[], Any]:
        """A function that builds a decoder with the weights of the moment."""
        if self.setup.hotwords:
            return self._with_bonuses
        trie = self._trie(self._scores)
        return lambda: self._lexicon_decoder(trie, self._lm, self.weights.lm_weight)

    def _trie(self, scores: Sequence[float]) -> Any:
        """The spellings as a trie that looks ahead by (W,) scores."""
        trie = self._decoders.Trie(len(self.setup.vocabulary.symbols), self.setup.silence)
        for spelling, word in self.setup.spellings().rows():
            trie.insert(spelling, word, scores[word])
        trie.smear(self._decoders.SmearingMode.MAX)
        return trie

    def _with_bonuses(self) -> Any:
        """A decoder with a language model in Python, which adds the bonuses of hot words.

        The decoder multiplies all that a model says by the LM weight; a bonus has no such weight.
        So the model applies the weight itself, and the decoder's is 1. A state of flashlight's
        stands for all words so far, so it has one node of the phrases; those are kept beside it.
        """
        bonuses, phrases = self.setup.bonuses.tolist(), PhraseAutomaton.of(self.setup)
        weight, inner, floors = self.weights.lm_weight, self._lm, self._floors

        class Weighed(self._decoders.LM):  # type: ignore[name-defined, misc]
            """lm_weight * LM + bonus."""

            def start(self, start_with_nothing: bool) -> Any:
                state = inner.start(start_with_nothing)
                self.nodes = {state: 0}
                return state

            def score(self, state: Any, word: int) -> tuple[Any, float]:
                after, score = inner.score(state, word)
                self.nodes[after], bonus = phrases.after(self.nodes[state], word)
                return after, weight * max(score, floors[word]) + bonus

            def finish(self, state: Any) -> tuple[Any, float]:
                after, score = inner.finish(state)
                return after, weight * score + phrases.end(self.nodes[state])

        self._hot = Weighed()  # the decoder does not keep it alive
        promised = [
            weight * score + bonus for score, bonus in zip(self._scores, bonuses, strict=True)
        ]
        return self._lexicon_decoder(self._trie(promised), self._hot, 1.0)

    def _lexicon_decoder(self, trie: Any, lm: Any, lm_weight: float) -> Any:
        options = self._decoders.LexiconDecoderOptions(
            beam_size=self.options.width,
            beam_size_token=self._beam_tokens,
            beam_threshold=self.options.threshold,
            lm_weight=lm_weight,
            word_score=self.weights.word_score,
            unk_score=self.weights.unk_score,
            sil_score=self.setup.sil_score(self.weights.sil_score),
            log_add=False,
            criterion_type=self._decoders.CriterionType.CTC,
        )
        blank, unknown = self.setup.vocabulary.blank, len(self.setup.words) - 1
        return self._decoders.LexiconDecoder(
            options, trie, lm, self.setup.silence, blank, unknown, [], False
        )

    def _lexicon_free(self) -> Any:
        options = self._decoders.LexiconFreeDecoderOptions(
            beam_size=self.options.width,
            beam_size_token=self._beam_tokens,
            beam_threshold=self.options.threshold,
            lm_weight=self.weights.lm_weight,
            sil_score=self.weights.sil_score,
            log_add=False,
            criterion_type=self._decoders.CriterionType.CTC,
        )
        return self._decoders.LexiconFreeDecoder(
            options, self._lm, self.setup.silence, self.setup.vocabulary.blank, []
        )

    def _lm_score(self, result: Any) -> float:
        """The language model's score of a result, without weight and bonuses."""
        if self._hot is None:
            return float(result.lmScore)
        state, total = self._lm.start(False), 0.0
        for word in result.words:
            if word >= 0:
                state, score = self._lm.score(state, word)
                total += max(score, self._floors[word])
        return total + float(self._lm.finish(state)[1])

    @property
    def _beam_tokens(self) -> int:
        symbols = len(self.setup.vocabulary.symbols)
        return min(self.options.tokens or symbols, symbols)


def import_flashlight() -> Flashlight:
    """The modules of flashlight-text. Raises SearchError where it is not installed."""
    try:
        from flashlight.lib.text import decoder, dictionary
        from flashlight.lib.text.decoder import kenlm
    except ImportError:
        raise SearchError(
            "This search needs flashlight-text, which is not installed (it has no build for "
            "Python 3.13 and later): use Python 3.10 to 3.12, or --search compiled with an ARPA "
            "file."
        ) from None
    return Flashlight(decoder, dictionary, kenlm)
