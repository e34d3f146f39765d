"""The process that runs cases: `python -m benchmarks.torture.worker KIND`.

It takes numbers of cases on stdin, one a line, and writes one line of JSON for each on stdout. It
may end with a case, or be killed: another one goes on with the next case.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.torture.cases import Kind, Outcome, Run
from benchmarks.torture.registry import kinds


def main(name: str) -> None:
    """Run the cases whose numbers arrive, until stdin ends."""
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to the log
    faulthandler.enable()
    kind = next(kind for kind in kinds() if kind.name == name)
    base = Path(tempfile.gettempdir())
    run = kind.open(_folder(base / "inputs"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(_folder(base / "temporary"))
    _bound(kind)
    results.write("ready\n")
    for line in sys.stdin:
        number = int(line)
        started = time.monotonic()
        outcome = one(run, number, base)
        row = {"kind": name, "case": number, **asdict(outcome)}
        results.write(json.dumps(row | {"seconds": round(time.monotonic() - started, 3)}) + "\n")


def one(run: Run, number: int, base: Path) -> Outcome:
    """Run a case in an empty folder with an empty home, and see what it leaves."""
    place = _folder(base / "case")
    os.environ["W2V2_HOME"] = str(base / "home")
    before = leavings(base)
    outcome = run(number, place)
    left = tuple(sorted(leavings(base) - before))
    shutil.rmtree(place, ignore_errors=True)
    return replace(outcome, left=outcome.left + left) if left else outcome


def leavings(base: Path) -> set[str]:
    """Temporary files, children, open files and shared memory of this process."""
    own = str(os.getpid())
    found = {f"file {path.name}" for path in (base / "temporary").glob("*")}
    found |= {f"shared memory {name}" for name in os.listdir("/dev/shm") if own in name}
    for task in os.listdir("/proc/self/task"):
        children = Path(f"/proc/self/task/{task}/children")
        found |= {f"process {child}" for child in children.read_text().split()}
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the descriptor of the listing itself
            continue
        if target.startswith(str(base / "case")):
            found.add(f"open {Path(target).name}")
    return found


def _bound(kind: Kind) -> None:
    """Keep the cases of a kind from more memory than it allows beyond what is taken already."""
    if kind.room is not None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (taken + kind.room, hard))


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    main(sys.argv[1])
