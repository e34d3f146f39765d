"""The process of one system: paths come by lines on standard input, words go back.

    python -m benchmarks.peers.worker NAME FOLDER THREADS SITE

Lines are JSON. The first two answers say that the model is loaded, and that it has heard a first
recording; each further one has the words of the path that was asked for. What libraries print goes
to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.systems import PEERS
from w2v2cli.data.locations import SHIPPED

WARMING = SHIPPED / "recordings" / "LJ002-0050.flac"


def main() -> None:
    """Serve one system until standard input ends."""
    name, folder, threads, site = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print there too
    if site:
        sys.path.append(site)  # after this environment's own packages, which it must not hide

    def answer(what: dict[str, Any]) -> None:
        print(json.dumps(what), file=answers, flush=True)

    hear = PEERS[name].open(Path(folder), int(threads))
    answer({"loaded": True})
    hear(str(WARMING))
    answer({"warm": True})
    for line in sys.stdin:
        answer({"text": hear(json.loads(line))})


if __name__ == "__main__":
    main()
