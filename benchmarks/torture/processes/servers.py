"""Downloads from a server that breaks off, lies, redirects for ever, hangs, compresses or changes.

A case draws what the server does at each request, and whether size and hash of the file are known.
A download that succeeds has to be one version of the file, whole. One that fails has to say so, and
leaves no more than the beginning that the next call goes on from; that call, to a server that has
come to its senses, gets the file.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.torture.cases import Kind, Outcome, Run, draw_of, judged, sentence

COUNT = 300
TIMEOUT = 0.3  # seconds without a byte
PAUSE = 0.001  # seconds before the first retry
SIZE = 200_000
FEW, MANY = 4, 12  # requests that a server answers badly
VERSIONS = [random.Random(seed).randbytes(SIZE) for seed in (1, 2)]
Handler = BaseHTTPRequestHandler
Answer = Callable[["Evil", Handler, random.Random], None]


class Evil:
    """A server of one file, whose next answers are drawn; then it is honest."""

    def __init__(self, answers: list[Answer], draw: random.Random) -> None:
        self.answers, self.version = answers, 0
        self.sane = False
        """Whether it is honest from now on."""
        self.believed = False
        """Whether it told a lie that nobody can see who knows neither size nor hash."""
        self._going = threading.Event()
        outer = self

        class Handling(Handler):
            def do_GET(self) -> None:
                bad = outer.answers and not outer.sane
                answer = outer.answers.pop(0) if bad else honest
                try:
                    answer(outer, self, draw)
                except OSError:
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handling)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def wait(self) -> None:
        """Hang until the case is over."""
        self._going.wait(20)

    def close(self) -> None:
        """End it with all that hangs in it."""
        self._going.set()
        self.http.shutdown()
        self.http.server_close()


def begun(evil: Evil, handler: Handler, **other: object) -> bytes:
    """Send an honest head, but for some headers (None leaves one out); return the body it owes."""
    whole = VERSIONS[evil.version]
    etag = f'"v{evil.version}"'
    asked = handler.headers["Range"]
    resumed = asked is not None and handler.headers["If-Range"] in (None, etag)
    start = int(asked.removeprefix("bytes=").rstrip("-")) if resumed else 0
    if start >= SIZE:
        handler.send_error(416)
        return b""
    handler.send_response(206 if resumed else 200)
    there = f"bytes {start}-{SIZE - 1}/{SIZE}" if resumed else None
    heads = {"Content_Length": SIZE - start, "ETag": etag, "Content_Range": there, **other}
    for name, value in heads.items():
        if value is not None:
            handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    return whole[start:]


def honest(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Send what was asked for."""
    handler.wfile.write(begun(evil, handler))


