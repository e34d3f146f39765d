"""Fetching a file whole or not at all: resumed where it broke off, checked, renamed into place.

What "checked" means: the size is the server's (Content-Length, X-Linked-Size) unless the caller knows it. The hash is
the caller's, else the one that Hugging Face states for large files; where nobody states one, the file's own is only
recorded, and `verify` finds what changed on this disk since.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any

from w2v2cli.errors import UserError

CHUNK = 1 << 16  # bytes
TIMEOUT = 30.0  # seconds without a byte
TRIES = 6  # in a row without a new byte, once some came
FIRST_TRIES = 3  # before the first byte: it is likelier that there is no network
FIRST_PAUSE = 0.5  # seconds before the second try, doubled for each one after
PASSING = frozenset(
    {408, 416, 425, 429}
)  # of the statuses below 500, those that another try may change
ABSENT = frozenset({401, 403, 404, 410})  # Hugging Face says 401 of repositories that do not exist

Progress = Callable[[int, int | None], None]  # bytes on disk, bytes in all


class DownloadError(UserError):
    """A file that could not be fetched, or was not what it should be."""


class NotThere(DownloadError):
    """The server does not have the file."""


@dataclass(frozen=True)
class Wanted:
    """A file on a server and where it goes."""

    url: str
    path: Path
    size: int | None = None
    """Bytes, where we know them; else the server's word is taken."""
    sha256: str | None = None
    """Where we know it; else the server's, if it gives one (Hugging Face does)."""


def fetch(wanted: Wanted, progress: Progress = lambda done, total: None) -> Path:
    """Have `wanted.path` on disk, fetching it if it is not; two processes may ask at once.

    What arrives goes to `PATH.part`, which a later call continues. Size and hash are checked before the file gets its
    name; its hash is kept beside it as `PATH.sha256`. DownloadError says in a sentence what went wrong.
    """
    if wanted.path.is_file():
        return wanted.path
    try:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(wanted.path, progress):
            if not wanted.path.is_file():  # another process may have fetched it while we waited
                _fetch(wanted, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"The disk is full: {wanted.path.name} goes to {wanted.path.parent}; make room or set W2V2_HOME."
            ) from None
        raise DownloadError(
            f"{wanted.path} cannot be written: {error.strerror or error}."
        ) from None
    return wanted.path


def verify(path: Path) -> str:
    """The SHA-256 of a fetched file; DownloadError when it is not the one recorded when it came."""
    try:
        recorded = _beside(path, ".sha256").read_text().split()[0]
        found = file_sha256(path)
    except (OSError, IndexError):
        raise DownloadError(
            f"{path} has no hash beside it to compare with, or is gone: fetch it anew."
        ) from None
    if found != recorded:
        raise DownloadError(
            f"{path} changed since it was fetched: its SHA-256 is {found[:12]}… instead of {recorded[:12]}…; "
            "delete it, and it is fetched again."
        )
    return found


def _fetch(wanted: Wanted, progress: Progress) -> None:
    part = _beside(wanted.path, ".part")
    facts = _download(wanted, part, progress)
    size, sha256 = wanted.size or facts.size, wanted.sha256 or facts.sha256
    found = part.stat().st_size
    if found == 0 or (size is not None and found != size):
        part.unlink()
        instead = f" instead of {size}" if size else ""
        raise DownloadError(
            f"{wanted.url} gave {found} bytes{instead}: nothing was kept, try again later."
        )
    digest = file_sha256(part)
    if sha256 is not None and digest != sha256:
        part.unlink()
        raise DownloadError(
            f"{wanted.url} gave a file with the SHA-256 {digest[:12]}… instead of {sha256[:12]}…: nothing was kept."
        )
    _beside(wanted.path, ".sha256").write_text(f"{digest}  {wanted.path.name}\n")
    os.replace(part, wanted.path)
    _notes(part).unlink(missing_ok=True)


@dataclass
class _Facts:
    """What the server says of the file."""

    size: int | None = None
    sha256: str | None = None
    etag: str | None = None


