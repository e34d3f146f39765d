"""What a search is, as a value that travels between processes, and what runs one; nothing heavy is imported to read it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from lm.decoding import BeamOptions, DecodingWeights
from lm.hypothesis import Hypothesis
from lm.text.vocabulary import Vocabulary

Engine = Literal["greedy", "flashlight", "compiled", "batched"]


@dataclass(frozen=True)
class SearchSpec:
    """Everything a search process needs to set itself up."""

    labels: tuple[str, ...]
    """The acoustic model's, in order."""
    engine: Engine
    lm: Path | None = None
    """An ARPA file or a word Transformer; flashlight takes a KenLM binary, too."""
    lexicon: Path | None = None
    """`word<TAB>s p e l l i n g |` lines."""
    spell_words: bool = False
    """Without a lexicon file: spell the words of the (ARPA) language model by their characters or pieces."""
    weights: DecodingWeights = DecodingWeights()
    options: BeamOptions = BeamOptions()
    hotwords: dict[str, float] = field(default_factory=dict)
    """Added to the score for each time a word is said."""
    cache: Path | None = None
    """The folder where our own engines keep what they make of language models and lexicons."""
    transformer: bool = False
    """Whether `lm` is a word Transformer."""
    device: str = "cpu"
    """Of the batched engine."""
    lm_cache_gb: float = 2.0
    """Memory for a Transformer's keys and values, in 10^9 bytes."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """The checkpoint's: it may say what the labels are, and hold the model of word pieces."""

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The labels as what they are; ValueError where they make no vocabulary."""
        return Vocabulary.from_metadata(self.labels, self.metadata)

    @property
    def writes_phones(self) -> bool:
        """Whether hypotheses are phones: those of a phone model that no lexicon makes words of."""
        return self.vocabulary.units == "phones" and self.lexicon is None and not self.spell_words


class Searches(Protocol):
    """What searches emissions, wherever it does: a context manager, as `SearchPool` describes it."""

    spec: SearchSpec
    vocabulary: Vocabulary
    workers: int
    """Searches that run at once."""

    def __enter__(self) -> Searches: ...

    def __exit__(self, *details: object) -> None: ...

    def submit(
        self, emission: np.ndarray, weights: DecodingWeights | None = None
    ) -> Future[list[Hypothesis]]:
        """Search a (T, V) float32 emission; the future holds its hypotheses, best first, or raises SearchFailed."""

    def wait_until_ready(self) -> None:
        """Return once lexicon and language model are read; SearchFailed says why they cannot be."""
