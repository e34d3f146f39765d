"""Processes that share out work: what they answer, and what is left when a program is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from w2v2cli.workers import LARGE, WorkerDied, Workers

ROOT = Path(__file__).parents[2]


def doubled(number):
    yield 2 * number, os.getpid()


def thrice(array):
    for factor in (1, 2, 3):
        yield factor * array


def refused(number):
    yield number
    raise ValueError(f"{number} is refused")


def deadly(number):
    os.kill(os.getpid(), signal.SIGKILL)
    yield number


class Odd(Exception):
    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


def oddly(number):
    yield from ()
    raise Odd(number, number)


def marked(path):
    try:
        while True:
            yield os.getpid()
    finally:
        path.with_suffix(".closed").touch()


def test_answers_come_in_the_order_of_the_tasks_from_every_process():
    with Workers(doubled, 3) as workers:
        answers = list(workers.in_order(iter(range(50)), ahead=2))
    assert [number for number, _ in answers] == list(range(0, 100, 2))
    assert len({pid for _, pid in answers} - {os.getpid()}) == 3


@pytest.mark.parametrize("size", [1, LARGE // 4, 10 * LARGE + 3])
@pytest.mark.parametrize("way", ["in_order", "as_they_come"])
def test_arrays_of_any_size_travel_both_ways_and_may_be_changed(size, way):
    arrays = [np.arange(size, dtype=np.int32) + i for i in range(4)]
    with Workers(thrice, 2) as workers:
        ways = {"in_order": lambda: workers.in_order(arrays, 2)}
        ways["as_they_come"] = lambda: workers.as_they_come(arrays)
        answers = list(ways[way]())
    expected = sorted(factor * int(array[-1]) for array in arrays for factor in (1, 2, 3))
    assert sorted(int(answer[-1]) for answer in answers) == expected
    for answer in answers:
        answer += 1


def test_arrays_travel_within_the_limits_on_files(monkeypatch):
    """A program that may not write large files, or that has too many descriptors on their way."""
    script = f"""
import resource, sys
sys.path[:0] = [{str(ROOT)!r}]
import numpy as np
from tests.w2v2cli.test_workers import Workers, thrice
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with Workers(thrice, 1) as workers:
    print([int(a.sum()) for a in workers.in_order([np.ones(100_000, np.float32)], 1)])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[100000, 200000, 300000]\n", done.stderr


def test_an_exception_arrives_with_the_traceback_of_the_worker():
    with Workers(refused, 1) as workers, pytest.raises(ValueError, match="^7 is refused$") as seen:
        list(workers.as_they_come([7]))
    assert "in refused" in str(seen.value.__cause__)
    with Workers(oddly, 1) as workers, pytest.raises(RuntimeError, match="^Odd: 7 and 7$"):
        list(workers.in_order([7], 1))


def test_a_killed_worker_is_told():
    with Workers(deadly, 2) as workers, pytest.raises(WorkerDied):
        list(workers.in_order(range(9), 2))


def test_a_worker_has_time_to_close_what_it_makes(tmp_path):
    with Workers(marked, 1, patience=60) as workers:
        next(workers.as_they_come([tmp_path / "a"]))
    assert (tmp_path / "a.closed").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_program_leaves_neither_process_nor_name(tmp_path):
    """Semaphores, a folder with a socket and processes stayed when a job was killed."""
    script = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}]
from tests.w2v2cli.test_workers import Workers, marked
with Workers(marked, 2) as workers:
    answers = workers.as_they_come([Path("a"), Path("b")])
    seen = set()
    while len(seen) < 2:
        seen.add(next(answers))
    print(workers._server.process.pid, *seen, flush=True)
    __import__("time").sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as program:
        pids = [program.pid, *map(int, program.stdout.readline().split())]
        assert len(pids) == 4
        named = [line for pid in pids for line in Path(f"/proc/{pid}/maps").read_text().split()]
        program.kill()
    assert not [name for name in named if name.startswith("/dev/shm")]
    began = time.monotonic()
    while any(map(running, pids)):
        assert time.monotonic() - began < 30
        time.sleep(0.01)
    # A worker that sees the end in time closes its answers, as `marked` notes.
    assert not [left for left in tmp_path.iterdir() if left.suffix != ".closed"]


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
