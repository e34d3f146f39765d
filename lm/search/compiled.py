"""w2v2's own lexicon beam search, compiled: what flashlight-text finds, in threads of one process.

The objective, look-ahead and pruning are those of `flashlight_search`; the language model is an ARPA file's automaton.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lm.decoding import BeamOptions, DecodingWeights
from lm.hypothesis import Hypothesis
from lm.native.library import SearchOptions, native, pointer
from lm.ngram.automaton import CompiledNgramLM, open_automaton
from lm.ngram.kenlm import is_arpa
from lm.search.flat_lexicon import FlatLexicon
from lm.search.greedy import spoken_runs, valid_frames
from lm.search.hotwords import with_hotwords
from lm.search.lexicon_checks import (
    FEWEST_KNOWN,
    SearchError,
    case_probes,
    check_spelling,
    check_words,
)
from lm.search.words import completed_words
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

UNK = "<unk>"
IMPOSSIBLE = -1e9  # log-probability: scores are added up, and infinity is no number to add


@dataclass
class CompiledSearch:
    """A search ready to run; building it maps the language model and spells the lexicon into a trie."""

    vocabulary: Vocabulary
    weights: DecodingWeights
    options: BeamOptions
    lexicon: Lexicon | FlatLexicon
    lm_path: Path | None = None
    """An ARPA file of words, gzip or not."""
    cache: Path | None = None
    """The folder that keeps automata; needed with a language model."""
    hotwords: Mapping[str, float] = field(default_factory=dict)
    """Added to the score for each time a word is said; words outside the lexicon join it, spelled by the alphabet."""
    threads: int = 1
    """Utterances searched at a time."""
    warnings: list[str] = field(default_factory=list)
    """What the user should know of the files, in sentences."""

    def __post_init__(self) -> None:
        self.warnings += check_spelling(self.lexicon, self.vocabulary)
        flat = (
            self.lexicon if isinstance(self.lexicon, FlatLexicon) else FlatLexicon.of(self.lexicon)
        )
        before = len(flat)
        flat = self._with_hotwords(flat)
        self._words = [*flat.words, UNK]
        self._model = self._language_model(self._words)
        indices = (
            np.zeros(len(self._words), np.uint32) if self._model is None else self._model.indices
        )
        self._check_words(flat.words[:before], indices)
        symbols, ends, spelled = self._rows(flat)
        unigrams = np.zeros(len(self._words), np.float32)
        if self._model is not None:
            starts = self._model.start(len(self._words))
            unigrams = self._model.score(starts, range(len(self._words)))[0].astype(np.float32)
        bonuses = None
        if self.hotwords:
            bonuses = np.array([self.hotwords.get(word, 0.0) for word in self._words], np.float32)
        handle = None if self._model is None else self._model.handle
        scores = np.ascontiguousarray(unigrams[spelled])
        self._engine = native().engine_new(
            handle, pointer(indices), len(indices), pointer(bonuses),
            pointer(symbols), pointer(ends), pointer(spelled), pointer(scores), len(ends),
        )  # fmt: skip
        if self._engine is None:
            raise SearchError(f"The search could not be set up: {native().reason()}.")
        weakref.finalize(self, native().engine_free, self._engine)

    def __call__(
        self, emissions: np.ndarray, lengths: Sequence[int], weights: DecodingWeights | None = None
    ) -> list[list[Hypothesis]]:
        """(B, T, V) float32 log-probabilities, (B,) frames in each -> up to `nbest` hypotheses each, best first.

        Hypotheses of one utterance differ in their words. `weights` hold from this call on; None leaves them as they are.
        Raises ValueError for emissions of another vocabulary.
        """
        if weights is not None:
            self.weights = weights
        pairs = zip(emissions, lengths, strict=True)
        valid = [
            np.ascontiguousarray(valid_frames(e, n, self.vocabulary), np.float32) for e, n in pairs
        ]
        searched = [
            self._with_blank_after(frames) if self._ends_with_blank else frames for frames in valid
        ]
        library, count = native(), len(self.vocabulary.symbols)
        flat = (
            np.concatenate([frames.reshape(-1) for frames in searched])
            if searched
            else np.zeros(0, np.float32)
        )
        frames_of = np.array([len(frames) for frames in searched], np.int32)
        options = self._search_options()
        batch = library.search(
            self._engine, ctypes.addressof(options), pointer(flat), pointer(frames_of), len(valid), count,
            self.threads,
        )  # fmt: skip
        if batch is None:
            raise MemoryError("The search ran out of memory: try a smaller beam.")
        try:
            return [
                self._found(batch, i, frames, len(searched[i])) for i, frames in enumerate(valid)
            ]
        finally:
            library.free(batch)

    def _found(
        self, batch: int, utterance: int, frames: np.ndarray, searched: int
    ) -> list[Hypothesis]:
        """The distinct hypotheses of one utterance."""
        if not len(frames):
            return [Hypothesis((), (), (), 0.0, 0.0, 0.0)]
        library = native()
        scores, path, ended = (
            np.zeros(3),
            np.zeros(searched, np.int32),
            np.zeros(searched, np.int32),
        )
        found: dict[tuple[str, ...], Hypothesis] = {}
        for rank in range(library.found(batch, utterance)):
            library.hypothesis(
                batch, utterance, rank, pointer(scores), pointer(path), pointer(ended)
            )
            runs = spoken_runs(path[: len(frames)], self.vocabulary)
            completed = [(int(t), self._text(int(ended[t]))) for t in np.flatnonzero(ended >= 0)]
            words = tuple(completed_words(frames, runs, completed, self.vocabulary))
            symbols, starts = (
                tuple(symbol for _, _, symbol in runs),
                tuple(start for start, _, _ in runs),
            )
            total, acoustic, lm = scores.tolist()
            hypothesis = Hypothesis(words, symbols, starts, acoustic, lm, total)
            found.setdefault(tuple(word.text for word in words), hypothesis)
            if len(found) == self.options.nbest:
                break
        return list(found.values())

    def _text(self, word: int) -> str | None:
        return None if self._words[word] == UNK else self._words[word]

    def _search_options(self) -> SearchOptions:
        forbidden = self.weights.unk_score == -math.inf
        boundary = self.vocabulary.word_boundary
        return SearchOptions(
            lm_weight=self.weights.lm_weight,
            word_score=self.weights.word_score,
            unk_score=self.weights.unk_score,
            sil_score=0.0 if self._ends_with_blank else self.weights.sil_score,
            beam_threshold=self.options.threshold,
            beam=self.options.width,
            beam_tokens=self.options.tokens or len(self.vocabulary.symbols),
            nbest=self.options.nbest
            if forbidden
            else self.options.width,  # unknown words differ in their letters
            silence=self.vocabulary.blank if boundary is None else boundary,
            blank=self.vocabulary.blank,
            unknown_word=len(self._words) - 1,
        )

    def _with_hotwords(self, flat: FlatLexicon) -> FlatLexicon:
        """The lexicon with the hot words that it lacks."""
        known = set(flat.words) if self.hotwords else set()
        new = {word: weight for word, weight in self.hotwords.items() if word not in known}
        lexicon, told = with_hotwords(Lexicon({}), new, self.vocabulary)
        self.warnings += told
        more = FlatLexicon.of(lexicon)
        return FlatLexicon(
            [*flat.words, *more.words],
            np.concatenate([flat.symbols, more.symbols]),
            np.concatenate([flat.ends, more.ends + np.uint64(len(flat.symbols))]),
            np.concatenate([flat.owners, more.owners + np.int32(len(flat))]),
        )

    def _rows(self, flat: FlatLexicon) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Symbols, ends and owners of the spellings that are searched."""
        symbols, ends, owners = flat.symbols, flat.ends, flat.owners
        if self._ends_with_blank:  # each a second time, with a blank after it
            rows = np.split(symbols, ends[:-1].astype(np.int64))
            blank = np.array([self.vocabulary.blank], np.int32)
            twice = [row for first in rows for row in (first, np.concatenate([first, blank]))]
            symbols, owners = np.concatenate(twice), np.repeat(owners, 2)
            ends = np.cumsum([len(row) for row in twice], dtype=np.uint64)
        return tuple(map(np.ascontiguousarray, (symbols, ends, owners)))  # type: ignore[return-value]

    def _language_model(self, words: list[str]) -> CompiledNgramLM | None:
        if self.lm_path is None:
            return None
        if not is_arpa(self.lm_path) and self.lm_path.is_file():
            with self.lm_path.open("rb") as file:
                if file.read(7).lstrip()[:1] != b"\\":
                    raise SearchError(
                        f"--search compiled reads ARPA files, not KenLM's binary ones: {self.lm_path} needs "
                        "--search flashlight."
                    )
        if self.cache is None:
            raise SearchError("A language model needs a folder to keep its automaton in.")
        model, told = open_automaton(self.lm_path, self.cache, words)
        self.warnings += told
        return model

    def _check_words(self, words: list[str], indices: np.ndarray) -> None:
        """Hold the lexicon, without hot words, against the language model."""
        if self._model is None or self.lm_path is None:
            return
        known = indices[: len(words)] != 0
        if known.mean() >= FEWEST_KNOWN:
            return
        probes = case_probes(words)
        seen = [
            probe
            for probe, index in zip(probes, self._model.lookup(probes).tolist(), strict=True)
            if index
        ]
        self.warnings += check_words(self.lm_path, words, known.tolist(), seen)

    @property
    def _ends_with_blank(self) -> bool:
        """Whether the lexicon spells every word a second time with a blank after it, so that its last symbol may last."""
        return self.vocabulary.word_boundary is None

    def _with_blank_after(self, frames: np.ndarray) -> np.ndarray:
        """(T, V) -> (T + 1, V): a blank for certain after the utterance, for a last symbol that lasts to its end."""
        if not len(frames):
            return frames
        after = np.full((1, frames.shape[1]), IMPOSSIBLE, np.float32)
        after[0, self.vocabulary.blank] = 0.0
        return np.concatenate([frames, after])
