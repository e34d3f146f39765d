"""w2v2's own lexicon beam search, compiled, in threads of one process.

Objective, look-ahead and pruning are those of `lm.search.flashlight`, but any number of words may
share a spelling, and hypotheses that the language model cannot tell apart are one unless
`BeamOptions.recombine` says otherwise. The language model is the automaton of an ARPA file.
Legend: B utterances, T frames, V symbols, W words, R spellings.
"""

from __future__ import annotations

import ctypes
import functools
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lm.decoding import FLOOR, BeamOptions, DecodingWeights
from lm.hypothesis import NOTHING, Hypothesis
from lm.language_model import LanguageModel
from lm.lattice import Lattice
from lm.native.library import SearchContext, SearchOptions, native, pointer
from lm.ngram.automaton import CompiledNgramLM, open_automaton
from lm.score_parts import ScoreParts, parts_of
from lm.search.context import ALONE, EXITS, Context
from lm.search.flat_lexicon import FlatLexicon
from lm.search.greedy import valid_frames
from lm.search.paths import FoundPath, FoundPaths, hypotheses, laid, outlined
from lm.search.phrases import PhraseAutomaton
from lm.search.setup import SearchError, SearchSetup, prepare
from lm.search.two_models import TwoFiles, TwoModels
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

LONGEST = 1000  # symbols of an unknown word


@dataclass
class ArpaFile:
    """A file of n-grams as `prepare` opens it: its automaton, kept in a folder."""

    path: Path
    cache: Path
    """The folder that keeps automata."""
    model: CompiledNgramLM | None = None
    """The automaton, once it is open."""

    def open(self, words: Sequence[str]) -> list[str]:
        """See `ModelFile`. Raises like `open_automaton`."""
        self.model, warnings = open_automaton(self.path, self.cache, words)
        return warnings

    @property
    def has_unknown(self) -> bool:
        """See `WordsFile`."""
        assert self.model is not None
        return self.model.has_unknown

    def knows(self, words: Sequence[str]) -> Sequence[bool]:
        """See `ModelFile`."""
        assert self.model is not None
        opened = words is self.model.words
        indices = self.model.indices if opened else self.model.lookup(words)
        return (indices != 0).tolist()


