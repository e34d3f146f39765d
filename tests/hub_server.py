"""A local server that speaks as much of the Hugging Face hub's protocol as huggingface_hub asks."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

LARGE = (".safetensors", ".bin")  # kept apart from the repository, as by Git LFS
URL = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
TREE = re.compile(
    r"/api/models/(?P<name>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)/(?P<folder>[^?]+)(\?.*)?"
)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class HubServer:
    """Repositories in memory, and what was asked.

    Small files come from the address itself with Git's hash as ETag. Large ones come from another
    host, to which an answer of 302 leads; that answer has their SHA-256 and size.
    """

    commits: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    """By repository, by commit, by file."""
    refs: dict[str, dict[str, str]] = field(default_factory=dict)
    """Branches and tags: by repository, by name, a commit."""
    gated: set[str] = field(default_factory=set)
    """Repositories that want the token `secret`."""
    breaks: list[int] = field(default_factory=list)
    """After how many bytes the next bodies of large files break off."""
    instead: dict[str, bytes] = field(default_factory=dict)
    """Contents that are sent in place of those of the same name, once each, under their ETag."""
    bare: bool = False
    """Answer as a web server that is not the hub."""
    asked: list[str] = field(default_factory=list)
    """`METHOD PATH`, with the range where one was asked for."""
    authorized: list[tuple[str, bool]] = field(default_factory=list)
    """By host, whether a token came with the request."""

    def publish(self, name: str, files: dict[str, bytes], *refs: str) -> str:
        """Add a commit, and point branches and tags to it; returns its hash."""
        commit = hashlib.sha1(repr((name, sorted(files.items()))).encode()).hexdigest()
        self.commits.setdefault(name, {})[commit] = files
        self.refs.setdefault(name, {}).update(dict.fromkeys(refs or ("main",), commit))
        return commit

    def start(self) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            span = f" {self.headers['Range']}" if self.headers["Range"] else ""
            hub.asked.append(f"{self.command} {self.path}{span}")
            hub.authorized.append((self.headers["Host"], "Authorization" in self.headers))
            if hub.bare:
                return self.send(200, b"<html>Log in</html>", body)
            if self.path.startswith("/large/"):
                _, _, name, file = self.path.split("/", 3)
                return self.content(file, _by_hash(hub, name), body)
            if listing := TREE.fullmatch(unquote(self.path)):
                return self.listing(*listing.group("name", "revision", "folder"))
            match = URL.fullmatch(unquote(self.path))
            if match is None or match["name"] not in hub.commits:
                return self.refuse(401, "RepoNotFound", "Invalid username or password.")
            name, revision, file = match.groups()
            if name in hub.gated and self.headers["Authorization"] != "Bearer secret":
                return self.refuse(401, "GatedRepo", f"Access to model {name} is restricted.")
            commit = hub.refs[name].get(revision, revision)
            if commit not in hub.commits[name]:
                return self.refuse(404, "RevisionNotFound", "Invalid rev id")
            found = hub.commits[name][commit].get(file)
            if found is None:
                return self.refuse(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
            if not file.endswith(LARGE):
                etag = f'"{git_hash(found)}"'
                return self.content(file, found, body, X_Repo_Commit=commit, ETag=etag)
            large = f"http://localhost:{hub.http.server_port}/large/{sha256(found)}/{file}"
            return self.send(
                302,
                b"",
                body,
                Location=large,
                X_Repo_Commit=commit,
                X_Linked_Etag=f'"{sha256(found)}"',
                X_Linked_Size=str(len(found)),
            )

        def listing(self, name: str, revision: str, folder: str) -> None:
            commit = hub.refs[name].get(revision, revision)
            files = {
                path: content
                for path, content in hub.commits[name][commit].items()
                if path.startswith(f"{folder}/")
            }
            if not files:
                return self.refuse(404, "EntryNotFound", f"{folder} does not exist")
            entries = [
                {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
                for path, content in files.items()
            ]
            self.send(200, json.dumps(entries).encode(), True, Content_Type="application/json")

        def content(self, file: str, found: bytes, body: bool, **headers: str) -> None:
            found = hub.instead.pop(file, found) if body else found
            start = int(re.sub(r"\D", "", self.headers["Range"] or "") or 0)
            if start:
                headers["Content_Range"] = f"bytes {start}-{len(found) - 1}/{len(found)}"
            self.send(206 if start else 200, found[start:], body, **headers)

        def refuse(self, status: int, code: str, message: str, **headers: str) -> None:
            self.send(status, b"", False, X_Error_Code=code, X_Error_Message=message, **headers)

        def send(self, status: int, found: bytes, body: bool, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content_Length": str(len(found)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if body and hub.breaks and self.path.startswith("/large/"):
                self.wfile.write(found[: hub.breaks.pop(0)])
                self.close_connection = True
            elif body:
                self.wfile.write(found)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


def _by_hash(hub: HubServer, digest: str) -> bytes:
    contents = (
        content
        for commits in hub.commits.values()
        for files in commits.values()
        for content in files.values()
    )
    return next(content for content in contents if sha256(content) == digest)


def closed_port() -> int:
    """A port of this machine at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
