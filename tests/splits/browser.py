"""A headless Chromium through the DevTools protocol: loads a page, runs scripts, collects what goes wrong."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


class Page:
    """One page of the browser."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.problems: list[str] = []
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            self._note(message)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def _note(self, message: dict[str, Any]) -> None:
        """Keep errors of the console, exceptions and failed requests."""
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(parameters["exceptionDetails"]))
        elif message.get("method") == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.problems.append(str(parameters["args"]))
        elif message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(str(parameters["entry"]))

    def run(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60.0) -> Any:
        ended = time.monotonic() + seconds
        while time.monotonic() < ended:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.2)
        raise AssertionError(f"{script} never became true; problems: {self.problems}")

    def click(self, x: float, y: float) -> None:
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)
            time.sleep(0.3)

    def picture(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


@contextlib.contextmanager
def open_page(path: Path, folder: Path) -> Iterator[Page]:
    """The page in a new headless browser; skips, naming what is missing."""
    websocket = pytest.importorskip("websocket", reason="the package websocket-client is missing")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    options = ["--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader", "--window-size=1400,900"]
    ports = ["--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={folder}"]
    with open(folder / "log", "wb") as log:
        browser = subprocess.Popen([program, *options, *ports, "about:blank"], stdout=log, stderr=log)
    try:
        port_file, ended = folder / "DevToolsActivePort", time.monotonic() + 60.0
        while not port_file.exists() or len(port_file.read_text().split()) < 2:
            assert time.monotonic() < ended, "the browser did not start"
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            target = next(t for t in json.load(answer) if t["type"] == "page")
        socket = websocket.create_connection(target["webSocketDebuggerUrl"], timeout=60)
        try:
            page = Page(socket)
            page.call("Page.navigate", url=path.resolve().as_uri())
            yield page
        finally:
            socket.close()
    finally:
        browser.terminate()
        browser.wait(timeout=30)