def broken(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Break off."""
    body = begun(evil, handler)
    handler.wfile.write(body[: draw.randrange(len(body) + 1)])
    handler.close_connection = True


def lying(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Lie about the length."""
    values = (SIZE + 1, SIZE - 1, 1, 0, -5, "abc", 10**30, "1, 2", "", "0x10")
    length = draw.choice(values)
    evil.believed |= length in (SIZE - 1, 1)
    handler.wfile.write(begun(evil, handler, Content_Length=length))
    handler.close_connection = True


def unmeasured(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """State no length, and perhaps no version."""
    etag = draw.choice(('"v0"', None, "W/1", ""))
    handler.wfile.write(begun(evil, handler, Content_Length=None, ETag=etag))
    handler.close_connection = True


def circular(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Redirect, for ever or to where nothing may be fetched."""
    number = draw.randrange(10**6)
    elsewhere = ("file:///etc/hostname", "ftp://127.0.0.1:1/f", "http://[", "", "//")
    places = (f"/{number}", "/f", *elsewhere)
    handler.send_response(draw.choice((301, 302, 307, 308)))
    handler.send_header("Location", draw.choice(places))
    handler.send_header("Content-Length", "0")
    handler.end_headers()
    if draw.random() < 0.5:
        evil.answers[:0] = [circular] * 20


def hanging(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Hang before the head, in it, or in the body."""
    if draw.random() < 0.3:
        handler.wfile.write(draw.choice((b"", b"HTTP/1.1 200 OK\r\nContent-Le")))
    else:
        body = begun(evil, handler)
        handler.wfile.write(body[: draw.randrange(len(body) + 1)])
    handler.wfile.flush()
    evil.wait()


def compressed(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Compress what was to come as it is."""
    body = gzip.compress(VERSIONS[evil.version], 1)
    handler.send_response(200)
    handler.send_header("Content-Encoding", draw.choice(("gzip", "x-gzip", "GZIP")))
    if draw.random() < 0.7:
        handler.send_header("Content-Length", str(len(body)))
    handler.send_header("ETag", '"v0"')
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = True


def changing(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Break off, and have another version from then on."""
    broken(evil, handler, draw)
    evil.version = 1


def elsewhere(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Send another part than was asked for."""
    ranges = ("bytes 5-9/10", "bytes */7", "bytes 0-1", "lines 1-2/3", "", "bytes 0-199999/200000")
    body = begun(evil, handler, Content_Range=draw.choice(ranges))
    handler.wfile.write(body)
    handler.close_connection = True


def page(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Send a page that wants a login."""
    body = b"<html>Log in</html>"
    handler.send_response(200)
    handler.send_header("Content-Type", draw.choice(("text/html", "text/html; charset=utf-8")))
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def refusing(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Refuse, with a reason that would colour a terminal."""
    code = draw.choice((400, 401, 403, 404, 408, 410, 416, 418, 425, 429, 451, 500, 502, 503, 599))
    handler.send_response(code, draw.choice(("no", "\x1b[31mred\x1b[0m", "x" * 5000)))
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def babbling(evil: Evil, handler: Handler, draw: random.Random) -> None:
    """Speak something else than HTTP."""
    said = (
        b"",
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 abc def\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 206 \r\nContent-Range: bytes 0-2/3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nETag: \xff\xfe\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5,
    )
    answer = draw.choice(said)
    evil.believed |= answer.endswith((b"3\r\nabc\r\n", b"/3\r\n\r\nabc"))
    handler.wfile.write(answer)
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_WR)
    handler.close_connection = True


ANSWERS: tuple[Answer, ...] = (
    honest,
    broken,
    broken,
    lying,
    unmeasured,
    circular,
    hanging,
    compressed,
    changing,
    elsewhere,
    page,
    refusing,
    babbling,
)


def open_servers(folder: Path) -> Run:
    """Pauses and waits made short."""
    from w2v2cli.data import downloads

    downloads.TIMEOUT, downloads.FIRST_PAUSE = TIMEOUT, PAUSE

    def run(number: int, place: Path) -> Outcome:
        draw = draw_of("servers", number)
        answers = [draw.choice(ANSWERS) for _ in range(draw.choice((1, FEW, MANY)))]
        hashed, sized = draw.random() < 0.4, draw.random() < 0.3
        with closing(Evil(answers, draw)) as evil:
            return judged(lambda: fetched(evil, place, hashed, sized), ())

    return run


def fetched(evil: Evil, place: Path, hashed: bool, sized: bool) -> Outcome:
    """Fetch the file, and again where that fails."""
    from w2v2cli.data.downloads import DownloadError, Wanted, fetch

    wanted = Wanted(
        f"{evil.url}/f",
        place / "file",
        SIZE if sized else None,
        hashlib.sha256(VERSIONS[0]).hexdigest() if hashed else None,
    )
    told = Outcome("well")
    began = time.monotonic()
    try:
        fetch(wanted)
    except DownloadError as error:
        told = sentence(str(error))
        left = {path.name for path in place.iterdir()} - {"file.part", "file.part.json"}
        if left:
            return Outcome("changed", f"{sorted(left)} after: {error}")
        if time.monotonic() - began > 10:
            return Outcome("hang", str(error))
        evil.sane = True
        evil.version = 0 if hashed else evil.version
        try:
            fetch(wanted)
        except DownloadError as error:  # what was kept was another version's: nothing is now
            if not hashed or "nothing was kept" not in str(error):
                return Outcome("changed", f"the same call again: {error}")
            fetch(wanted)
    content = wanted.path.read_bytes()
    right = VERSIONS[:1] if hashed else VERSIONS
    left = {path.name for path in place.iterdir()} - {"file", "file.sha256"}
    if (content not in right and (hashed or sized or not evil.believed)) or left:
        return Outcome("changed", f"{len(content)} bytes of no version; beside {sorted(left)}")
    return told


KINDS = (Kind("servers", COUNT, open_servers, seconds=30.0),)
