"""Against a real server that breaks off, lies, and serves the wrong bytes."""

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from w2v2cli.data import downloads
from w2v2cli.data.downloads import DownloadError, NotThere, Wanted, fetch

CONTENT = bytes(range(256)) * 4000  # about 1 MB


class Server:
    """A local server that gives the next of `answers` to each request, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Callable[[BaseHTTPRequestHandler], None]] = [whole]
        self.requests: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append({"path": self.path, **dict(self.headers)})
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


def respond(h, status, body, **headers):
    h.send_response(status)
    for name, value in headers.items():
        h.send_header(name.replace("_", "-"), str(value))
    h.end_headers()
    h.wfile.write(body)


def whole(h):
    respond(h, 200, CONTENT, Content_Length=len(CONTENT), ETag='"v1"')


def broken_off(h):
    respond(h, 200, CONTENT[:300_000], Content_Length=len(CONTENT), ETag='"v1"')


def the_rest(h):
    start = int(h.headers["Range"].removeprefix("bytes=").rstrip("-"))
    there = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    respond(
        h,
        206,
        CONTENT[start:],
        Content_Length=len(CONTENT) - start,
        Content_Range=there,
        ETag='"v1"',
    )


def status(code):
    return lambda h: respond(h, code, b"", Content_Length=0)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(downloads, "TIMEOUT", 1.0)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sub" / "model.bin"


def left(path):
    return sorted(p.name for p in path.parent.iterdir())


def test_a_file_is_fetched_once_and_its_hash_kept(server, path):
    seen = []
    fetch(Wanted(f"{server.url}/f", path), lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert left(path) == ["model.bin", "model.bin.sha256"]
    assert hashlib.sha256(CONTENT).hexdigest() in (path.parent / "model.bin.sha256").read_text()
    fetch(Wanted(f"{server.url}/f", path))
    assert len(server.requests) == 1


def test_a_broken_connection_is_resumed_where_it_broke(server, path):
    server.answers = [broken_off, the_rest]
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == CONTENT
    assert server.requests[1]["Range"] == "bytes=300000-"
    assert server.requests[1]["If-Range"] == '"v1"'


def test_a_server_that_cannot_resume_sends_it_all_again(server, path):
    server.answers = [broken_off, whole]
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == CONTENT


def test_what_was_fetched_before_is_kept_for_the_next_call(server, path, monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 2)
    server.answers = [broken_off, status(503)]
    with pytest.raises(DownloadError, match=r"the server says 503; 300000 bytes are kept"):
        fetch(Wanted(f"{server.url}/f", path))
    assert not path.exists()
    server.answers = [the_rest]
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == CONTENT


def test_a_server_that_lies_about_the_size(server, path):
    server.answers = [
        lambda h: respond(h, 200, CONTENT, Content_Length=len(CONTENT), X_Linked_Size=7)
    ]
    with pytest.raises(DownloadError, match=f"gave {len(CONTENT)} bytes instead of 7"):
        fetch(Wanted(f"{server.url}/f", path))
    assert not path.exists() and "model.bin.part" not in left(path)


@pytest.mark.parametrize("whose", ["ours", "the server's"])
def test_the_wrong_bytes_are_not_kept(server, path, whose):
    right = hashlib.sha256(CONTENT).hexdigest()
    wrong = CONTENT[:-1] + b"!"
    headers = {"X_Linked_ETag": f'"{right}"'} if whose == "the server's" else {}
    server.answers = [lambda h: respond(h, 200, wrong, Content_Length=len(wrong), **headers)]
    with pytest.raises(DownloadError, match=f"instead of {right[:12]}"):
        fetch(Wanted(f"{server.url}/f", path, sha256=right if whose == "ours" else None))
    assert not path.exists() and "model.bin.part" not in left(path)


def test_the_hash_stated_beside_a_redirect_counts(server, path):
    def redirect(h):
        respond(
            h,
            302,
            b"",
            Location=f"{server.url}/blob",
            X_Linked_ETag='"' + "0" * 64 + '"',
            Content_Length=0,
        )

    server.answers = [redirect, whole]
    with pytest.raises(DownloadError, match="instead of 000000000000"):
        fetch(Wanted(f"{server.url}/f", path))


def test_a_missing_file_is_said_at_once(server, path):
    server.answers = [status(404)]
    with pytest.raises(NotThere, match="is not there"):
        fetch(Wanted(f"{server.url}/f", path))
    assert len(server.requests) == 1


def test_nobody_answers(path, monkeypatch):
    monkeypatch.setattr(downloads, "FIRST_PAUSE", 0.001)
    with pytest.raises(
        DownloadError, match=r"refused; nothing came\. By hand, put it at .*model\.bin\.$"
    ):
        fetch(Wanted("http://127.0.0.1:9/f", path))


def test_a_slow_server_is_left_and_asked_for_the_rest(server, path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)

    def slow(h):
        broken_off(h)
        h.wfile.flush()
        time.sleep(0.5)

    server.answers = [slow, the_rest]
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == CONTENT
    assert 200_000 <= int(server.requests[1]["Range"].removeprefix("bytes=").rstrip("-")) <= 300_000


def test_a_server_that_promises_more_than_it_has(server, path, monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 2)
    server.answers = [lambda h: respond(h, 200, CONTENT, Content_Length=len(CONTENT) + 5)]
    with pytest.raises(DownloadError, match="broke off 5 bytes before the end"):
        fetch(Wanted(f"{server.url}/f", path))
    assert not path.exists()


def test_a_version_that_changed_meanwhile_is_fetched_from_its_start(server, path):
    new = CONTENT[::-1]
    server.answers = [
        broken_off,
        lambda h: respond(h, 200, new, Content_Length=len(new), ETag='"v2"'),
    ]
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == new
    assert server.requests[1]["If-Range"] == '"v1"'


def test_the_wrong_range_is_not_taken_for_the_rest(server, path):
    def beginning(h):
        respond(
            h,
            206,
            CONTENT[:50],
            Content_Length=50,
            Content_Range=f"bytes 0-49/{len(CONTENT)}",
            ETag='"v1"',
        )

    server.answers = [broken_off, beginning, whole]
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == CONTENT


def test_a_range_that_cannot_be_given_begins_again(server, path):
    server.answers = [broken_off, status(416), whole]
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_name_for_exact_bytes_nothing_is_resumed(server, path, etag):
    headers = {"ETag": etag} if etag else {}
    server.answers = [
        lambda h: respond(h, 200, CONTENT[:9], Content_Length=len(CONTENT), **headers),
        whole,
    ]
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == CONTENT and "Range" not in server.requests[1]


def test_a_body_without_a_length_and_through_a_redirect(server, path):
    server.answers = [
        lambda h: respond(h, 307, b"", Location="/elsewhere", Content_Length=0),
        lambda h: respond(h, 200, CONTENT),
    ]
    seen = []
    fetch(Wanted(f"{server.url}/f", path), lambda done, total: seen.append(total))
    assert path.read_bytes() == CONTENT and set(seen) == {None}
    assert [r["path"] for r in server.requests] == ["/f", "/elsewhere"]


def test_a_login_page_is_no_model(server, path):
    server.answers = [
        lambda h: respond(
            h, 200, b"<html>", Content_Type="text/html; charset=utf-8", Content_Length=6
        )
    ]
    with pytest.raises(DownloadError, match="gave a web page, not the file"):
        fetch(Wanted(f"{server.url}/f", path))
    assert not path.exists()


def test_an_empty_file_is_none(server, path):
    server.answers = [lambda h: respond(h, 200, b"", Content_Length=0)]
    with pytest.raises(DownloadError, match="gave 0 bytes: nothing was kept"):
        fetch(Wanted(f"{server.url}/f", path))
    assert not path.exists()


def test_what_another_try_cannot_mend_is_said_at_once(server, path):
    server.answers = [status(400)]
    with pytest.raises(DownloadError, match="the server says 400"):
        fetch(Wanted(f"{server.url}/f", path))
    assert len(server.requests) == 1


def test_a_server_that_recovers(server, path):
    server.answers = [status(503), status(429), whole]
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == CONTENT


FETCHING = """
import sys, time
from pathlib import Path
from w2v2cli.data.downloads import Wanted, fetch
print("up", flush=True)
sys.stdin.readline()
fetch(Wanted(sys.argv[1], Path(sys.argv[2])))
"""


def test_processes_at_once_fetch_one_file(server, path):
    server.answers = [lambda h: (time.sleep(0.3), whole(h))]
    command = [sys.executable, "-c", FETCHING, f"{server.url}/f", str(path)]
    started = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        )
        for _ in range(3)
    ]
    for process in started:
        process.stdout.readline()
    for process in started:
        process.stdin.close()
    for process in started:
        process.stdout.close()
        process.wait()
    assert [p.returncode for p in started] == [0, 0, 0]
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert left(path) == ["model.bin", "model.bin.sha256"]


def test_one_that_waits_shows_how_far_the_other_is(server, path):
    server.answers = [lambda h: (broken_off(h), h.wfile.flush(), time.sleep(0.4)), the_rest]
    first = threading.Thread(target=fetch, args=(Wanted(f"{server.url}/f", path),))
    first.start()
    while not path.with_name("model.bin.part").exists():
        time.sleep(0.01)
    seen = []
    fetch(Wanted(f"{server.url}/f", path), lambda done, total: seen.append((done, total)))
    first.join()
    assert seen and all(done <= len(CONTENT) and total is None for done, total in seen)


def test_one_that_failed_leaves_the_lock_to_the_next(server, path):
    server.answers = [status(404), whole]
    with pytest.raises(NotThere):
        fetch(Wanted(f"{server.url}/f", path))
    assert left(path) == []
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == CONTENT


def test_two_at_once_fetch_one_file(server, path):
    threads = [
        threading.Thread(target=fetch, args=(Wanted(f"{server.url}/f", path),)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_full_disk(server, path):
    import os

    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    path.parent.mkdir()
    (path.parent / "model.bin.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="The disk is full"):
        fetch(Wanted(f"{server.url}/f", path))


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"Content_Encoding": "gzip"}, "is sent compressed, which was not asked for"),
        ({"Location": "http://["}, "leads to an address that is none: Invalid IPv6 URL."),
    ],
)
def test_what_was_not_asked_for_is_a_sentence(server, path, headers, told):
    """Compressed bytes were kept as the file; a redirect to nowhere was a traceback."""
    status = 302 if "Location" in headers else 200
    server.answers = [lambda h: respond(h, status, b"abc", **headers)]
    with pytest.raises(DownloadError, match=told):
        fetch(Wanted(f"{server.url}/f", path))
    assert "f" not in left(path)


def test_an_archive_that_a_server_calls_compressed_is_kept_as_it_is(server, path):
    server.answers = [lambda h: respond(h, 200, CONTENT, Content_Encoding="x-gzip")]
    assert fetch(Wanted(f"{server.url}/f.gz", path)).read_bytes() == CONTENT


@pytest.mark.parametrize("length", ["1, 2", "0x10", "9" * 5000])
def test_a_length_that_is_no_number_is_not_counted_on(server, path, length):
    """It was a traceback."""

    def answer(h):
        respond(h, 200, CONTENT, Content_Length=length)
        h.close_connection = True

    server.answers = [answer, whole]
    assert fetch(Wanted(f"{server.url}/f", path)).read_bytes() == CONTENT
