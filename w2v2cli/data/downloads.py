"""Downloads: resumed where they broke off, checked, and renamed into place when complete.

A file's size must be the one the caller knows, else the server's (Content-Length, X-Linked-Size).
Its SHA-256 must be the one the caller knows, else the one that a mirror on the hub states.
The file's own hash is recorded beside it, so that `verification` finds later changes on disk.
"""

from __future__ import annotations

import errno
import fcntl
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

from storage.hashing import file_hash
from storage.json_text import parsed
from storage.whole import write_whole
from w2v2cli.errors import UserError

CHUNK = 1 << 16  # bytes read at a time
TIMEOUT = 30.0  # seconds without a byte
TRIES = 6  # in a row without a new byte, once some have come
FIRST_TRIES = 3  # before the first byte: probably there is no network
FIRST_PAUSE = 0.5  # seconds before the first retry, doubled for each one after
PASSING = frozenset({408, 416, 425, 429})  # statuses below 500 that a retry may change
ABSENT = frozenset({401, 403, 404, 410})  # Hugging Face answers 401 for unknown repositories

RECORDED = ".sha256"  # suffix of the file that holds a fetched file's hash

OnProgress = Callable[[int, int | None], None]  # bytes on disk, bytes in all


class DownloadError(UserError):
    """A file that could not be fetched, or that is not the expected one."""


class NotThere(DownloadError):
    """The server does not have the file."""


@dataclass(frozen=True)
class Wanted:
    """A file on a server, and the path it is to have here."""

    url: str
    path: Path
    size: int | None = None
    """Bytes that it must have; None takes the server's word."""
    sha256: str | None = None
    """Hash that it must have; None takes the server's, if it states one (Hugging Face does)."""


