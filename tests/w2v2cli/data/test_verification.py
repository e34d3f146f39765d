"""Files compared with the hashes recorded when they were fetched.

Those that come from the hub are the subject of test_hub.py.
"""

import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hub_server import HubServer

from w2v2cli.data.downloads import Wanted, fetch
from w2v2cli.data.locations import ModelLocation, resolve_lm, resolve_model
from w2v2cli.data.verification import check_file, fetched_files
from w2v2cli.errors import UsageError, UserError

FILES = {
    "config.json": b"{}",
    "preprocessor_config.json": b"{1}",
    "vocab.json": b"{2}",
    "model.safetensors": b"weights" * 1000,
    "4-gram.arpa.gz": b"n-grams",
}
ORDER = ["config.json", "model.safetensors", "preprocessor_config.json", "vocab.json"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A store into which an earlier version fetched a model, and this one a language model."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = FILES.get(self.path.rpartition("/")[2])
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("W2V2_LIBRISPEECH_LM", f"{url}/11/4-gram.arpa.gz")
    for name in ("W2V2_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home" / "models" / "base-960h"
    folder.mkdir(parents=True)
    for name in ORDER:
        fetch(Wanted(f"{url}/{name}", folder / name))
    resolve_lm("4gram", ModelLocation("base-960h", tmp_path, "librispeech"))
    yield tmp_path / "home"
    server.shutdown()
    server.server_close()


def verify(*args):
    """The command in a process of its own: exit code, lines of stdout, stderr."""
    command = [sys.executable, "-m", "w2v2cli", "model", "verify", *args]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    return result.returncode, result.stdout.splitlines(), result.stderr


def sha256(name):
    return hashlib.sha256(FILES[name]).hexdigest()


def test_what_was_fetched_is_as_it_was(home):
    expected = [f"ok  base-960h/{name}: SHA-256 {sha256(name)}" for name in ORDER]
    assert verify("base-960h") == (0, expected, "")
    lm = "4-gram.arpa.gz"
    assert verify() == (0, [*expected, f"ok  lm/{lm}: SHA-256 {sha256(lm)}"], "")


@pytest.fixture
def hub(monkeypatch):
    hub = HubServer()
    hub.start()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    yield hub
    hub.stop()


def test_a_changed_and_a_missing_file_are_named_and_the_exit_code_is_1(home, hub):
    folder = home / "models" / "base-960h"
    weights = bytearray(FILES["model.safetensors"])
    weights[500] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "vocab.json").unlink()
    code, lines, stderr = verify("base-960h")
    found, recorded = hashlib.sha256(weights).hexdigest(), sha256("model.safetensors")
    assert code == 1
    assert lines == [
        f"ok  base-960h/config.json: SHA-256 {sha256('config.json')}",
        f"NO  base-960h/model.safetensors: SHA-256 {found} instead of {recorded}",
        f"ok  base-960h/preprocessor_config.json: SHA-256 {sha256('preprocessor_config.json')}",
        "NO  base-960h/vocab.json: missing",
    ]
    assert stderr.startswith("Error: 2 of 4 files differ or are missing: ")
    (folder / "model.safetensors").unlink()
    hub.publish("facebook/wav2vec2-base-960h", {name: FILES[name] for name in ORDER})
    resolve_model("base-960h")  # as the sentence says
    checks = [check_file(path) for path in fetched_files("base-960h")]
    assert [check.path.name for check in checks] == [ORDER[0], ORDER[2], *ORDER]
    assert [check.fine for check in checks] == [True] * 6


def test_missing_files_are_noticed_without_their_recorded_hash_too(home):
    folder = home / "models" / "base-960h"
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        (folder / f"{name}.sha256").unlink()
    checks = {check.path.name: check for check in map(check_file, fetched_files("base-960h"))}
    assert sorted(checks) == ORDER
    assert [checks[name].finding for name in ORDER[:2]] == ["missing", "missing"]


@pytest.mark.parametrize("record", [None, b"", b"\xff\xff"])
def test_a_file_put_there_by_hand_has_no_recorded_hash_and_is_not_an_error(home, record):
    path = home / "models" / "base-960h" / "vocab.json.sha256"
    path.unlink()
    if record is not None:
        path.write_bytes(record)
    code, lines, stderr = verify("base-960h")
    expected = f"--  base-960h/vocab.json: SHA-256 {sha256('vocab.json')}, none was recorded"
    assert (code, lines[-1], stderr) == (0, expected, "")


def test_files_that_are_still_being_fetched_are_passed_over(home):
    for suffix in (".part", ".part.json", ".lock"):
        (home / "models" / "base-960h" / f"pytorch_model.bin{suffix}").write_text("half")
    assert [path.name for path in fetched_files("base-960h")] == ORDER


def test_names_that_cannot_be_verified_say_why(home, monkeypatch, tmp_path):
    with pytest.raises(UsageError, match=r"got 'base-960'\. Did you mean base-960h\?"):
        fetched_files("base-960")
    with pytest.raises(UsageError, match="demo ships with w2v2"):
        fetched_files("demo")
    with pytest.raises(UserError, match="large is not on this machine"):
        fetched_files("large")
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "empty"))
    assert fetched_files() == []
