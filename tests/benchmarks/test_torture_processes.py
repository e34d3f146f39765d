"""A small part, seeded, of what processes are put through: kills, limits, names, a bad server."""

import sys

import pytest

from benchmarks.torture.cases import FAULTS
from benchmarks.torture.processes import kills, limits, names, servers
from benchmarks.torture.worker import one
from w2v2cli.data import downloads

LIMITED = [i for i, (command, _) in enumerate(limits.CASES) if command == "lm build"]
KILLED = {kind.name: kind for kind in kills.KINDS}
PARTS = [
    (servers.KINDS[0], range(25)),
    (names.KINDS[0], range(0, 160, 50)),
    (KILLED["kill lm build"], (1, 2)),
    (limits.KINDS[0], LIMITED[:6]),
]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("kind", "numbers"), PARTS, ids=[kind.name for kind, _ in PARTS])
def test_processes_end_well_or_in_a_sentence(kind, numbers, tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    for setting in ("TIMEOUT", "FIRST_PAUSE"):  # which the server's cases make short
        monkeypatch.setattr(downloads, setting, getattr(downloads, setting))
    for name in ("inputs", "temporary"):
        (tmp_path / name).mkdir()
    run = kind.open(tmp_path / "inputs")
    for number in numbers:
        outcome = one(run, number, tmp_path)
        assert outcome.end not in FAULTS, (number, outcome)
        assert not outcome.left, (number, outcome)