def _download(wanted: Wanted, part: Path, progress: Progress) -> _Facts:
    """Bring `part` to its end over as many connections as it takes."""
    failures = 0
    while True:
        before = _size(part)
        try:
            return _one_connection(wanted, part, progress)
        except urllib.error.HTTPError as error:
            if error.code in ABSENT:
                raise NotThere(
                    f"{wanted.url} is not there (the server says {error.code})."
                ) from None
            reason = f"the server says {error.code}"
            if error.code < 500 and error.code not in PASSING:
                raise DownloadError(f"{wanted.url} cannot be fetched: {reason}.") from None
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        after = _size(part)
        failures = 1 if after > before else failures + 1
        if failures >= (TRIES if after else FIRST_TRIES):
            kept = (
                f"{after} bytes are kept, and the next try goes on from there"
                if after
                else "nothing came"
            )
            raise DownloadError(
                f"{wanted.url} cannot be fetched: {reason}; {kept}. By hand, put it at {wanted.path}."
            )
        time.sleep(FIRST_PAUSE * 2 ** (failures - 1))


def _one_connection(wanted: Wanted, part: Path, progress: Progress) -> _Facts:
    """Ask for what is missing of `part` and write what comes; raises when the connection ends before the file does."""
    have, etag = _size(part), _noted_etag(part)
    headers = {"User-Agent": "w2v2", "Accept-Encoding": "identity"}
    if have and etag:
        headers |= {"Range": f"bytes={have}-", "If-Range": etag}
    redirects = _KeepFacts()
    opener = urllib.request.build_opener(redirects)
    try:
        response: HTTPResponse = opener.open(
            urllib.request.Request(wanted.url, headers=headers), timeout=TIMEOUT
        )
    except urllib.error.HTTPError as error:
        if (
            error.code == 416
        ):  # there is nothing after what we have, or the file changed: begin again
            part.unlink(missing_ok=True)
        raise
    with response:
        resumed = response.status == 206
        if resumed and not (response.headers.get("Content-Range") or "").startswith(
            f"bytes {have}-"
        ):
            part.unlink(missing_ok=True)
            raise ConnectionError(
                f"the server was asked for the bytes from {have} on and sent others"
            )
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(
                f"{wanted.url} gave a web page, not the file: does this network want a login?"
            )
        done = have if resumed else 0
        facts = _facts(response, redirects, done)
        # Emptied before the new version is noted: a beginning of the old one must never pass for one of the new.
        with part.open("ab" if resumed else "wb") as file:
            _notes(part).write_text(json.dumps({"etag": facts.etag}))
            for chunk in _body(response):
                file.write(chunk)
                done += len(chunk)
                progress(done, wanted.size or facts.size)
            file.flush()
            os.fsync(file.fileno())
    return facts


def _body(response: HTTPResponse) -> Iterator[bytes]:
    """What comes, chunk by chunk; ConnectionError for any trouble, so that none of it is taken for the disk's."""
    while True:
        try:
            chunk = response.read(CHUNK)
        except OSError as error:
            raise ConnectionError(str(error)) from None
        if not chunk:
            break
        yield chunk
    if response.length:  # http.client ends a broken body without an error when it is read in pieces
        raise ConnectionError(f"the connection broke off {response.length} bytes before the end")


class _KeepFacts(urllib.request.HTTPRedirectHandler):
    """Hugging Face states size and hash of a large file beside the redirect to it."""

    def __init__(self) -> None:
        self.headers: Message | None = None

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if headers.get("X-Linked-ETag"):
            self.headers = headers
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _facts(response: HTTPResponse, redirects: _KeepFacts, have: int) -> _Facts:
    length = response.headers.get("Content-Length")
    facts = _Facts(size=have + int(length) if length else None, etag=response.headers.get("ETag"))
    for headers in (response.headers, redirects.headers):
        if headers is not None:
            etag = (headers.get("X-Linked-ETag") or "").strip('W/"')
            if re.fullmatch(r"[0-9a-f]{64}", etag):
                facts.sha256 = etag
            if (size := headers.get("X-Linked-Size") or "").isdigit():
                facts.size = int(size)
    return facts


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _notes(part: Path) -> Path:
    return _beside(part, ".json")


def _noted_etag(part: Path) -> str | None:
    """What the server called the version that `part` is a beginning of; None where it is no name for exact bytes."""
    try:
        etag = json.loads(_notes(part).read_text())["etag"]
    except (OSError, ValueError, KeyError):
        return None  # without it nothing is resumed, which is always right
    return str(etag) if etag and not etag.startswith("W/") else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Only one process at a time fetches `path`; one that waits shows how far the other is."""
    lock, part = _beside(path, ".lock"), _beside(path, ".part")
    while True:
        with lock.open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    progress(_size(part), None)
                    time.sleep(0.1)
            # Whoever held it may have taken the file away; a lock on a file without a name keeps nobody out.
            if lock.exists() and lock.stat().st_ino == os.fstat(file.fileno()).st_ino:
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return
