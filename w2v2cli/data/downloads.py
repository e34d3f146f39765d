"""Fetching a file whole or not at all: resumed where it broke off, checked, renamed into place."""

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

CHUNK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
TRIES = 6  # in a row without a new byte
FIRST_PAUSE = 0.5  # seconds before the second try, doubled for each one after

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

    What arrives goes to `PATH.part`, which a later call continues. Size and hash are checked before the file gets its name;
    its hash is kept beside it as `PATH.sha256`. DownloadError says in a sentence what went wrong.
    """
    if wanted.path.is_file():
        return wanted.path
    try:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(wanted.path):
            if not wanted.path.is_file():  # another process may have fetched it while we waited
                _fetch(wanted, progress)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DownloadError(
                f"The disk is full: {wanted.path.name} goes to {wanted.path.parent}; make room or set W2V2_HOME."
            ) from None
        raise DownloadError(f"{wanted.path} cannot be written: {error.strerror or error}.") from None
    return wanted.path


def _fetch(wanted: Wanted, progress: Progress) -> None:
    part = wanted.path.with_name(wanted.path.name + ".part")
    facts = _download(wanted, part, progress)
    size, sha256 = wanted.size or facts.size, wanted.sha256 or facts.sha256
    found = part.stat().st_size
    if size is not None and found != size:
        part.unlink()
        raise DownloadError(f"{wanted.url} gave {found} bytes instead of {size}: nothing was kept, try again later.")
    digest = file_sha256(part)
    if sha256 is not None and digest != sha256:
        part.unlink()
        raise DownloadError(
            f"{wanted.url} gave a file with the SHA-256 {digest[:12]}… instead of {sha256[:12]}…: nothing was kept."
        )
    wanted.path.with_name(wanted.path.name + ".sha256").write_text(f"{digest}  {wanted.path.name}\n")
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
        before = part.stat().st_size if part.exists() else 0
        try:
            return _one_connection(wanted, part, progress)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404, 410):
                raise NotThere(f"{wanted.url} is not there (the server says {error.code}).") from None
            reason = f"the server says {error.code}"
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        after = part.stat().st_size if part.exists() else 0
        failures = 1 if after > before else failures + 1
        if failures >= TRIES:
            raise DownloadError(
                f"{wanted.url} cannot be fetched: {reason}. {after} bytes are kept, and the next try goes on from there."
            )
        time.sleep(FIRST_PAUSE * 2 ** (failures - 1))


def _one_connection(wanted: Wanted, part: Path, progress: Progress) -> _Facts:
    """Ask for what is missing of `part` and write what comes; raises when the connection ends before the file does."""
    have = part.stat().st_size if part.exists() else 0
    etag = _noted_etag(part)
    headers = {"User-Agent": "w2v2", "Accept-Encoding": "identity"}
    if have and etag:
        headers |= {"Range": f"bytes={have}-", "If-Range": etag}
    redirects = _KeepFacts()
    try:
        response: HTTPResponse = urllib.request.build_opener(redirects).open(
            urllib.request.Request(wanted.url, headers=headers), timeout=TIMEOUT
        )
    except urllib.error.HTTPError as error:
        if error.code == 416:  # there is nothing after what we have, or the file changed: begin again
            part.unlink(missing_ok=True)
        raise
    with response:
        resumed = response.status == 206
        facts = _facts(response, redirects, have if resumed else 0)
        _notes(part).write_text(json.dumps({"etag": response.headers.get("ETag")}))
        done = have if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(done, wanted.size or facts.size)
        if response.length:  # http.client ends a broken body without an error when it is read in pieces
            raise ConnectionError(f"the connection broke off {response.length} bytes before the end")
    return facts


class _KeepFacts(urllib.request.HTTPRedirectHandler):
    """Hugging Face states size and hash of a large file beside the redirect to it."""

    def __init__(self) -> None:
        self.headers: Message | None = None

    def redirect_request(self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> Any:
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


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _noted_etag(part: Path) -> str | None:
    """What the server called the version that `part` is a beginning of."""
    try:
        etag = json.loads(_notes(part).read_text())["etag"]
    except (OSError, ValueError, KeyError):
        return None  # without it nothing is resumed, which is always right
    return str(etag) if etag else None


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one process at a time fetches `path`."""
    lock = path.with_name(path.name + ".lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    lock.unlink(missing_ok=True)
