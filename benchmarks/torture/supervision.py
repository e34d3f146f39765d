"""The worker of a kind, started, given its cases, and gone with all its processes at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.torture.cases import Kind

ROOT = Path(__file__).resolve().parents[2]
TAIL = 2000  # characters of a worker's log that explain why it ended
CALM = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
Row = dict[str, Any]


def rows_of(kind: Kind, numbers: Sequence[int], out: Path) -> Iterator[Row]:
    """Run cases one after the other. Raises RuntimeError where the worker itself ends."""
    log = out / f"{kind.name.replace(' ', '-')}.log"
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    # Threads of their own take no part in what is tried, and their stacks take memory.
    environment = os.environ | dict.fromkeys(CALM, "1") | {"TMPDIR": str(folder)}
    with log.open("ab") as printed:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.torture.worker", kind.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            env=environment | {"PYTHONPATH": str(ROOT)},
            cwd=folder,
            start_new_session=True,
        )
    assert process.stdin and process.stdout
    try:
        for number in numbers:
            with suppress(BrokenPipeError):
                process.stdin.write(f"{number}\n".encode())
                process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                tail = log.read_text(errors="replace")[-TAIL:]
                raise RuntimeError(f"The worker of {kind.name} ended at {number}:\n{tail}")
            yield json.loads(line)
        process.stdin.close()
        process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)
