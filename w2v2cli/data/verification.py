"""Fetched models and language models, compared with the hashes stated or recorded for them.

The hub states the hash of each file, and its cache is named by them. For what comes from elsewhere,
and for models that an earlier version fetched, the hash was recorded beside the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.hashing import file_hash
from storage.home import home
from w2v2cli.data.downloads import RECORDED
from w2v2cli.data.hub import (
    WEIGHTS,
    Repository,
    cached_folder,
    cached_models,
    cached_repository,
    differing_hash,
    place_in_cache,
    stated_hash,
)
from w2v2cli.data.locations import PRETRAINED, PUBLISHED, SMALL_FILES, named_repository
from w2v2cli.errors import UsageError, UserError
from w2v2cli.help import refusal

UNFINISHED = (".part", ".part.json", ".lock")  # suffixes of files that are still being fetched


@dataclass(frozen=True)
class FileCheck:
    """One file and how it compares."""

    path: Path
    """Relative to the folder of all models, or to that of everything that is fetched; of a
    repository, its name, its commit and the file."""
    fine: bool | None
    """False for a file that differs or is missing, None for one without a recorded hash."""
    finding: str


def fetched_files(name: str | None = None) -> list[Path]:
    """The files of a model that is on this machine, or of all models and language models.

    name: a published model or a repository of the hub, `@revision` included; None takes the models
    of wav2vec 2.0 in the hub's cache, every commit of each.

    Includes files that are missing: those that the model needs and those with a recorded hash.
    Raises UsageError for a name that is never fetched, UserError for a model that is not here.
    """
    repository = None if name is None else named_repository(name)
    if name is not None and repository is None:
        if name == "demo":
            raise UsageError("demo ships with w2v2 and is not fetched: see w2v2 doctor.")
        raise UsageError(refusal("NAME", name, list(PUBLISHED)))
    if repository is None:
        older = [path for model in PUBLISHED for path in _older_files(model)]
        cached = [path for _, folder in cached_models() for path in _cached_files(folder)]
        return [*older, *cached, *_present(home() / "lm")]
    known = [model for model in PUBLISHED if PUBLISHED[model] == repository.name]
    found = [] if repository.revision else [path for m in known for path in _older_files(m)]
    if (snapshot := cached_folder(repository)) is not None:
        found += _cached_files(snapshot)
    if not found:
        raise UserError(f"{name} is not on this machine: there is nothing to verify.")
    return found


def check_file(path: Path) -> FileCheck:
    """Hash a file and compare with the hash that the hub stated, or the one in `PATH.sha256`."""
    if (place := place_in_cache(path)) is not None:
        name, (commit, *inside) = place[0], place[1].parts
        return _check_cached(path, Path(name, commit[:8], *inside))
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


def _check_cached(path: Path, shown: Path) -> FileCheck:
    """Compare a file in the hub's cache."""
    stated = stated_hash(path)
    try:
        if stated is None:
            return FileCheck(shown, None, f"SHA-256 {file_hash(path)}, the hub stated none")
        found = differing_hash(path, stated)
    except FileNotFoundError:
        return FileCheck(shown, False, "missing")
    except OSError as error:
        return FileCheck(shown, False, f"cannot be read: {error.strerror}")
    kind = "SHA-256" if len(stated) == 64 else "Git's SHA-1"
    if found is not None:
        return FileCheck(shown, False, f"{kind} {found} instead of {stated}")
    return FileCheck(shown, True, f"{kind} {stated}")


def _cached_files(folder: Path) -> list[Path]:
    """The files of a commit in the hub's cache, those that lost their content included."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _older_files(model: str) -> list[Path]:
    """The files of a published model that an earlier version fetched into a folder of its own.

    Those that are missing count only while the hub's cache does not have the model.
    """
    files = list(_model_files(model))
    if cached_repository(Repository(PUBLISHED[model])) is not None:
        files = [path for path in files if path.is_file()]
    return files


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
