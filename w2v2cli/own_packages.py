"""Imported first by the program: its packages `lm`, `models` and `storage` are its own.

Their names are ordinary. Where Python looks into the current folder first (`PYTHONPATH=.`), a
user's own `models/` there would be taken for the program's. In a library call the user's stays.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("lm", "models", "storage")


def put_first() -> None:
    """Have Python find the packages beside this one before others of the same names."""
    root = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        found = find_spec(name)
        if found is None or found.origin is None:
            continue
        if Path(found.origin).resolve().parent != root / name:
            sys.path.insert(0, str(root))
            return


put_first()
