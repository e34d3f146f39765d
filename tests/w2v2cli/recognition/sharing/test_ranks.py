"""Who does what, and how parts written by several processes come together."""

import itertools
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from w2v2cli.errors import UserError
from w2v2cli.processes import Ranks
from w2v2cli.recognition.sharing.merging import SharedRun, WorkPlan, sharing
from w2v2cli.recognition.sharing.rank_files import Incoming, RankFile, is_locked, leftover_lines
from w2v2cli.recognition.sharing.ranks import Stop, meeting_place, split_by_length, stopping

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*use of fork:DeprecationWarning"
)  # the children call nothing threaded


@dataclass(frozen=True)
class Done:
    """A row that says which item it is of, so that a mix-up would show."""

    item: int

    def to_json(self):
        return {"item": self.item}

    @classmethod
    def from_json(cls, json):
        return cls(json["item"])


def test_runs_at_the_same_time_meet_at_different_places():
    run = {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    places = {meeting_place(Ranks(rank, 2, rank, 2), run) for rank in range(2)}
    assert len(places) == 1
    assert meeting_place(Ranks(0, 2, 0, 2), run | {"MASTER_PORT": "29501"}) not in places


def test_everything_is_done_once_and_no_rank_has_much_more_than_the_best_division():
    rng = np.random.default_rng(0)
    for world, count in itertools.product((1, 2, 3, 8), (0, 1, 7, 100)):
        lengths = rng.gamma(2.0, 5.0, count).tolist()
        shares = split_by_length(lengths, world)
        assert sorted(index for share in shares for index in share) == list(range(count))
        assert all(share == sorted(share) for share in shares)
        loads = [sum(lengths[index] for index in share) for share in shares]
        assert max(loads) <= 4 / 3 * max([sum(lengths) / world, *lengths, 0.0]) + 1e-9
    assert [len(share) for share in split_by_length([0.0] * 6, 3)] == [2, 2, 2]  # lengths unknown


def test_the_division_is_at_most_a_third_longer_than_the_best_of_all():
    """The best by enumeration."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        lengths = rng.integers(1, 20, 7).tolist()
        best = min(
            max(
                sum(length for length, rank in zip(lengths, ranks, strict=True) if rank == r)
                for r in range(3)
            )
            for ranks in itertools.product(range(3), repeat=7)
        )
        ours = max(sum(lengths[index] for index in share) for share in split_by_length(lengths, 3))
        assert best <= ours <= 4 / 3 * best


def rows(indices, pause=0.0):
    for index in indices:
        time.sleep(pause)
        yield index, Done(index)


def other_rank(folder, rank, world, die_after, pause):
    """A process: contribute, and die of SIGKILL after some rows."""
    ranks = Ranks(rank, world, rank, world)

    def own(parts):
        for done, row in enumerate(rows(parts.mine, pause)):
            if done == die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            yield row

    with sharing(ranks, folder, lambda: pytest.fail("not the first"), Stop(), Done) as parts:
        parts.contribute(own(parts))


def items(merged):
    found = list(merged)
    assert all(row == Done(index) for index, row in found)
    return [index for index, _ in found]


def run(folder, shares, die_after=None, pause=0.0, stop=None):
    """The first rank here, the others in processes; what came out, and the parts."""
    context = multiprocessing.get_context("fork")
    world = len(shares)
    others = [
        context.Process(target=other_rank, args=(folder, rank, world, die_after, pause))
        for rank in range(1, world)
    ]
    for process in others:
        process.start()
    total = sum(map(len, shares))
    with sharing(
        Ranks(0, world, 0, world),
        folder,
        lambda: WorkPlan(list(range(total)), shares),
        stop or Stop(),
        Done,
    ) as parts:
        found = items(parts.merged(rows(parts.mine, pause)))
    for process in others:
        process.join(20)
        assert process.exitcode is not None
    return found, parts


def test_rows_come_in_the_order_of_the_input(tmp_path):
    folder = tmp_path / "run"
    found, parts = run(folder, [[1, 4, 5], [0, 3, 6], [2, 7]], pause=0.02)
    assert found == list(range(8)) and parts.missing == [] and parts.lost() == []
    assert not folder.exists()


def test_a_rank_without_work_is_waited_for(tmp_path):
    found, parts = run(tmp_path / "run", [[0, 1], []])
    assert found == [0, 1] and parts.missing == []


def test_a_killed_rank_loses_nothing_that_it_wrote(tmp_path):
    found, parts = run(tmp_path / "run", [[1, 3], [0, 2, 4, 5]], die_after=2)
    assert found == [0, 1, 2, 3] and parts.missing == [4, 5]
    assert parts.shortfall() == "rank 1 ended early"
    assert not (tmp_path / "run").exists()


def test_a_run_that_died_does_not_confuse_the_next_at_the_same_place(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    RankFile.begin(
        folder / "plan.json", '{"items": [9], "shares": [[], [0]], "run": "old"}'
    ).close()
    old = RankFile.begin(folder / "old-00001.jsonl")
    old.write({"index": 77})
    old.close()
    found, _ = run(folder, [[1], [0]])
    assert found == [0, 1] and not folder.exists()


def test_sigterm_gives_out_what_all_have_written(tmp_path):
    context = multiprocessing.get_context("fork")
    folder = tmp_path / "run"
    ranks = Ranks(0, 2, 0, 2)
    with (
        stopping(ranks) as stop,
        sharing(
            ranks, folder, lambda: WorkPlan(list(range(4)), [[0, 3], [1, 2]]), stop, Done
        ) as parts,
    ):
        other = context.Process(target=other_rank, args=(folder, 1, 2, 1, 0.0))
        other.start()
        other.join(20)

        def own():
            yield 0, Done(0)
            signal.raise_signal(signal.SIGTERM)
            time.sleep(30)

        found = items(parts.merged(own()))
    assert found == [0, 1] and parts.missing == [2, 3]
    assert parts.shortfall() == "ranks 0, 1 ended early"


def killed_while_it_begins(path):
    """A process: die of SIGKILL in the moment before the file appears under its name."""
    os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
    RankFile.begin(path, "{}")


@pytest.mark.parametrize("name", ["plan.json", "old-00000.jsonl"])
def test_what_a_rank_leaves_that_is_killed_while_it_begins_goes_away_with_the_next(tmp_path, name):
    folder = tmp_path / "run"
    folder.mkdir()
    context = multiprocessing.get_context("fork")
    killed = context.Process(target=killed_while_it_begins, args=(folder / name,))
    killed.start()
    killed.join(20)
    assert killed.exitcode == -signal.SIGKILL and len(list(folder.iterdir())) == 1
    assert run(folder, [[0], [1]])[0] == [0, 1]
    assert not folder.exists()


def test_another_rank_ends_at_sigterm_with_its_rows_written(tmp_path):
    ranks = Ranks(1, 2, 1, 2)
    with stopping(ranks) as stop:
        parts = SharedRun(ranks, WorkPlan([0, 1], [[], [0, 1]], "r"), tmp_path, stop, Done)

        def own():
            yield 0, Done(0)
            signal.raise_signal(signal.SIGTERM)
            yield 1, Done(1)

        with pytest.raises(SystemExit) as end:
            parts.contribute(own())
    assert end.value.code == 143
    incoming = Incoming(tmp_path / "r-00001.jsonl")
    assert incoming.lines() == [{"index": 0, "item": 0}] and not incoming.complete
    parts.close()


def test_a_line_counts_once_it_is_whole(tmp_path):
    path = tmp_path / "part.jsonl"
    incoming = Incoming(path)
    assert incoming.lines() == [] and not incoming.alive()
    path.write_text('{"index": 1}\n{"ind')
    assert incoming.lines() == [{"index": 1}]
    path.write_text('{"index": 1}\n{"index": 2}\n{"end": true}\n')
    assert incoming.lines() == [{"index": 2}] and incoming.complete


def test_rows_stay_for_the_next_call_when_the_first_rank_fails(tmp_path):
    folder = tmp_path / "run"
    with (
        pytest.raises(RuntimeError, match="torn"),
        sharing(
            Ranks(), folder, lambda: WorkPlan([0, 1], [[0, 1]]), Stop(), Done, keep=True
        ) as parts,
    ):
        for _ in parts.merged(rows(parts.mine)):
            assert leftover_lines(folder) == []  # the writer lives
            raise RuntimeError("torn")
    assert leftover_lines(folder) == [{"index": 0, "item": 0}]


def test_a_lock_is_seen_from_outside_until_it_is_let_go(tmp_path):
    part = RankFile.begin(tmp_path / "part.jsonl")
    assert is_locked(part.path)
    part.close()
    assert not is_locked(part.path) and not is_locked(tmp_path / "nothing")


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/run cannot be made: Not a directory"), sharing(
        Ranks(0, 2, 0, 2), tmp_path / "file" / "run", lambda: WorkPlan([], [[], []]), Stop(), Done
    ):  # fmt: skip
        pass


def test_no_plan_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("w2v2cli.recognition.sharing.merging.RANKS_BEGIN", 0.2)
    with pytest.raises(UserError, match="do all machines share that folder"), sharing(
        Ranks(1, 2, 1, 2), tmp_path, lambda: pytest.fail("not the first"), Stop(), Done
    ):  # fmt: skip
        pass


def test_sigterm_interrupts_only_where_it_may():
    """Between rows it waits: a file being written is written."""
    assert threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    with stopping(Ranks(0, 2, 0, 2)) as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
    assert signal.getsignal(signal.SIGTERM) == before
