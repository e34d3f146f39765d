"""The folder in which w2v2 keeps what it downloads and makes."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """$W2V2_HOME; by default `w2v2` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache)."""
    if named := os.environ.get("W2V2_HOME"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "w2v2"