class CompiledSearch:
    """A search ready to run. Building it sorts the spellings into a trie."""

    def __init__(
        self,
        setup: SearchSetup,
        model: CompiledNgramLM | None,
        weights: DecodingWeights,
        options: BeamOptions,
        threads: int = 1,
        second: CompiledNgramLM | None = None,
    ) -> None:
        """Set the search up.

        model: opened over `setup.words`; None to search without a language model.
        threads: utterances searched at a time.
        second: another model over the same words; the look-ahead is by `weights`, whatever weights
        a call has.
        Raises SearchError when memory runs out, and for options that the vocabulary does not allow.
        """
        if options.skip_blank is not None and setup.ends_with_blank:
            raise SearchError(
                "--skip-blank needs a word boundary among the model's symbols; here the blanks end "
                "words: leave it out."
            )
        self.setup, self.weights, self.options, self.threads = setup, weights, options, threads
        self._indices: dict[str, int] | None = None
        self._model, self._second = model, second  # the engine reads their memory
        count = len(setup.words)
        indices = np.zeros(count, np.uint32) if model is None else model.indices
        unigrams = self._unigrams(weights)
        spelled = setup.spellings()
        symbols, ends, owners = map(
            np.ascontiguousarray, (spelled.symbols, spelled.ends, spelled.owners)
        )
        scores = np.ascontiguousarray(unigrams[owners])  # (W,) -> (R,)
        bonuses = setup.bonuses.astype(np.float32) if setup.hotwords else None
        self.engine = native().engine_new(
            None if model is None else model.handle,
            pointer(indices),
            count,
            pointer(bonuses),
            pointer(symbols),
            pointer(ends),
            pointer(owners),
            pointer(scores),
            len(ends),
        )
        """What the library's functions take for this search."""
        if self.engine is None:
            raise SearchError(f"The search could not be set up: {native().reason()}.")
        weakref.finalize(self, native().engine_free, self.engine)
        self._ratio = math.nan
        self._weigh([weights])
        if setup.phrases:
            self._favour()
        if (floors := setup.floors) is not None:
            self._raise(floors.astype(np.float32))

    def _unigrams(self, weights: DecodingWeights) -> np.ndarray:
        """(W,) float32 score of each word at the beginning of a sentence."""
        count, floors = len(self.setup.words), self.setup.floors
        if self._model is None:
            return np.zeros(count, np.float32)
        known = self._scored_by(weights)
        scores = known.score(known.start(count), range(count))[0]
        raised = scores if floors is None else np.maximum(scores, floors)
        return raised.astype(np.float32)

    def _raise(self, floors: np.ndarray) -> None:
        """Hand the engine what no word's score may fall below, (W,) float32."""
        if not native().engine_raise(self.engine, pointer(floors), len(floors)):
            raise SearchError(f"The search could not be set up: {native().reason()}.")

    def _weigh(self, each: Sequence[DecodingWeights]) -> None:
        """Have the engine weigh the second model beside the first as these weights do."""
        ratios = {weights.second_ratio for weights in each}
        if self._second is None or ratios <= {self._ratio}:
            return
        if len(ratios) > 1:
            raise ValueError(
                "The weights of a call must agree in the ratio of both models' weights."
            )
        self._ratio = ratios.pop()
        words = self._second.indices
        address = pointer(words)
        if not native().engine_join(
            self.engine, self._second.handle, address, len(words), self._ratio
        ):
            raise SearchError(f"The search could not be set up: {native().reason()}.")

    def _scored_by(self, weights: DecodingWeights) -> LanguageModel[Any]:
        """What scores words with these weights: the language model, or both of them."""
        assert self._model is not None
        if self._second is None:
            return self._model
        return TwoModels(self._model, self._second, weights.second_ratio)

    def _favour(self) -> None:
        """Hand the phrases to the engine, and the single hot words as phrases of one."""
        favoured = self.setup.favoured
        words = np.array([word for said, _ in favoured for word in said], np.int32)
        ends = np.cumsum([len(said) for said, _ in favoured], dtype=np.uint64)
        bonuses = np.array([bonus for _, bonus in favoured], np.float32)
        addresses = pointer(words), pointer(ends), pointer(bonuses)
        if not native().engine_favour(self.engine, *addresses, len(favoured)):
            raise SearchError(f"The search could not be set up: {native().reason()}.")

    @classmethod
    def open(
        cls,
        vocabulary: Vocabulary,
        weights: DecodingWeights,
        options: BeamOptions,
        lexicon: Lexicon | FlatLexicon,
        lm_path: Path | None = None,
        cache: Path | None = None,
        hotwords: Mapping[str, float] | None = None,
        threads: int = 1,
        second: Path | None = None,
        floor: float = FLOOR,
    ) -> CompiledSearch:
        """A search over files.

        lm_path: an ARPA file of words, or a binary file of KenLM with its words; `second`: another.
        cache: the folder that keeps their automata.
        floor: of hot words that the language model lacks: see `prepare`.
        Raises SearchError, LanguageModelError, ArpaError or LexiconError for what cannot be used.
        """
        if lm_path is None:
            return cls(
                prepare(vocabulary, lexicon, None, hotwords), None, weights, options, threads
            )
        if cache is None:
            raise SearchError("A language model needs a folder to keep its automaton in.")
        file = ArpaFile(lm_path, cache)
        if second is None:
            setup = prepare(vocabulary, lexicon, file, hotwords, floor=floor)
            return cls(setup, file.model, weights, options, threads)
        other = ArpaFile(second, cache)
        both = TwoFiles(file, other, weights.second_lm_weight)
        setup = prepare(vocabulary, lexicon, both, hotwords, floor=floor)
        return cls(setup, file.model, weights, options, threads, other.model)

    def __call__(
        self,
        emissions: np.ndarray,
        lengths: Sequence[int],
        weights: DecodingWeights | Sequence[DecodingWeights] | None = None,
        contexts: Sequence[Context] | None = None,
    ) -> list[list[Hypothesis]]:
        """Search (B, T, V) float32 log-probabilities with (B,) valid frames.

        weights: from this call on for all, or (B,) for this call; None leaves them as they are.
        contexts: (B,) what surrounds each utterance; None where each is a sentence.
        Returns up to `nbest` hypotheses for each utterance, best first, different in their words;
        where its sentence goes on and `nbest` is 1, up to `EXITS` that differ in the state.
        With two language models the ratio of their weights is one for the call.
        Raises ValueError for emissions of another vocabulary, MemoryError for too wide a beam.
        """
        if isinstance(weights, DecodingWeights):
            self.weights = weights
        each = weights if isinstance(weights, Sequence) else [self.weights] * len(lengths)
        around = contexts or [ALONE] * len(lengths)
        with self._searched(emissions, lengths, each, around) as done:
            return [
                self._found(done.batch, i, frames, done.searched[i], wanted, (each[i], around[i]))
                if len(frames)
                else [NOTHING]
                for i, (frames, wanted) in enumerate(zip(done.valid, done.wanted, strict=True))
            ]

    def parts(
        self, emissions: np.ndarray, lengths: Sequence[int], weights: Sequence[DecodingWeights]
    ) -> list[list[ScoreParts]]:
        """The texts and scores of what a call finds, for a fraction of its time.

        Words are not placed in time, which is most of what a list of many hypotheses takes.
        """
        if self.options.mbr:
            found = self(emissions, lengths, weights)
            return [
                [parts_of(one, how) for one in each]
                for each, how in zip(found, weights, strict=True)
            ]
        with self._searched(emissions, lengths, weights, [ALONE] * len(lengths)) as done:
            return [
                outlined(
                    frames,
                    _all_paths(done.batch, i, done.searched[i]),
                    self.setup,
                    wanted,
                    weights[i],
                )
                if len(frames)
                else [parts_of(NOTHING, weights[i])]
                for i, (frames, wanted) in enumerate(zip(done.valid, done.wanted, strict=True))
            ]

    @contextmanager
    def _searched(
        self,
        emissions: np.ndarray,
        lengths: Sequence[int],
        weights: Sequence[DecodingWeights],
        contexts: Sequence[Context],
    ) -> Iterator[_Searched]:
        """Search; what the library found is there until the end."""
        vocabulary, library = self.setup.vocabulary, native()
        valid = [
            np.ascontiguousarray(valid_frames(emission, length, vocabulary), np.float32)
            for emission, length in zip(emissions, lengths, strict=True)
        ]
        searched = [self.setup.searched(frames) for frames in valid]
        counts = np.array([len(frames) for frames in searched], np.int32)
        # (T, V) each -> one row of numbers, utterance after utterance
        flat = np.concatenate([np.zeros(0, np.float32), *(frames.ravel() for frames in searched)])
        self._weigh(weights)
        options = (SearchOptions * len(valid))(*map(self.search_options, weights))
        surrounding = _Surroundings(contexts, self._index, self.options.nbest)
        batch = library.search(
            self.engine,
            ctypes.addressof(options),
            pointer(flat),
            pointer(counts),
            len(valid),
            len(vocabulary.symbols),
            self.threads,
            surrounding.address,
        )
        if batch is None:
            raise MemoryError("The search ran out of memory: try a smaller beam.")
        try:
            yield _Searched(batch, valid, counts.tolist(), surrounding.wanted(self.options.nbest))
        finally:
            library.free(batch)

    def _found(
        self,
        batch: int,
        i: int,
        frames: np.ndarray,
        searched: int,
        wanted: int,
        how: tuple[DecodingWeights, Context],
    ) -> list[Hypothesis]:
        """`wanted` hypotheses of utterance `i`: (T, V) frames, of which it `searched` some more."""
        options = self.options
        lattice = self._lattice(batch, i) if options.keeps_lattice else None
        told = lattice if options.confidences else None
        paths = list(_paths(batch, i, searched))
        found = hypotheses(frames, paths, self.setup, wanted, told, options.posterior_scale)
        if options.mbr and lattice is not None and found:
            found = self._fewest_errors(frames, found, lattice, how)[:wanted]
        return [replace(one, lattice=lattice) for one in found] if options.lattice else found

    def _fewest_errors(
        self,
        frames: np.ndarray,
        found: list[Hypothesis],
        lattice: Lattice,
        how: tuple[DecodingWeights, Context],
    ) -> list[Hypothesis]:
        """The hypotheses with that of the fewest expected errors first."""
        options, best = self.options, found[0]
        spoken = [word.text for word in best.words]
        if not lattice.scores.size:
            return found
        chosen = lattice.least_errors(spoken, options.mbr_scale)
        for place, one in enumerate(found):
            if one.entry == best.entry and [word.text for word in one.words] == chosen:
                return [one, *found[:place], *found[place + 1 :]]
        path = self._path_of(chosen, frames, best.entry, how)
        if path is None:
            return found
        told = lattice if options.confidences else None
        return hypotheses(frames, [path], self.setup, 1, told, options.posterior_scale) + found

    def _path_of(
        self,
        words: Sequence[str],
        frames: np.ndarray,
        entry: int,
        how: tuple[DecodingWeights, Context],
    ) -> FoundPath | None:
        """The best path of these words after an entry, with its scores; None if none fits."""
        (weights, context), setup = how, self.setup
        indices = [self._index(word) for word in words]
        sil_score = setup.sil_score(weights.sil_score)
        path = laid(frames, words, indices, setup, sil_score)
        if path is None:
            return None
        symbols, said = path
        acoustic = float(frames[np.arange(len(frames)), symbols].sum(dtype=np.float64))
        before = [self._index(word) for word in context.entries[entry].words]
        lm = self._said(indices, before, context.goes_on, weights)
        unknown = sum(setup.text(word) is None for word in indices)
        score = acoustic + weights.lm_weight * lm
        score += weights.word_score * (len(words) - unknown)
        score += weights.unk_score * unknown if unknown else 0.0
        score += sil_score * int((symbols == setup.silence).sum())
        score += self._phrases.bonus(indices, before, context.goes_on)
        return FoundPath(symbols, said, score, acoustic, lm, entry)

    @functools.cached_property
    def _phrases(self) -> PhraseAutomaton:
        """The engine's phrases, for words that it did not find itself."""
        return PhraseAutomaton.of(self.setup)

    def _said(
        self, words: Sequence[int], before: Sequence[int], goes_on: bool, weights: DecodingWeights
    ) -> float:
        """The language model's score of words after those before them, and of the sentence's end
        unless it goes on."""
        if self._model is None:
            return 0.0
        model, floors = self._scored_by(weights), self.setup.floors
        states, total = model.start(), 0.0
        for place, word in enumerate([*before, *words]):
            score, states = model.score(states, [word])
            least = -math.inf if floors is None else float(floors[word])
            total += max(float(score[0]), least) if place >= len(before) else 0.0
        return total if goes_on else total + float(model.finish(states)[0])

    def _lattice(self, batch: int, utterance: int) -> Lattice:
        """The lattice of one utterance."""
        library, sizes = native(), np.zeros(2, np.uint64)
        library.lattice_sizes(batch, utterance, pointer(sizes))
        nodes, arcs = sizes.tolist()
        times, ends = np.zeros(nodes, np.int32), np.zeros((arcs, 2), np.uint32)
        said, spelled = np.zeros(arcs, np.int32), np.zeros(arcs, np.uint32)
        scores = np.zeros((arcs, 3))
        arrays = [pointer(array) for array in (times, ends, said, spelled, scores)]
        library.lattice(batch, utterance, *arrays)
        # (A,) word and spelling of each arc -> the different ones, and which of them each has
        pairs, labels = np.unique(said.astype(np.int64) << 32 | spelled, return_inverse=True)
        texts = [self._text(int(pair) >> 32, int(pair) & 0xFFFFFFFF) for pair in pairs.tolist()]
        words = tuple(dict.fromkeys(text for text in texts if text is not None))
        place = {text: i for i, text in enumerate(words)} | {None: -1}
        named = np.array([place[text] for text in texts], np.int32)
        starts, leads_to = np.ascontiguousarray(ends.T)  # (A, 2) -> (A,) each
        total, acoustic, lm = np.ascontiguousarray(scores.T)
        return Lattice(words, times, starts, leads_to, named[labels], total, acoustic, lm)

    def _text(self, word: int, spelled: int) -> str | None:
        """The text of a word; `spelled` is the trie node of an unknown one. None for no word."""
        if word < 0:
            return None
        text = self.setup.text(word)
        if text is not None:
            return text
        symbols = np.zeros(LONGEST, np.int32)
        count = native().spelling(self.engine, spelled, pointer(symbols), LONGEST)
        letters = self.setup.vocabulary.letters
        names = self.setup.vocabulary.symbols
        return self.setup.vocabulary.text(
            symbol for symbol in symbols[:count].tolist() if names[symbol] in letters
        )

    def _index(self, word: str) -> int:
        """The index of a word that was said before an utterance."""
        if self._indices is None:  # few searches need it
            self._indices = {word: i for i, word in enumerate(self.setup.words)}
        return self._indices.get(word, len(self.setup.words) - 1)

    def search_options(self, weights: DecodingWeights) -> SearchOptions:
        """Weights and the search's options, as the library takes them."""
        options, vocabulary = self.options, self.setup.vocabulary
        # The library tells results apart by words. Unknown ones differ in their letters, which are
        # read here: then it returns the whole beam, for `nbest` different texts to be among, and
        # keeps histories apart, since its lattice would have to hold every spelling.
        one = options.nbest == 1
        apart = one or weights.unk_score == -math.inf
        return SearchOptions(
            lm_weight=weights.lm_weight,
            word_score=weights.word_score,
            unk_score=weights.unk_score,
            sil_score=self.setup.sil_score(weights.sil_score),
            beam_threshold=options.threshold,
            lattice_beam=options.lattice_beam,
            skip_blank=1.0 if options.skip_blank is None else math.log(options.skip_blank),
            beam=options.width,
            beam_tokens=options.tokens or len(vocabulary.symbols),
            nbest=options.nbest if apart else options.width,
            silence=self.setup.silence,
            blank=vocabulary.blank,
            unknown_word=len(self.setup.words) - 1,
            by_state=options.recombine == "state" and apart,
            lattice=options.keeps_lattice,
        )


