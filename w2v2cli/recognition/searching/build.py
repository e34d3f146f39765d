"""Searches and language models, built from the files that a `SearchSpec` names.

Nothing heavy is imported before it is needed: the search server builds without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis
from lm.language_model import UNK
from lm.native.library import is_built
from lm.ngram.carried import read_words
from lm.ngram.kenlm import check_file, is_arpa, listed_words, lists_words
from lm.score_parts import ScoreParts, parts_of
from lm.search.context import Context
from lm.search.flat_lexicon import FlatLexicon, kept_lexicon
from lm.search.setup import SearchError, SearchSetup, prepare
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary
from storage.hashing import remembered_hash
from w2v2cli.recognition.searching.spec import SearchSpec

if TYPE_CHECKING:
    import torch

    from lm.ngram.layout import AutomatonArrays
    from lm.ngram.room import Room
    from lm.search.batched.search import BatchedSearch
    from lm.search.compiled import CompiledSearch
    from lm.transformer.model import TransformerLM
    from w2v2cli.data.locations import LmLocation
    from w2v2cli.recognition.devices import Precision

CPU_CACHE = 2.0  # 10^9 bytes of a Transformer's keys and values
FREE_SHARE = 0.5  # of a GPU's free memory that they take; the acoustic model needs some, too

Warn = Callable[[str], None]


class Search(Protocol):
    """An engine ready to run."""

    def __call__(
        self,
        emissions: np.ndarray,
        lengths: Sequence[int],
        weights: DecodingWeights | Sequence[DecodingWeights] | None = None,
        contexts: Sequence[Context] | None = None,
    ) -> list[list[Hypothesis]]:
        """Search (B, T, V) log-probabilities with (B,) valid frames.

        weights: from this call on for all, or (B,) for this call; None leaves them as they are.
        contexts: what surrounds each, for an engine that has `SearchSpec.exits`.
        """


def build_search(spec: SearchSpec, warn: Warn) -> Search:
    """Build the search that `spec` describes, with any engine but the best path.

    Raises ValueError or OSError for files that cannot be used.
    """
    if spec.engine == "batched":
        from w2v2cli.recognition.devices import resolve_device

        return build_batched(spec, resolve_device(spec.device), warn)
    return build_compiled(spec, warn) if spec.engine == "compiled" else _flashlight(spec, warn)


def searched_parts(
    search: Search,
    emissions: np.ndarray,
    lengths: Sequence[int],
    weights: Sequence[DecodingWeights],
) -> list[list[ScoreParts]]:
    """The texts and scores of what a search finds with (B,) weights, without places in time."""
    from lm.search.compiled import CompiledSearch

    if isinstance(search, CompiledSearch):
        return search.parts(emissions, lengths, weights)
    found = search(emissions, lengths, weights)
    return [[parts_of(one, how) for one in each] for each, how in zip(found, weights, strict=True)]


def build_batched(spec: SearchSpec, device: torch.device, warn: Warn) -> BatchedSearch:
    """Build the batched search of `spec` on a device. Raises as `build_search` does."""
    from lm.search.batched.search import BatchedSearch

    if spec.second is not None:
        return _build_batched_with_two(spec, device, warn)
    file: _TransformerFile | _ArrayFile | None = None
    if spec.lm is not None:
        file = _TransformerFile(spec, device, warn) if spec.transformer else _ArrayFile(spec)
    lexicon = _lexicon(spec, warn)
    if lexicon is None:
        words = file.own_words() if file is not None else ()
        if words and spec.vocabulary.are_symbols(words):
            raise SearchError(
                f"{spec.lm} is a language model of the model's symbols, not of words: only an "
                "ARPA file of symbols can be searched with (--search flashlight)."
            )
        lexicon = FlatLexicon.of(Lexicon.from_words(words, spec.vocabulary))
    setup = prepare(spec.vocabulary, lexicon, file, spec.hotwords, floor=spec.hotwords_floor)
    _pass_on(setup.warnings, warn)
    model = None if file is None else file.model
    return BatchedSearch(setup, model, spec.weights, spec.options, device)


def _build_batched_with_two(spec: SearchSpec, device: torch.device, warn: Warn) -> BatchedSearch:
    """`build_batched` with two language models, of which one may be a Transformer.

    They are asked by their verbs, through Python, which takes longer than an n-gram on the device.
    """
    from lm.search.batched.search import BatchedSearch
    from lm.search.compiled import ArpaFile
    from lm.search.two_models import TwoFiles, WordsFile

    assert spec.lm is not None and spec.second is not None and spec.cache is not None

    def file_of(path: Path, transformer: bool) -> WordsFile:
        assert spec.cache is not None
        if transformer:
            return _TransformerFile(replace(spec, lm=path), device, warn)
        return ArpaFile(path, spec.cache)

    first, second = (
        file_of(path, transformer)
        for path, transformer in (
            (spec.lm, spec.transformer),
            (spec.second, spec.second_transformer),
        )
    )
    both = TwoFiles(first, second, spec.weights.second_lm_weight)
    lexicon = _lexicon(spec, warn)
    if lexicon is None:  # the words are those of a Transformer
        assert isinstance(first, _TransformerFile)
        made = Lexicon.from_words(first.own_words(), spec.vocabulary)
        if spec.second_words:
            made = made.with_words(listed_words(spec.second), spec.vocabulary)
        lexicon = FlatLexicon.of(made)
    setup = prepare(spec.vocabulary, lexicon, both, spec.hotwords, floor=spec.hotwords_floor)
    _pass_on(setup.warnings, warn)
    model = both.of(spec.weights.second_ratio)
    return BatchedSearch(setup, model, spec.weights, spec.options, device)


def open_language_model(
    location: LmLocation,
    *,
    cache: Path,
    device: str,
    lm_cache_gb: float | None = None,
    lm_precision: Precision = "auto",
    words: Sequence[str] | None = None,
    upper: bool = True,
    warn: Warn = lambda sentence: None,
) -> Any:
    """Open a language model of the three verbs, outside any search.

    cache: the folder that keeps automata. device, lm_cache_gb, lm_precision: for a Transformer,
    where it runs, its memory for keys and values, in 10^9 bytes, and the type of its numbers.
    words: those that indices stand for; by default the model's own and <unk>.
    upper: see `lm.transformer.fairseq.read_fairseq_lm`.
    Raises ValueError or OSError for a file that cannot be used, ImportError for one that needs
    KenLM where that is not installed.
    """
    assert location.path is not None
    listed = location.kind == "arpa" or lists_words(location.path)
    if location.kind == "kenlm" and words is None and not listed:
        raise ValueError(
            f"--rescore takes a language model that lists its words, and {location.path} is a "
            "KenLM binary that was built without them."
        )
    if location.kind != "transformer" and not (listed and is_built()):
        from lm.ngram.kenlm import NgramLM

        return NgramLM(location.path, words)
    if location.kind == "transformer":
        from lm.transformer.fairseq import read_transformer
        from w2v2cli.recognition.devices import resolve_device

        checkpoint = read_transformer(location.path, upper=upper, warn=warn)
        words = [*checkpoint.dictionary.words, UNK] if words is None else words
        return _transformer(checkpoint, words, resolve_device(device), lm_cache_gb, lm_precision)
    from lm.ngram.automaton import open_automaton

    words = [*listed_words(location.path), UNK] if words is None else words
    model, warnings = open_automaton(location.path, cache, words)
    _pass_on(warnings, warn)
    return model


def keep_files(
    spec: SearchSpec, warn: Warn, before: Callable[[Room], None]
) -> tuple[Path | None, int]:
    """Make the files that the search of `spec`, compiled or batched, keeps.

    before: called with what the language model's file will take, before it is made; what it raises
    keeps the file from being made.
    Returns the path of that file, and the number of words that are kept with their spellings.
    Raises ValueError or OSError for files that cannot be used.
    """
    from lm.ngram.automaton import automaton_file, kept_path
    from lm.ngram.room import room_for

    assert spec.cache is not None
    made = None
    if spec.lm is not None:
        check_file(spec.lm)
        if not kept_path(spec.lm, spec.cache).exists():
            before(room_for(spec.lm, spec.cache))
        made = automaton_file(spec.lm, spec.cache)
    lexicon = _lexicon(spec, warn)
    return made, 0 if lexicon is None else len(lexicon)


def searched_setup(spec: SearchSpec) -> SearchSetup:
    """What a search with a lexicon searches, without its language model.

    Raises ValueError or OSError for files that cannot be used.
    """
    return prepare(spec.vocabulary, _lexicon(spec, lambda sentence: None), None, spec.hotwords)


def searched_words(spec: SearchSpec) -> Sequence[str] | None:
    """The words that a search in processes can find, hot words included.

    None for the best path, and for a search over symbols. Raises ValueError or OSError for files
    that cannot be used.
    """
    if spec.engine == "greedy":
        return None
    lexicon = _lexicon(spec, lambda sentence: None)
    if lexicon is None:
        return None
    words = lexicon.words if isinstance(lexicon, FlatLexicon) else list(lexicon.spellings)
    return [*words, *(word for phrase in spec.hotwords for word in phrase.split())]


def read_lexicon(
    vocabulary: Vocabulary, listed: Path | None, words: Path | None, ngrams: Path
) -> Lexicon:
    """The spellings in the file `listed`, else of the file `words`, else of an n-gram file's words.

    Raises ValueError or OSError for files that cannot be used.
    """
    if listed is not None:
        return Lexicon.read(listed, vocabulary)
    spelled = listed_words(ngrams) if words is None else read_words(words)
    return Lexicon.from_words(spelled, vocabulary)


def build_compiled(spec: SearchSpec, warn: Warn) -> CompiledSearch:
    """Build the compiled search of `spec`. Raises as `build_search` does."""
    from lm.search.compiled import CompiledSearch

    lexicon = _lexicon(spec, warn)
    assert lexicon is not None
    search = CompiledSearch.open(
        spec.vocabulary,
        spec.weights,
        spec.options,
        lexicon,
        spec.lm,
        spec.cache,
        spec.hotwords,
        second=spec.second,
        floor=spec.hotwords_floor,
    )
    _pass_on(search.setup.warnings, warn)
    return search


def _flashlight(spec: SearchSpec, warn: Warn) -> Search:
    from lm.search.flashlight import FlashlightSearch

    _refuse_as_others_do(spec, warn)
    search = FlashlightSearch.open(
        spec.vocabulary,
        spec.weights,
        spec.options,
        _lexicon(spec, warn),
        spec.lm,
        spec.hotwords,
        spec.hotwords_floor,
    )
    _pass_on(search.setup.warnings, warn)
    return search


def _refuse_as_others_do(spec: SearchSpec, warn: Warn) -> None:
    """Raise for an ARPA file that the other engines refuse.

    KenLM makes up contexts that are missing and reads lines that are none: a damaged file would be
    searched with, without a word, by this engine alone.
    """
    from lm.ngram.automaton import from_cache

    if spec.lm is not None and spec.cache is not None and is_arpa(spec.lm) and is_built():
        check_file(spec.lm)
        _pass_on(from_cache(spec.lm, spec.cache, lambda made: None)[1], warn)


def _lexicon(spec: SearchSpec, warn: Warn) -> FlatLexicon | Lexicon | None:
    """The spellings of `spec`: of its lexicon file, else of its words or the n-gram file's.

    None where the search is over symbols, or the words are a Transformer's. With a cache they are
    kept in it, and read from it the next time.
    """
    vocabulary, listed = spec.vocabulary, spec.lexicon
    source = listed or spec.words
    if source is None and spec.spell_words and not spec.transformer:
        source = spec.lm
    if source is None:
        return None

    # A model's words can be spelled by characters and pieces, not by phones.
    speaks = spec.second_words and not spec.second_transformer and vocabulary.units != "phones"
    further = spec.second if speaks else None

    def make() -> Lexicon:
        read = read_lexicon(vocabulary, listed, spec.words, source)
        return read if further is None else read.with_words(listed_words(further), vocabulary)

    if listed is None:
        check_file(source)
    if further is not None:
        check_file(further)
    if spec.cache is None:
        return make()
    how = "lexicon" if listed is not None else "words" if spec.words is not None else "ARPA"
    content = f"{remembered_hash(source)} {how}"
    if further is not None:
        content += f" and {remembered_hash(further)}"
    lexicon, warnings = kept_lexicon(content, vocabulary, spec.cache, make)
    _pass_on(warnings, warn)
    return lexicon


class _ArrayFile:
    """An ARPA file as the batched search opens it: its automaton in arrays."""

    def __init__(self, spec: SearchSpec) -> None:
        assert spec.lm is not None and spec.cache is not None
        self.path, self.cache = spec.lm, spec.cache
        self.model: AutomatonArrays | None = None

    def own_words(self) -> Sequence[str]:
        """The unigrams of the file."""
        check_file(self.path)
        return listed_words(self.path)

    def open(self, words: Sequence[str]) -> list[str]:
        """See `ModelFile`; the arrays serve any words."""
        from lm.ngram.arrays import kept_automaton

        self.model, warnings = kept_automaton(self.path, self.cache)
        return warnings

    def knows(self, words: Sequence[str]) -> Sequence[bool]:
        """See `ModelFile`."""
        assert self.model is not None
        return [word in self.model.vocabulary for word in words]


class _TransformerFile:
    """A word Transformer as the batched search opens it."""

    has_unknown = True

    def __init__(self, spec: SearchSpec, device: torch.device, warn: Warn) -> None:
        from lm.transformer.fairseq import read_transformer

        assert spec.lm is not None
        self.path, self.device, self.spec = spec.lm, device, spec
        self.checkpoint = read_transformer(spec.lm, warn=warn)
        self.model: TransformerLM | None = None

    def own_words(self) -> Sequence[str]:
        """The words of its dictionary."""
        return self.checkpoint.dictionary.words

    def open(self, words: Sequence[str]) -> list[str]:
        """See `ModelFile`."""
        self.model = _transformer(
            self.checkpoint, words, self.device, self.spec.lm_cache_gb, self.spec.lm_precision
        )
        return []

    def knows(self, words: Sequence[str]) -> Sequence[bool]:
        """See `ModelFile`."""
        return [word in self.checkpoint.dictionary.index for word in words]


def _transformer(
    checkpoint: Any,
    words: Sequence[str],
    device: torch.device,
    cache_gb: float | None,
    precision: Precision,
) -> TransformerLM:
    from lm.transformer.checkpoint import build_transformer
    from lm.transformer.model import TransformerLM
    from w2v2cli.recognition.devices import resolve_lm_precision

    network = build_transformer(checkpoint).to(device, resolve_lm_precision(precision, device))
    gigabytes = free_gb(device) if cache_gb is None else cache_gb
    return TransformerLM(network, checkpoint.dictionary, words, cache_gb=gigabytes)


def free_gb(device: torch.device) -> float:
    """Memory for keys and values where nobody said how much, in 10^9 bytes."""
    if device.type == "cpu":
        return CPU_CACHE
    import torch

    return FREE_SHARE * torch.cuda.mem_get_info(device)[0] / 1e9


def _pass_on(warnings: Sequence[str], warn: Warn) -> None:
    for sentence in warnings:
        warn(sentence)
