"""Lattices in HTK's format: read back by a parser of the format, and by OpenFst if it is there."""

import math

import numpy as np
import pytest
from slf_reader import path_score, read_slf

from lm.decoding import DecodingWeights
from lm.lattice import Lattice
from lm.slf import Placed, slf_text

WEIGHTS = DecodingWeights(2.0, -1.0)
LATTICE = Lattice(
    ("A", "'TIS", 'q"\\ ', "!NULL"),
    np.array([0, 4, 6, 8], np.int32),
    np.array([0, 0, 0, 1, 2], np.uint32),
    np.array([1, 2, 2, 3, 3], np.uint32),
    np.array([0, 1, 2, 3, -1], np.int32),
    np.array([-3.0, -5.0, -4.0, -2.0, -1.0]),
    np.array([-1.0, -2.0, -1.5, -0.5, -0.2]),
    np.array([-0.5, -1.0, -0.75, -0.25, -0.4]),
)
PATHS = [(0, 3), (1, 4), (2, 4)]


def test_what_is_read_back_is_what_was_written():
    header, nodes, arcs = read_slf(slf_text("a talk.wav", [Placed(LATTICE, 0)], WEIGHTS, 0.02, 0.5))
    assert header["VERSION"] == "1.0"
    assert header["UTTERANCE"] == "a talk.wav"
    assert [float(nodes[i]["t"]) for i in range(4)] == [0.0, 0.08, 0.12, 0.16]
    assert [int(arc["S"]) for arc in arcs] == LATTICE.starts.tolist()
    assert [int(arc["E"]) for arc in arcs] == LATTICE.ends.tolist()
    assert [arc["W"] for arc in arcs] == ["A", "'TIS", 'q"\\ ', "!NULL", "!NULL"]
    assert [float(arc["a"]) for arc in arcs] == LATTICE.acoustic.tolist()
    natural = LATTICE.lm * math.log(10)
    assert [float(arc["l"]) for arc in arcs] == pytest.approx(natural.tolist(), abs=1e-4)
    assert [float(arc["p"]) for arc in arcs] == pytest.approx(
        LATTICE.posteriors(0.5).tolist(), abs=1e-6
    )
    for path in PATHS[1:]:  # the first one says a word that is called !NULL
        assert path_score(header, arcs, path) == pytest.approx(
            LATTICE.scores[list(path)].sum(), abs=1e-3
        )


def test_parts_of_a_recording_follow_each_other():
    parts = [Placed(LATTICE, 0.0), Placed(LATTICE, 0.16)]
    header, nodes, arcs = read_slf(slf_text("x", parts, WEIGHTS, 0.02, 1.0))
    assert (len(nodes), len(arcs)) == (7, 10)
    assert [float(nodes[i]["t"]) for i in (3, 4, 6)] == [0.16, 0.24, 0.32]
    assert {arc["S"] for arc in arcs if arc["E"] == "4"} == {"3"}
    assert path_score(header, arcs, (1, 4, 7, 9)) == pytest.approx(-11, abs=1e-3)


def test_a_recording_without_words_is_one_node():
    header, nodes, arcs = read_slf(slf_text("x", [], WEIGHTS, 0.02, 1.0))
    assert (len(nodes), arcs, header["end"]) == (1, [], "0")


def test_openfst_finds_the_same_posteriors():
    """An arc's posterior, from OpenFst's sums over paths that pass it."""
    pynini = pytest.importorskip("pynini")
    scale = 0.7
    header, nodes, arcs = read_slf(slf_text("x", [Placed(LATTICE, 0)], WEIGHTS, 0.02, scale))
    fst = pynini.Fst(arc_type="log64")
    fst.add_states(len(nodes))
    fst.set_start(0)
    fst.set_final(len(nodes) - 1)
    null = [arc["W"] == "!NULL" for arc in arcs]
    # The word that is called !NULL and the arc without one are apart in the lattice alone.
    weights = [
        -scale * (path_score(header, arcs, [i]) + (float(header["wdpenalty"]) if i == 3 else 0))
        for i in range(len(arcs))
    ]
    for arc, weight, silent in zip(arcs, weights, null, strict=True):
        label = 0 if silent else 1
        weight = pynini.Weight("log64", weight)
        fst.add_arc(int(arc["S"]), pynini.Arc(label, label, weight, int(arc["E"])))
    to_end = [float(w) for w in pynini.shortestdistance(fst, reverse=True)]
    from_start = [float(w) for w in pynini.shortestdistance(fst)]
    for arc, weight in zip(arcs, weights, strict=True):
        through = from_start[int(arc["S"])] + weight + to_end[int(arc["E"])]
        assert math.exp(to_end[0] - through) == pytest.approx(float(arc["p"]), abs=1e-4)
