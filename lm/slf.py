"""Lattices as text in HTK's Standard Lattice Format (SLF, the HTK Book, chapter 20).

A file has a header, a line for each node (`I=`) with its time in seconds, and one for each arc
(`J=`) with the nodes that it joins, its word and its scores. The score of a path is the sum over
its arcs of

    acscale * a + lmscale * l + prscale * r, and wdpenalty for each word but !NULL

a: log-probability of the acoustic model. l: of the n-gram. r: what else the search added, such as
hot words. p: the arc's posterior (an extension that SRILM reads too). All logarithms are natural.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lm.decoding import DecodingWeights
from lm.lattice import Lattice

NO_WORD = "!NULL"
SPECIAL = re.compile(r"[\\\s\"]|^'|^!NULL$")  # what a reader would take for something else


class Placed(NamedTuple):
    """The lattice of a part of a recording, and when the part begins."""

    lattice: Lattice
    start: float
    """Seconds."""


def slf_text(
    name: str,
    parts: Sequence[Placed],
    weights: DecodingWeights,
    frame_seconds: float,
    posterior_scale: float,
    log_base: float = 10.0,
) -> str:
    """The lattice of a recording, whose `parts` follow each other: a part begins where one ended.

    name: of the recording. weights: those of the search. frame_seconds: from frame to frame.
    posterior_scale: see `Lattice.posteriors`. log_base: of the language model's scores.
    """
    nodes, arcs = ["I=0\tt=0.00"], []
    for lattice, start in parts:
        first = len(nodes) - 1  # the last node so far is the part's first
        nodes += [
            f"I={first + i}\tt={start + time * frame_seconds:.2f}"
            for i, time in enumerate(lattice.times.tolist())
            if i > 0
        ]
        arcs += list(_arcs(lattice, first, weights, posterior_scale, log_base))
    header = [
        "VERSION=1.0",
        f"UTTERANCE={_escaped(name)}",
        "base=2.718281828",
        f"acscale=1\tlmscale={weights.lm_weight / math.log(log_base):.9g}\tprscale=1"
        f"\twdpenalty={weights.word_score:.9g}",
        f"start=0\tend={len(nodes) - 1}",
        f"N={len(nodes)}\tL={len(arcs)}",
    ]
    numbered = [f"J={i}\t{arc}" for i, arc in enumerate(arcs)]
    return "\n".join([*header, *nodes, *numbered, ""])


def _arcs(
    lattice: Lattice,
    first: int,
    weights: DecodingWeights,
    posterior_scale: float,
    log_base: float,
) -> Iterator[str]:
    """The lines of a lattice's arcs without their numbers; its nodes count from `first`."""
    said = lattice.labels >= 0
    rest = lattice.scores - lattice.acoustic - weights.lm_weight * lattice.lm
    rest = np.where(said, rest - weights.word_score, rest)
    names = [*map(_escaped, lattice.words), NO_WORD]  # the label -1 is the last one
    columns = (
        lattice.starts,
        lattice.ends,
        lattice.labels,
        lattice.acoustic,
        lattice.lm * math.log(log_base),
        rest,
        lattice.posteriors(posterior_scale),
    )
    for start, end, label, *scores in zip(*(c.tolist() for c in columns), strict=True):
        a, lm, r, p = scores
        yield (
            f"S={first + start}\tE={first + end}\tW={names[label]}"
            f"\ta={a:.4f}\tl={lm:.4f}\tr={r:.4f}\tp={p:.6f}"
        )


def _escaped(text: str) -> str:
    """A word as HTK reads it: a backslash before quotes, spaces and backslashes."""
    return SPECIAL.sub(lambda match: f"\\{match[0]}", text)
