"""Against a real server that breaks off, lies, and serves the wrong bytes."""

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from w2v2cli.data import downloads
from w2v2cli.data.downloads import DownloadError, NotThere, Wanted, fetch

CONTENT = bytes(range(256)) * 4000  # about 1 MB


class Server:
    """A local server whose answer to each request is the next of `answers`, the last one for ever."""

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
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


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
    respond(h, 206, CONTENT[start:], Content_Length=len(CONTENT) - start, ETag='"v1"')


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
    with pytest.raises(DownloadError, match=r"the server says 503\. 300000 bytes are kept"):
        fetch(Wanted(f"{server.url}/f", path))
    assert not path.exists()
    server.answers = [the_rest]
    fetch(Wanted(f"{server.url}/f", path))
    assert path.read_bytes() == CONTENT


def test_a_server_that_lies_about_the_size(server, path):
    server.answers = [lambda h: respond(h, 200, CONTENT, Content_Length=len(CONTENT), X_Linked_Size=7)]
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
        respond(h, 302, b"", Location=f"{server.url}/blob", X_Linked_ETag='"' + "0" * 64 + '"', Content_Length=0)

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
    with pytest.raises(DownloadError, match=r"cannot be fetched: .*refused.* 0 bytes are kept"):
        fetch(Wanted("http://127.0.0.1:9/f", path))


def test_two_at_once_fetch_one_file(server, path):
    threads = [threading.Thread(target=fetch, args=(Wanted(f"{server.url}/f", path),)) for _ in range(4)]
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
