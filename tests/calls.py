"""`w2v2` called without a process that first imports torch for seconds.

`called` runs a command inside the test's own process: for tests of what a command does. `Preloaded`
is one process with torch in it that forks a real one for each call: for tests that send signals.
`torchrun` and `on_two_ranks` start two ranks, which import for themselves.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from random import randint
from unittest import mock

from w2v2cli.app import main


def called(*args: object) -> subprocess.CompletedProcess[str]:
    """Run `w2v2 ARGS` in this process; return its exit code and what it printed."""
    line = ["w2v2", *map(str, args)]
    out, errors, code = io.StringIO(), io.StringIO(), None
    with mock.patch.object(sys, "argv", line), redirect_stdout(out), redirect_stderr(errors):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(line, code or 0, out.getvalue(), errors.getvalue())


SERVER = """
import json, os, sys
import w2v2cli.training.runs.pretrain
from w2v2cli.app import main

for line in sys.stdin:
    args, errors = json.loads(line)
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stdin = open(0)
        sys.argv = ["w2v2", *args]
        main()
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass
class Run:
    """A process of `w2v2`."""

    pid: int
    server: subprocess.Popen[str]
    errors: Path
    """The file of its stderr."""

    def wait(self) -> int:
        """Its exit code, negative for a signal. Must be called once, before the next run."""
        assert self.server.stdout is not None
        return int(self.server.stdout.readline())


@dataclass
class Preloaded:
    """A process that forks runs, one at a time."""

    server: subprocess.Popen[str]
    folder: Path

    def start(self, *args: object) -> Run:
        """Start `w2v2 ARGS`; it is a process like any other, but for its imports."""
        assert self.server.stdin is not None and self.server.stdout is not None
        errors = self.folder / "stderr"
        self.server.stdin.write(json.dumps([list(map(str, args)), str(errors)]) + "\n")
        self.server.stdin.flush()
        return Run(int(self.server.stdout.readline()), self.server, errors)


@contextmanager
def preloaded(folder: Path, **environment: str) -> Iterator[Preloaded]:
    """Start the process that forks; `folder` is for files of its runs."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        cwd=Path(__file__).parents[1],
    ) as server:
        yield Preloaded(server, folder)
        server.communicate()


def torchrun(*program: str) -> list[str]:
    """The command that starts a program on two ranks, as torchrun's arguments name it."""
    port = str(randint(20_000, 60_000))
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    return [sys.executable, "-m", *launcher, *program]


def on_two_ranks(
    *arguments: str, timeout: float, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments on two ranks of one thread each, which find these modules."""
    # The repository first: from the folder of the tests alone, tests/w2v2cli would be `w2v2cli`.
    tests = Path(__file__).parent
    paths = (os.environ.get("PYTHONPATH"), str(tests.parent), str(tests))
    return subprocess.run(
        torchrun("--no-python", sys.executable, *arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env=os.environ
        | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


def log_of(folder: Path) -> list[dict]:
    """The rows of a run's log, less a last one that is not yet whole."""
    path = folder / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]