class _Searched(NamedTuple):
    """Utterances that the library has searched."""

    batch: int
    """What its functions take for them."""
    valid: list[np.ndarray]
    """(T, V) log-probabilities of each."""
    searched: list[int]
    """Frames of each that were searched: T or a few more."""
    wanted: list[int]
    """How many hypotheses each gives."""


class _Surroundings:
    """Contexts of utterances in the library's arrays."""

    def __init__(
        self, contexts: Sequence[Context], index: Callable[[str], int], nbest: int
    ) -> None:
        """index: of a word. nbest: with more than one, an utterance has one beginning."""
        self._many = nbest == 1
        self._goes_on = [context.goes_on for context in contexts]
        self._arrays: list[np.ndarray] = []  # which the library reads
        made = [self._made(context, index) for context in contexts]
        self._made_all = (SearchContext * len(made))(*made)
        self.address = ctypes.addressof(self._made_all)

    def wanted(self, nbest: int) -> list[int]:
        """How many hypotheses each utterance gives."""
        return [EXITS if on and self._many else nbest for on in self._goes_on]

    def _made(self, context: Context, index: Callable[[str], int]) -> SearchContext:
        entries = context.entries if self._many else context.entries[:1]
        said = [[index(word) for word in entry.words] for entry in entries]
        arrays = (
            np.array([word for one in said for word in one], np.int32),
            np.cumsum([len(one) for one in said], dtype=np.uint64),
            np.array([entry.score for entry in entries], np.float64),
        )
        self._arrays += arrays
        exits = EXITS if context.goes_on and self._many else 1
        addresses = [pointer(array) for array in arrays]
        return SearchContext(*addresses, len(entries), context.goes_on, exits)


