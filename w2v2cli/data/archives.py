"""Unpacking archives that nobody vouches for: nothing outside the folder, nothing half done.

An archive is unpacked into a hidden folder, and its content is renamed into place once it is
complete. Only files and folders are made; a link becomes a copy of the file that it points to.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from storage.json_text import parsed
from storage.whole import write_whole
from w2v2cli.errors import UserError

ENDINGS = (".tar.gz", ".tgz", ".tar", ".zip")
CHUNK = 1 << 20  # bytes read at a time
SPARE = 64 * 2**20  # bytes of the disk that are left free
Kind = Literal["file", "folder", "link", "symlink", "device"]
OnProgress = Callable[[int, int | None], None]  # bytes written, bytes in all


class ArchiveError(UserError):
    """An archive that cannot be unpacked, or that must not be."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive."""

    name: str
    """Path in the archive, as it is written there."""
    kind: Kind
    size: int
    """Unpacked size in bytes."""
    target: str = ""
    """The path that a link points to."""


def is_archive(name: str) -> bool:
    """Whether `unpack` takes a file of that name: .tar.gz, .tgz, .tar and .zip."""
    return name.lower().endswith(ENDINGS)


def unpack(archive: Path, folder: Path, on_progress: OnProgress = lambda done, total: None) -> bool:
    """Unpack an archive into `folder`; return False where that was done before.

    Files of the same name are replaced, others stay. Raises ArchiveError for an archive that is
    damaged, holds a member that has no place in a corpus, or does not fit on the disk, and while
    another process unpacks into `folder`; `folder` then stays as it was.
    """
    facts = _facts(archive)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if was_unpacked(archive.name, folder, facts):
                return False
            staging = folder / f".unpacking-{archive.name}"
            shutil.rmtree(staging, ignore_errors=True)  # a killed process may have left it
            try:
                staging.mkdir()
                _extract(archive, staging, on_progress)
                made = [
                    path.relative_to(staging).as_posix()
                    for path in (*staging.glob("*"), *staging.glob("*/*"))
                ]
                _move_into(staging, folder)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            note = json.dumps({"archive": facts, "made": sorted(made)})
            write_whole(_note(archive.name, folder), note)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ArchiveError(
                f"The disk is full: {archive.name} does not fit into {folder}."
            ) from None
        raise ArchiveError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}."
        ) from None
    return True


def _facts(archive: Path) -> dict[str, int]:
    try:
        status = archive.stat()
    except OSError as error:
        raise ArchiveError(f"{archive} cannot be opened: {error.strerror}.") from None
    return {"bytes": status.st_size, "changed": status.st_mtime_ns}


def _note(name: str, folder: Path) -> Path:
    return folder / f".unpacked-{name}.json"


def was_unpacked(name: str, folder: Path, facts: dict[str, int] | None = None) -> bool:
    """Whether an archive of that name was unpacked into `folder` and its content is still there.

    facts: size and time that the archive must have had; None accepts any.
    """
    try:
        note = parsed(_note(name, folder).read_text())
        return facts in (None, note["archive"]) and all(
            (folder / path).exists() for path in note["made"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from unpacking into the folder meanwhile."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ArchiveError(
            f"Another process is unpacking into {folder}: wait for it to end."
        ) from None
    finally:
        os.close(lock)


def _extract(archive: Path, staging: Path, on_progress: OnProgress) -> None:
    """Write all members into an empty folder, each checked before it is written."""
    room = shutil.disk_usage(staging).free - SPARE
    written, total = 0, None
    try:
        total = unpacked_size(archive)
        _check_room(archive, staging, total, room)
        for member, content in _members(archive):
            path = _place(archive, member, staging)
            _check_room(archive, staging, written + member.size, room)
            if member.kind == "folder":
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                _write_link(archive, member, path, staging)
                continue
            path.unlink(missing_ok=True)  # it may share its bytes with a link's target
            with path.open("wb") as file:
                while chunk := content.read(CHUNK):
                    file.write(chunk)
                    written += len(chunk)
                    on_progress(written, total)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        NotImplementedError,
    ) as error:
        raise ArchiveError(
            f"{archive} is damaged or not an archive: {str(error) or type(error).__name__}."
        ) from None


