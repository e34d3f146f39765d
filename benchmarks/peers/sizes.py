"""Megabytes on disk of weights, and of packages with all that they require."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from w2v2cli.data.locations import SHIPPED

MB = 1e6
FOR_GPUS = re.compile(r"^(nvidia|cuda|triton)")  # packages that torch requires where it has CUDA
GPU_FILE = re.compile(r"cuda|cudnn|nccl|nvshmem|cufile|cusparse")  # files inside torch's own


def megabytes(paths: list[Path]) -> float:
    """The size of files, and of all files in folders, in 10^6 bytes."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.is_file()) / MB


def package_megabytes(name: str, site: Path | None, weights: list[Path]) -> float:
    """The size of a distribution and of all that it requires, in 10^6 bytes.

    Left out: `weights` in the packages, and what serves GPUs alone, so that builds of torch with
    and without CUDA come out alike. `site` is a further folder of packages.
    """
    found: dict[str, Distribution] = {}
    for one in [*distributions(), *(distributions(path=[str(site)]) if site else [])]:
        found.setdefault(canonicalize_name(one.metadata["Name"]), one)
    files: set[Path] = set()
    for one in _closure(name, found):
        if one.metadata["Name"] == "w2v2":  # perhaps installed as a link to its sources
            root = SHIPPED.parents[1]
            for folder in ("w2v2", "w2v2cli", "lm", "models", "storage"):
                files |= set((root / folder).rglob("*"))
        else:
            files |= {Path(str(one.locate_file(file))).resolve() for file in one.files or []}
    kept = [file for file in files if file.is_file() and not GPU_FILE.search(file.name)]
    brought = [path.resolve() for path in weights]
    kept = [file for file in kept if not any(file.is_relative_to(path) for path in brought)]
    return sum(file.stat().st_size for file in kept if "__pycache__" not in file.parts) / MB


def _closure(name: str, found: dict[str, Distribution]) -> list[Distribution]:
    """A distribution and those it requires, as far as they are installed."""
    names, seen = [canonicalize_name(name)], set[str]()
    for one in names:
        if one in seen or one not in found or FOR_GPUS.match(one):
            continue
        seen.add(one)
        for line in found[one].requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                names.append(canonicalize_name(requirement.name))
    return [found[one] for one in seen]
