"""A headless Chromium to look at pages with, by chromedriver's protocol (W3C WebDriver).

Tests that need it skip where Debian's packages chromium and chromium-driver are not installed.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio")
PATIENCE = 120  # seconds of one answer, on a machine that is busy


class Browser:
    """One window."""

    def __init__(self, server: str, session: str) -> None:
        self._at = f"{server}/session/{session}"

    def open(self, page: Path) -> None:
        """Show a file, and wait until it is loaded."""
        self.call("POST", "/url", {"url": page.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function with this body returns; a promise is waited for."""
        return self.call("POST", "/execute/sync", {"script": script, "args": arguments})

    def press(self, key: str) -> None:
        """Press and release a key where the focus is."""
        strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": strokes}]})

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """Be a screen of this size in CSS pixels, light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def wait_for(self, script: str) -> None:
        """Wait until a function with this body is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)

    def picture(self) -> bytes:
        """The window as a PNG."""
        return base64.b64decode(self.call("GET", "/screenshot"))

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since the last call."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Addresses that pages asked for since the last call, without data URIs."""
        entries = self.call("POST", "/se/log", {"type": "performance"})
        told = [json.loads(entry["message"])["message"] for entry in entries]
        urls = [m["params"]["request"]["url"] for m in told if m["method"].endswith("BeSent")]
        return [url for url in urls if not url.startswith(("data:", "chrome:"))]

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        """Call the browser's own protocol."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the driver."""
        return asked(method, self._at + path, body)


def asked(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    """The value that the driver answers."""
    data = None if body is None else json.dumps(body).encode()
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, head, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {url}: {error.read().decode()[:500]}") from None


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile in `folder`; it ends with the context."""
    if DRIVER is None or BROWSER is None:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "driver.log").open("wb")
    with log, subprocess.Popen([DRIVER, f"--port={port}"], stdout=log, stderr=log) as driver:
        try:
            server = f"http://127.0.0.1:{port}"
            _wait_until_ready(server)
            options = {
                "goog:chromeOptions": {
                    "binary": BROWSER,
                    "args": [*ARGUMENTS, f"--user-data-dir={folder / 'profile'}"],
                },
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            wanted = {"capabilities": {"alwaysMatch": options}}
            session = asked("POST", f"{server}/session", wanted)["sessionId"]
            try:
                yield Browser(server, session)
            finally:
                asked("DELETE", f"{server}/session/{session}")
        finally:
            driver.terminate()


def _wait_until_ready(server: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            asked("GET", f"{server}/status")
            return
        except OSError:
            assert time.monotonic() < end, "chromedriver does not answer"
            time.sleep(0.1)
