"""Lattices scored again (`--rescore-over lattice`), read as hypotheses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lm.decoding import BeamOptions, DecodingWeights
from lm.hypothesis import Hypothesis
from lm.lattice import Lattice
from lm.lattice_rescoring import SecondPass, rescored
from lm.search.paths import FoundPath, hypotheses, laid
from w2v2cli.recognition.searching.build import searched_setup
from w2v2cli.recognition.searching.spec import SearchSpec

if TYPE_CHECKING:
    from lm.language_model import LanguageModel

CONTEXT = (
    3  # words by which histories of a Transformer are told apart: as many as a 4-gram looks at
)


def inner_beam(beam: BeamOptions) -> BeamOptions:
    """The options of a search whose lattices are scored again.

    With lists of two a search begins in one way after a cut, and so does its lattice.
    """
    return replace(beam, nbest=min(2, beam.width), lattice=True, confidences=False)


class LatticeReader:
    """Scores lattices again, and lays the words of their best paths onto the frames."""

    def __init__(self, spec: SearchSpec, beam: BeamOptions, context: int | None) -> None:
        """spec: of the search. beam: what is wanted of the hypotheses. context: see `SecondPass`.

        Raises ValueError or OSError for files that cannot be used.
        """
        self._setup = searched_setup(spec)
        self._index = {word: i for i, word in enumerate(self._setup.words)}
        self._first, self._beam, self._context = spec.weights, beam, context

    def read(
        self,
        found: Sequence[tuple[np.ndarray, list[Hypothesis]]],
        model: LanguageModel[Any],
        weights: DecodingWeights,
        first_pass_weight: float,
    ) -> list[list[Hypothesis]]:
        """Up to `beam.nbest` hypotheses of each utterance, best first.

        found: (T, V) emissions, and what the first search found, with its lattice.
        """
        how = SecondPass(self._first, weights, first_pass_weight, self._context)
        lattices = [first.lattice for _, (first, *_) in found if first.lattice is not None]
        again = iter(rescored(lattices, model, how))
        return [
            self._hypotheses(frames, next(again)) if first.lattice is not None else [first]
            for frames, (first, *_) in found
        ]

    def _hypotheses(self, frames: np.ndarray, lattice: Lattice) -> list[Hypothesis]:
        beam = self._beam
        paths = lattice.best_paths(beam.nbest)
        read = [path for arcs in paths if (path := self._path(frames, lattice, arcs)) is not None]
        told = lattice if beam.confidences else None
        found = hypotheses(frames, read, self._setup, beam.nbest, told, beam.posterior_scale)
        return [replace(one, lattice=lattice) for one in found] if beam.lattice else found

    def _path(self, frames: np.ndarray, lattice: Lattice, arcs: Sequence[int]) -> FoundPath | None:
        words = [lattice.words[label] for label in lattice.labels[arcs].tolist() if label >= 0]
        indices = [self._index.get(word, len(self._index) - 1) for word in words]
        sil_score = self._setup.sil_score(self._first.sil_score)
        path = laid(frames, words, indices, self._setup, sil_score)
        if path is None:
            return None
        score, acoustic, lm = (
            float(each[arcs].sum()) for each in (lattice.scores, lattice.acoustic, lattice.lm)
        )
        return FoundPath(*path, score, acoustic, lm)
