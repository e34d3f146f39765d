"""What a search is, as a value that travels between processes; nothing heavy is imported to read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lm.hypothesis import BeamOptions, DecodingWeights

Engine = Literal["greedy", "flashlight"]


@dataclass(frozen=True)
class SearchSpec:
    """Everything a search process needs to set itself up."""

    labels: tuple[str, ...]
    """The acoustic model's, in order."""
    engine: Engine
    lm: Path | None = None
    """A KenLM model, ARPA or binary."""
    lexicon: Path | None = None
    """`word<TAB>s p e l l i n g |` lines."""
    spell_words: bool = False
    """Without a lexicon file: spell the words of the (ARPA) language model by their characters."""
    weights: DecodingWeights = DecodingWeights()
    options: BeamOptions = BeamOptions()