def offline() -> bool:
    """Whether the user forbade the network, by W2V2_OFFLINE or HF_HUB_OFFLINE."""
    values = (os.environ.get(name, "").lower() for name in ("W2V2_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value not in ("", "0", "false", "no", "off") for value in values)


def fetch(wanted: Wanted, on_progress: OnProgress = lambda done, total: None) -> Path:
    """Make sure that `wanted.path` is on disk, and return it. Two processes may call this at once.

    Arriving bytes go to `PATH.part`, which a later call resumes. Size and hash are checked before
    the file gets its name; its hash is kept beside it as `PATH.sha256`.

    Raises DownloadError, and its subclass NotThere where the server does not have the file.
    """
    if wanted.path.is_file():
        return wanted.path
    try:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(wanted.path, on_progress):
            if not wanted.path.is_file():  # another process may have fetched it while we waited
                _fetch(wanted, on_progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"The disk is full: {wanted.path.name} goes to {wanted.path.parent}; "
                "make room or set W2V2_HOME."
            ) from None
        raise DownloadError(
            f"{wanted.path} cannot be written: {error.strerror or error}."
        ) from None
    return wanted.path


def _fetch(wanted: Wanted, on_progress: OnProgress) -> None:
    part = _beside(wanted.path, ".part")
    facts = _download(wanted, part, on_progress)
    size, sha256 = wanted.size or facts.size, wanted.sha256 or facts.sha256
    found = part.stat().st_size
    if found == 0 or (size is not None and found != size):
        part.unlink()
        instead = f" instead of {size}" if size else ""
        raise DownloadError(
            f"{wanted.url} gave {found} bytes{instead}: nothing was kept, try again later."
        )
    digest = file_hash(part)
    if sha256 is not None and digest != sha256:
        part.unlink()
        raise DownloadError(
            f"{wanted.url} gave a file with the SHA-256 {digest[:12]}… instead of "
            f"{sha256[:12]}…: nothing was kept."
        )
    write_whole(_beside(wanted.path, RECORDED), f"{digest}  {wanted.path.name}\n")
    os.replace(part, wanted.path)
    _notes(part).unlink(missing_ok=True)


@dataclass
class _Facts:
    """What the server states about the file."""

    size: int | None = None
    sha256: str | None = None
    etag: str | None = None


def _download(wanted: Wanted, part: Path, on_progress: OnProgress) -> _Facts:
    """Complete `part`, over as many connections as it takes."""
    failures = 0
    while True:
        before = _size(part)
        try:
            return _one_connection(wanted, part, on_progress)
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
                f"{after} bytes are kept, and the next call resumes there"
                if after
                else "nothing came"
            )
            raise DownloadError(
                f"{wanted.url} cannot be fetched: {reason}; {kept}. "
                f"By hand, put it at {wanted.path}."
            )
        time.sleep(FIRST_PAUSE * 2 ** (failures - 1))


def _one_connection(wanted: Wanted, part: Path, on_progress: OnProgress) -> _Facts:
    """Request the missing rest of `part` and append it.

    Raises ConnectionError and the like where the connection ends before the file does.
    """
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
        if error.code == 416:  # nothing follows our bytes, or the file changed: start anew
            part.unlink(missing_ok=True)
        raise
    except ValueError as error:  # of a redirect
        raise DownloadError(f"{wanted.url} leads to an address that is none: {error}.") from None
    with response:
        resumed = response.status == 206
        sent = response.headers.get("Content-Range") or ""
        if resumed and not sent.startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise ConnectionError(
                f"the server was asked for the bytes from {have} on and sent others"
            )
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(
                f"{wanted.url} gave a web page, not the file: does this network want a login?"
            )
        if _compressed(response, wanted.url):
            raise DownloadError(
                f"{wanted.url} is sent compressed, which was not asked for: is a proxy between?"
            )
        done = have if resumed else 0
        facts = _facts(response, redirects, done)
        # Emptied before the new version's ETag is noted: a beginning of the old version must
        # never be continued as one of the new.
        with part.open("ab" if resumed else "wb") as file:
            _notes(part).write_text(json.dumps({"etag": facts.etag}))
            for chunk in _body(response):
                file.write(chunk)
                done += len(chunk)
                on_progress(done, wanted.size or facts.size)
            file.flush()
            os.fsync(file.fileno())
    return facts


def _compressed(response: HTTPResponse, url: str) -> bool:
    """Whether the server compresses on the way. Some say it of files that are archives."""
    coding = (response.headers.get("Content-Encoding") or "identity").strip().lower()
    return coding != "identity" and not url.endswith((".gz", ".tgz"))


def _body(response: HTTPResponse) -> Iterator[bytes]:
    """The body, chunk by chunk; any trouble is a ConnectionError, never mistaken for the disk's."""
    while True:
        try:
            chunk = response.read(CHUNK)
        except OSError as error:
            raise ConnectionError(str(error)) from None
        if not chunk:
            break
        yield chunk
    if response.length:  # read in pieces, http.client ends a broken body without an error
        raise ConnectionError(f"the connection broke off {response.length} bytes before the end")


class _KeepFacts(urllib.request.HTTPRedirectHandler):
    """Keeps the headers of a redirect: Hugging Face states a large file's size and hash there."""

    def __init__(self) -> None:
        self.headers: Message | None = None

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if headers.get("X-Linked-ETag"):
            self.headers = headers
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _facts(response: HTTPResponse, redirects: _KeepFacts, have: int) -> _Facts:
    length = response.headers.get("Content-Length") or ""
    facts = _Facts(etag=response.headers.get("ETag"))
    if re.fullmatch(r"[0-9]{1,18}", length):
        facts.size = have + int(length)
    for headers in (response.headers, redirects.headers):
        if headers is not None:
            etag = (headers.get("X-Linked-ETag") or "").strip('W/"')
            if re.fullmatch(r"[0-9a-f]{64}", etag):
                facts.sha256 = etag
            if re.fullmatch(r"[0-9]{1,18}", size := headers.get("X-Linked-Size") or ""):
                facts.size = int(size)
    return facts


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _notes(part: Path) -> Path:
    return _beside(part, ".json")


def _noted_etag(part: Path) -> str | None:
    """The ETag of the version that `part` belongs to; None where it does not name exact bytes."""
    try:
        etag = parsed(_notes(part).read_text())["etag"]
    except (OSError, ValueError, KeyError):
        return None  # without it nothing is resumed, which is always safe
    return str(etag) if etag and not etag.startswith("W/") else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _locked(path: Path, on_progress: OnProgress) -> Iterator[None]:
    """Let one process at a time fetch `path`; one that waits reports the other's progress."""
    lock, part = _beside(path, ".lock"), _beside(path, ".part")
    while True:
        with lock.open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    on_progress(_size(part), None)
                    time.sleep(0.1)
            # The process before us may have removed the file: a lock on it keeps nobody out.
            if lock.exists() and lock.stat().st_ino == os.fstat(file.fileno()).st_ino:
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return
