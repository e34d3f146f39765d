"""A search as a value that travels between processes, and the interface of what runs one.

Importing this module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from lm.decoding import FLOOR, BeamOptions, DecodingWeights
from lm.hypothesis import Hypothesis
from lm.score_parts import ScoreParts
from lm.search.context import EXITS, Context
from lm.text.vocabulary import Vocabulary
from w2v2cli.recognition.devices import Precision

Engine = Literal["greedy", "flashlight", "compiled", "batched"]


@dataclass(frozen=True)
class SearchSpec:
    """Everything that a search process needs to set itself up."""

    labels: tuple[str, ...]
    """The acoustic model's output symbols, in order."""
    engine: Engine
    lm: Path | None = None
    """An ARPA file or a word Transformer; for flashlight also a KenLM binary."""
    lexicon: Path | None = None
    """A file of `word<TAB>s p e l l i n g |` lines."""
    words: Path | None = None
    """Without a lexicon file: a file of words, one a line, spelled by characters or pieces."""
    spell_words: bool = False
    """Without a lexicon file: spell the language model's own words by characters or pieces."""
    weights: DecodingWeights = DecodingWeights()
    options: BeamOptions = BeamOptions()
    hotwords: dict[str, float] = field(default_factory=dict)
    """Added to the score each time a word is said."""
    hotwords_floor: float = FLOOR
    """log10 p that the score of a hot word may not fall below where a language model lacks it."""
    cache: Path | None = None
    """The folder that keeps what the compiled and the batched engine make of the files."""
    transformer: bool = False
    """Whether `lm` is a word Transformer."""
    device: str = "cpu"
    """Where the batched engine and Transformers run."""
    lm_precision: Precision = "auto"
    """Numbers of a Transformer."""
    lm_cache_gb: float | None = None
    """Memory for a Transformer's keys and values, in 10^9 bytes; None takes what is free."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """The checkpoint's metadata: it may name the labels' units and hold the word-piece model."""
    second: Path | None = None
    """Another language model, whose score is added by `weights.second_lm_weight`."""
    second_words: bool = False
    """Whether the words of `second` can be found besides those of the lexicon."""
    second_transformer: bool = False
    """Whether `second` is a word Transformer."""

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the labels. Raises ValueError where they make none."""
        return Vocabulary.from_metadata(self.labels, self.metadata)

    @property
    def exits(self) -> int:
        """How many hypotheses are carried over a cut of a long recording; 0 where none can be.

        flashlight begins every piece with a sentence. The batched engine, and a search for lists
        of the n best, take the best hypothesis along.
        """
        if self.engine in ("greedy", "flashlight"):
            return 0
        return EXITS if self.engine == "compiled" and self.options.nbest == 1 else 1

    @property
    def writes_phones(self) -> bool:
        """Whether hypotheses are phones: those of a phone model without a lexicon."""
        return self.vocabulary.units == "phones" and self.lexicon is None and not self.spell_words


class Searches(Protocol):
    """A context manager that searches emissions, in whatever process or thread."""

    spec: SearchSpec
    vocabulary: Vocabulary
    workers: int
    """Utterances that are searched at once, each in a thread or process of its own."""
    at_once: int
    """Searches that run at once: those of `workers`, or the rows of a batch."""

    def __enter__(self) -> Searches: ...

    def __exit__(self, *details: object) -> None: ...

    def submit(
        self,
        emission: np.ndarray,
        weights: DecodingWeights | None = None,
        context: Context | None = None,
    ) -> Future[list[Hypothesis]]:
        """Search a (T, V) float32 emission, with `weights` or the spec's.

        context: what surrounds it, for a search that has `exits`; None where it is a sentence.
        Returns a future of its hypotheses, best first; it raises SearchFailed.
        """

    def submit_each(
        self, emission: np.ndarray, weights: Sequence[DecodingWeights]
    ) -> list[Future[list[ScoreParts]]]:
        """Search an emission with each of several weights, together.

        Returns a future for each, of texts and scores alone.
        """

    def wait_until_ready(self) -> None:
        """Wait until lexicon and language model are read. Raises SearchFailed if they are not."""

    def words(self) -> Sequence[str] | None:
        """The words that can be found, once it is ready; None where it searches for none."""
