"""A headless Chromium, spoken to through a pipe: what a page logs, asks the network for, and looks like."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

TIMEOUT_S = 120
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", "--mute-audio"),
)


def find_browser():
    """Path of a Chromium or Chrome; skips the test where there is none."""
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome")]
    if not any(found):
        pytest.skip("no chromium here; on Debian: apt-get install chromium")
    return next(path for path in found if path)


@contextlib.contextmanager
def open_browser():
    """A ``Browser`` with one empty tab, ended with all its processes."""
    program = find_browser()
    to_browser, ours_out = os.pipe()
    ours_in, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # the browser reads its file descriptor 3 and writes its 4
        command = ["bash", "-c", f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}', program, *FLAGS]
        process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        with os.fdopen(ours_in, "rb", buffering=0) as reads, os.fdopen(ours_out, "wb", buffering=0) as writes:
            try:
                yield Browser(reads, writes)
            finally:
                process.terminate()
                process.wait(30)


class Browser:
    """One tab of a browser.

    Attributes:
        events: what the tab told, oldest first: ``(method, parameters)``.
    """

    def __init__(self, reads, writes):
        self._reads, self._writes, self._held = reads, writes, b""
        self._number = 0
        self._session = None
        self.events = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **parameters):
        """Send a command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._writes.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self):
        while b"\0" not in self._held:
            piece = self._reads.read(1 << 20)
            assert piece, "the browser ended"
            self._held += piece
        message, self._held = self._held.split(b"\0", 1)
        message = json.loads(message)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    def open(self, url, *, width=1280, height=900, dark=False):
        """Load a page and wait until all of it is there."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.ask("Page.navigate", url=url)
        ends = time.monotonic() + TIMEOUT_S
        while not any(method == "Page.loadEventFired" for method, _ in self.events):
            assert time.monotonic() < ends, "the page was not loaded in time"
            self._next()
        self.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => 0)))")

    def evaluate(self, script):
        """The value of a script in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self):
        """Errors, warnings and exceptions that the page logged, as text."""
        told = []
        for method, values in self.events:
            if method == "Log.entryAdded":
                told.append(values["entry"]["text"])
            elif method == "Runtime.exceptionThrown":
                told.append(json.dumps(values["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled":
                told.append(json.dumps(values["args"]))
        return told

    def requests(self):
        """Addresses that were asked for, but for the page itself and what lies inside it."""
        asked = [values["request"]["url"] for method, values in self.events if method == "Network.requestWillBeSent"]
        return [url for url in asked[1:] if not url.startswith("data:")]

    def screenshot(self, path, *, full=True):
        """Write the page, or what of it is in sight, as PNG."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=full, fromSurface=True)
        Path(path).write_bytes(base64.b64decode(shot["data"]))
