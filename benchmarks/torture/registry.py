"""All kinds of cases, in the order in which they are run."""

from __future__ import annotations

import importlib

from benchmarks.torture.cases import Kind

MODULES = (
    "inputs.recordings",
    "inputs.checkpoints",
    "inputs.arpa",
    "inputs.lexicons",
    "inputs.manifests",
    "inputs.archives",
    "inputs.caches",
    "processes.kills",
    "processes.soak",
    "processes.servers",
    "processes.limits",
    "processes.names",
)
"""Modules of this package; each has KINDS, a tuple."""


def kinds() -> list[Kind]:
    """Every kind of every module."""
    found: list[Kind] = []
    for name in MODULES:
        found += importlib.import_module(f"benchmarks.torture.{name}").KINDS
    return found
