"""Two real processes over Gloo."""

import os
import subprocess
import sys

import pytest
import torch
from calls import on_two_ranks
from hub_server import closed_port

from w2v2cli.errors import UserError
from w2v2cli.processes import Ranks
from w2v2cli.training.collectives import Collectives

SCRIPT = """
import torch
from w2v2cli.errors import UserError, exits
from w2v2cli.training.collectives import joined

def fail():
    raise UserError("All states are damaged.")

def state():
    moments = {0: {"step": torch.tensor(7.0), "mean": torch.arange(6.0).reshape(2, 3)}}
    return {"network": {"w": torch.full((3,), 5.0)}, "moments": moments, "best": [1.5, None]}

with joined(torch.device("cpu")) as ranks:
    assert ranks.from_first(lambda: ranks.rank) == 0
    expected = state()
    found = ranks.state_from_first(state if ranks.first else fail)
    assert found.keys() == expected.keys() and found["best"] == [1.5, None]
    assert torch.equal(found["network"]["w"], expected["network"]["w"])
    for name, value in expected["moments"][0].items():
        assert torch.equal(found["moments"][0][name], value), name
    assert ranks.state_from_first(lambda: None) is None
    try:
        ranks.from_first(fail)
    except UserError as error:
        assert str(error) == "All states are damaged." and error.told != ranks.first
        print("both fail", flush=True)
    with exits():
        ranks.from_first(fail)
"""


def test_what_the_first_rank_finds_or_fails_at_is_the_same_on_all():
    result = on_two_ranks("-c", SCRIPT, timeout=120)
    assert result.stdout.split("\n")[:2] == ["both fail"] * 2, result.stderr
    assert result.stderr.count("Error: All states are damaged.") == 1


LEFT = """
import torch
from w2v2cli.errors import UserError, exits
from w2v2cli.training.collectives import joined

made = []

def make():
    made.append(len(made))
    return "made"

def fail():
    made.append("by this rank")
    raise UserError("The checkpoint lacks weights.")

with exits(), joined(torch.device("cpu")) as ranks:
    assert ranks.after_first(make) == "made" and made == [0]
    try:
        ranks.after_first(fail)
    except UserError:
        assert (made == [0, "by this rank"]) == ranks.first
    if not ranks.first:
        raise UserError("None of its recordings can be read.")
    ranks.total(torch.zeros(1))
"""


def test_a_rank_that_another_leaves_alone_says_so_in_a_sentence():
    result = on_two_ranks("-c", LEFT, timeout=120)
    told = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert sorted(told) == [
        "Error: None of its recordings can be read.",
        "Error: Rank 0 ends, since another process of the run has ended.",
    ]
    assert "[rank0]: Traceback" not in result.stderr


MACHINES = """
import os, sys
from pathlib import Path
import torch
from w2v2cli.errors import UserError
from w2v2cli.training.collectives import joined

homes, made = Path(sys.argv[1]), []

def make():
    home = homes / os.environ["MACHINE"]
    home.mkdir(exist_ok=True)
    if not (home / "numbers").exists():
        (home / "building").mkdir()  # fails where another rank builds there too
        made.append((homes / "0" / "numbers").exists())
        (home / "numbers").touch()
        (home / "building").rmdir()
    return home.name

def fail():
    if ranks.rank == 1:
        raise UserError("No space left.")

with joined(torch.device("cpu")) as ranks:
    found = ranks.after_first_here(make)
    try:
        ranks.after_first_here(fail)
    except UserError as error:
        assert error.told == (ranks.rank != 1)
        print(ranks.rank, found, made, error, flush=True)
"""


def test_what_a_machine_keeps_is_made_by_its_first_rank_while_the_others_wait(tmp_path):
    """One rank on the first machine, two on the second."""
    port, ranks = str(closed_port()), []
    for rank, (machine, local, local_world) in enumerate([(0, 0, 1), (1, 0, 2), (1, 1, 2)]):
        numbers = {"RANK": rank, "WORLD_SIZE": 3, "LOCAL_RANK": local, "MACHINE": machine}
        numbers |= {"LOCAL_WORLD_SIZE": local_world, "MASTER_ADDR": "127.0.0.1"}
        ranks.append(
            subprocess.Popen(
                [sys.executable, "-c", MACHINES, tmp_path],
                env=os.environ
                | {name: str(n) for name, n in numbers.items()}
                | {"MASTER_PORT": port},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    printed = [rank.communicate(timeout=120)[0].strip() for rank in ranks]
    assert printed == [
        "0 0 [False] No space left.",
        "1 1 [True] No space left.",  # made after the first machine's
        "2 1 [] No space left.",
    ]


def test_one_process_makes_it_itself():
    alone = Collectives(Ranks(), torch.device("cpu"))
    kept = {"w": torch.zeros(3)}
    assert alone.from_first(lambda: 5) == 5 and alone.state_from_first(lambda: kept) is kept

    def fail():
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        alone.from_first(fail)
