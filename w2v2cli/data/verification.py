"""Fetched models and language models, compared with the hashes recorded when they were fetched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.hashing import file_hash
from storage.home import home
from w2v2cli.data.downloads import RECORDED
from w2v2cli.data.locations import PRETRAINED, PUBLISHED, SMALL_FILES, WEIGHTS
from w2v2cli.errors import UsageError, UserError
from w2v2cli.help import refusal

UNFINISHED = (".part", ".part.json", ".lock")  # suffixes of files that are still being fetched


@dataclass(frozen=True)
class FileCheck:
    """One file and how it compares."""

    path: Path
    """Relative to the folder of everything that is fetched."""
    fine: bool | None
    """False for a file that differs or is missing, None for one without a recorded hash."""
    finding: str


def fetched_files(name: str | None = None) -> list[Path]:
    """The files of a published model that is on this machine, or of all models and language models.

    Includes files that are missing: those that the model needs and those with a recorded hash.
    Raises UsageError for a name that is never fetched, UserError for a model that is not here.
    """
    if name is not None and name not in PUBLISHED:
        if name == "demo":
            raise UsageError("demo ships with w2v2 and is not fetched: see w2v2 doctor.")
        raise UsageError(refusal("NAME", name, list(PUBLISHED)))
    models = [model for model in PUBLISHED if name in (None, model)]
    found = [path for model in models for path in _model_files(model)]
    if name is not None and not found:
        raise UserError(f"{name} is not on this machine: there is nothing to verify.")
    return found if name is not None else [*found, *_present(home() / "lm")]


def check_file(path: Path) -> FileCheck:
    """Hash a file and compare with the hash in `PATH.sha256`."""
    shown = path.relative_to(
        home() / "models" if path.is_relative_to(home() / "models") else home()
    )
    try:
        found = file_hash(path)
    except FileNotFoundError:
        return FileCheck(shown, False, "missing")
    except OSError as error:
        return FileCheck(shown, False, f"cannot be read: {error.strerror}")
    try:
        recorded = path.with_name(path.name + RECORDED).read_text().split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return FileCheck(shown, None, f"SHA-256 {found}, none was recorded")
    if found != recorded:
        return FileCheck(shown, False, f"SHA-256 {found} instead of {recorded}")
    return FileCheck(shown, True, f"SHA-256 {found}")


def _model_files(model: str) -> Iterator[Path]:
    folder = home() / "models" / model
    present = _present(folder)
    if not present:
        return
    needed = [
        folder / file for file in SMALL_FILES if file != "vocab.json" or model not in PRETRAINED
    ]
    if not any(folder / file in present for file in WEIGHTS):
        needed.append(folder / WEIGHTS[0])
    yield from sorted({*present, *needed})


def _present(folder: Path) -> list[Path]:
    """The files in a folder of fetched ones, and the missing ones whose hash is there."""
    if not folder.is_dir():
        return []
    names = {
        path.name.removesuffix(RECORDED)
        for path in folder.iterdir()
        if not path.is_dir() and not path.name.endswith(UNFINISHED)
    }
    return sorted(folder / name for name in names)