def _paths(batch: int, utterance: int, frames: int) -> Iterator[FoundPath]:
    """What the library found in one utterance of `frames` searched frames, best first."""
    library, scores = native(), np.zeros(3)
    for rank in range(library.found(batch, utterance)):
        symbols, words = np.zeros(frames, np.int32), np.zeros(frames, np.int32)
        entry = library.hypothesis(
            batch, utterance, rank, pointer(scores), pointer(symbols), pointer(words)
        )
        score, acoustic, lm = scores.tolist()
        yield FoundPath(symbols, words, score, acoustic, lm, entry)


def _all_paths(batch: int, utterance: int, frames: int) -> FoundPaths:
    """What the library found in one utterance of `frames` searched frames, in arrays."""
    library = native()
    count = library.found(batch, utterance)
    symbols, words = np.zeros((count, frames), np.int32), np.zeros((count, frames), np.int32)
    scores = np.zeros((count, 3))
    arrays = (scores, symbols, words)
    bases = [array.ctypes.data for array in arrays]
    steps = [array.strides[0] for array in arrays]
    entries = [
        library.hypothesis(
            batch,
            utterance,
            rank,
            *(base + rank * step for base, step in zip(bases, steps, strict=True)),
        )
        for rank in range(count)
    ]
    return FoundPaths(symbols, words, scores, entries)
