"""The torture table: how ends are judged, and a small part of it, seeded, run here."""

import json
import os
import signal

import pytest

from benchmarks.torture.__main__ import read_rows, table
from benchmarks.torture.cases import FAULTS, Kind, Outcome, draw_of, judged, sentence
from benchmarks.torture.inputs import (
    archives,
    arpa,
    caches,
    checkpoints,
    lexicons,
    manifests,
    recordings,
)
from benchmarks.torture.worker import Child, one
from w2v2cli.errors import UserError

PARTS = (
    (recordings, 60),
    (checkpoints, 60),
    (arpa, 30),
    (lexicons, 10),
    (manifests, 60),
    (archives, 40),
    (caches, 20),
)


def ending(number, place):
    """A case of every end, in the order of the numbers."""
    if number == 0:
        return Outcome("well")
    if number == 1:
        raise RuntimeError("not judged")
    if number == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 3:
        while True:
            pass
    if number == 4:
        (place.parent / "temporary" / "left").write_text("")
    if number == 5:
        bytearray(10**12)
    return Outcome("told", "A sentence.")


def test_every_end_is_a_row(tmp_path):
    (tmp_path / "temporary").mkdir()
    kind = Kind("ends", 7, lambda folder: ending, seconds=0.3, room=2**28)
    rows = []
    child = None
    for number in range(7):
        child = child or Child(kind, ending, tmp_path)
        rows.append(child.answer(number) | {"kind": "ends", "case": number})
        if rows[-1]["end"] in ("crash", "hang"):
            child.end()
            child = None
    child.end()
    assert [row["end"] for row in rows] == [
        "well",
        "traceback",
        "crash",
        "hang",
        "told",
        "traceback",
        "told",
    ]
    assert "not judged" in rows[1]["detail"] and "SIGSEGV" in rows[2]["detail"]
    assert [row["left"] for row in rows] == [[], [], [], [], ["file left"], [], []]
    assert "MemoryError" in rows[5]["detail"]
    assert table(rows, ["ends"]).splitlines()[-1] == "| ends | 7 | 1 | 2 | 2 | 1 | 1 | 0 | 1 |"


def test_an_interrupted_call_goes_on_after_its_whole_rows(tmp_path):
    path, row = tmp_path / "rows.jsonl", {"kind": "a", "case": 0, "end": "well", "left": []}
    path.write_text(json.dumps(row) + '\n{"kind": "a", "case": 1, "en')
    assert read_rows(path) == [row]
    assert path.read_text() == json.dumps(row) + "\n"


@pytest.mark.parametrize(
    ("call", "end"),
    [
        (lambda: UserError("A file is damaged."), "told"),
        (lambda: UserError("damaged"), "traceback"),
        (lambda: UserError("."), "traceback"),
        (lambda: ValueError("A file is damaged."), "traceback"),
    ],
)
def test_only_sentences_of_the_right_kind_are_told(call, end):
    def fail():
        raise call()

    assert judged(fail, (UserError,)).end == end
    assert judged(lambda: None, ()).end == "well"
    assert sentence("Is it?").end == "told"


def test_a_case_is_drawn_from_its_number_alone():
    drawn = [draw_of("arpa", number).random() for number in (3, 4, 3)]
    assert drawn[0] == drawn[2] != drawn[1]


@pytest.mark.parametrize(("module", "count"), PARTS, ids=[m.__name__[25:] for m, _ in PARTS])
def test_damaged_inputs_end_well_or_in_a_sentence(module, count, tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    (kind,) = module.KINDS
    for name in ("inputs", "temporary"):
        (tmp_path / name).mkdir()
    run = kind.open(tmp_path / "inputs")
    every = getattr(module, "BY_COMMAND", 20)
    for number in range(count):
        if number % every < 2:
            continue
        outcome = one(run, number, tmp_path)
        assert outcome.end not in FAULTS, (number, outcome)
        assert not outcome.left, (number, outcome)