def unpacked_size(archive: Path) -> int:
    """Bytes that an archive's content takes, at least. Exact for .zip and .tar.

    A .tar.gz states its size modulo 4 GiB; the rest follows from recordings hardly shrinking.
    """
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            return sum(info.file_size for info in file.infolist())
    packed = archive.stat().st_size
    if archive.name.lower().endswith(".tar"):
        return packed
    with archive.open("rb") as gzipped:
        gzipped.seek(max(packed - 4, 0))
        size = int.from_bytes(gzipped.read(4), "little")
    while size < 0.9 * packed:
        size += 2**32
    return size


def _check_room(archive: Path, folder: Path, needed: int, room: int) -> None:
    if needed > room:
        raise ArchiveError(
            f"{archive.name} needs {needed / 1e9:.2f} GB in {folder.parent}, where "
            f"{max(room, 0) / 1e9:.2f} GB are free: make room or name another folder."
        )


def _members(archive: Path) -> Iterator[tuple[Member, IO[bytes] | None]]:
    """Every entry with its content, in the archive's order; None for what is not a file."""
    if archive.name.lower().endswith(".zip"):
        yield from _zip_members(archive)
        return
    zipped = not archive.name.lower().endswith(".tar")
    with gzip.open(archive) if zipped else archive.open("rb") as file:
        with tarfile.open(fileobj=file, mode="r|") as tar:  # a stream: nothing is read twice
            for info in tar:
                content = tar.extractfile(info) if info.isreg() else None
                yield Member(info.name, _kind(info), info.size, info.linkname), content
            end = tar.offset
        if zipped:
            while file.read(CHUNK):  # reaches gzip's checksum, which stands at the end
                pass
        else:  # tarfile takes a damaged header, or the end of a truncated file, for the end
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError(f"it breaks off after {end} bytes")


def _kind(info: tarfile.TarInfo) -> Kind:
    if info.isreg():
        return "file"
    if info.isdir():
        return "folder"
    return "symlink" if info.issym() else "link" if info.islnk() else "device"


def _zip_members(archive: Path) -> Iterator[tuple[Member, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if info.flag_bits & 1:
                raise ArchiveError(
                    f"{archive} is encrypted: unpack it by hand and name its folder."
                )
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                yield Member(info.filename, "folder", 0), None
            elif kind == stat.S_IFLNK:
                yield (
                    Member(info.filename, "symlink", 0, file.read(info).decode(errors="replace")),
                    None,
                )
            elif kind in (0, stat.S_IFREG):
                with file.open(info) as content:
                    yield Member(info.filename, "file", info.file_size), content
            else:
                yield Member(info.filename, "device", 0), None


def _place(archive: Path, member: Member, folder: Path) -> Path:
    """The path of a member; ArchiveError for one outside the folder, and for a device."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\0" in member.name:
        raise ArchiveError(
            f"{archive} is not unpacked: its member {member.name!r} would leave the folder."
        )
    if member.kind == "device":
        raise ArchiveError(
            f"{archive} is not unpacked: its member {member.name!r} is a device, "
            "which no corpus holds."
        )
    return folder / name


def _write_link(archive: Path, member: Member, path: Path, staging: Path) -> None:
    """Give the file that a link points to the link's name too.

    `staging` holds no symbolic link, so a path in it cannot lead outside.
    """
    above = PurePosixPath(member.name).parent if member.kind == "symlink" else PurePosixPath()
    target = os.path.normpath(above / member.target)
    if os.path.isabs(target) or target.split(os.sep)[0] == "..":
        raise ArchiveError(
            f"{archive} is not unpacked: its member {member.name!r} is a link out of the folder, "
            f"to {member.target!r}."
        )
    if not (staging / target).is_file():
        raise ArchiveError(
            f"{archive} is not unpacked: its member {member.name!r} is a link to "
            f"{member.target!r}, which is not a file before it."
        )
    path.unlink(missing_ok=True)
    os.link(staging / target, path)


def _move_into(source: Path, folder: Path) -> None:
    """Rename the content of `source` into `folder`; folders that exist on both sides are merged."""
    for path in sorted(source.iterdir()):
        target = folder / path.name
        if path.is_dir() and target.is_dir():
            _move_into(path, target)
        elif path.is_dir() == target.is_dir() or not target.exists():
            os.replace(path, target)
        else:
            raise ArchiveError(f"{target} is in the way of the unpacked files: move it.")
