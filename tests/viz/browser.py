"""Chromium without a window, driven over the pipe of its DevTools protocol: nothing to install."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 90.0  # seconds for an answer on a loaded machine


def find_chromium() -> str | None:
    """Path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _pipe() -> tuple[int, int]:
    """Both ends of a pipe, clear of the descriptors that Chromium wants them at."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]


class Browser:
    """One page of a headless Chromium.

    Attributes:
        problems: console errors and warnings, exceptions and refused requests, as text.
        requests: addresses that the page asked for.
    """

    def __init__(self, *options: str, width: int = 1280, height: int = 800) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._number, self._answers, self._rest = 0, {}, b""
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_child, self._write = _pipe()
        self._read, from_child = _pipe()
        flags = (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-extensions", "--hide-scrollbars",
            "--remote-debugging-pipe", f"--user-data-dir={self._profile.name}",
            f"--window-size={width},{height}", *options, "about:blank",
        )  # fmt: skip
        # the protocol's pipes are descriptors 3 and 4 of the child
        start = f"import os, sys; os.dup2({to_child}, 3); os.dup2({from_child}, 4)"
        start += "; os.execv(sys.argv[1], sys.argv[1:])"
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", start, str(find_chromium()), *flags],
            pass_fds=(to_child, from_child), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_child)
        os.close(from_child)
        self._session = ""
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in pages if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> Any:
        """Asks one thing of the browser and waits for the answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while self._number not in self._answers:
            self._listen(end)
        answer = self._answers.pop(self._number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def resize(self, width: int, height: int, *, scale: float = 1.0, mobile: bool = False) -> None:
        """The size of the page in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=mobile,
        )  # fmt: skip

    def open(self, path: Path, fragment: str = "") -> None:
        """Opens a file and waits until ``<html data-ready>`` is set."""
        self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        self.wait("document.documentElement && document.documentElement.dataset.ready")

    def wait(self, condition: str) -> Any:
        """Waits until a JavaScript expression is truthy, and returns its value."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := self.evaluate(condition):
                return value
            time.sleep(0.05)
        raise TimeoutError(f"{condition} stayed false; problems: {self.problems}")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; waits for a promise."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def settle(self) -> None:
        """Waits until what was asked for has been drawn."""
        self.evaluate(
            "new Promise(done => setTimeout(() => requestAnimationFrame(() => "
            "requestAnimationFrame(done)), 400))"
        )

    def click(self, x: float, y: float) -> None:
        """Presses and releases the left button."""
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
        self.mouse("mouseReleased", x, y, button="left", clickCount=1)
        self.settle()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Moves the mouse with the left button down."""
        self.mouse("mousePressed", *start, button="left", buttons=1, clickCount=1)
        for share in (0.25, 0.5, 0.75, 1.0):
            x, y = (a + share * (b - a) for a, b in zip(start, end))
            self.mouse("mouseMoved", x, y, button="left", buttons=1)
        self.mouse("mouseReleased", *end, button="left", clickCount=1)
        self.settle()

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """One mouse event at a place of the page."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def press(self, key: str, text: str = "") -> None:
        """Presses and releases a key, such as ``ArrowLeft`` or ``b``."""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, " ": 32}
        text = text or {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        more: dict[str, Any] = {"windowsVirtualKeyCode": codes.get(key, 0), "key": key}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", **more)
        self.settle()

    def screenshot(self, path: Path | None = None) -> np.ndarray:
        """(H, W, 3) uint8 RGB of the page; written as PNG where a path is given."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(data)
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]

    def _listen(self, end: float) -> None:
        ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise TimeoutError(f"Chromium gave no answer within {PATIENCE:.0f} s")
        data = os.read(self._read, 1 << 20)
        if not data:
            raise RuntimeError(f"Chromium ended with status {self._process.wait()}")
        *messages, self._rest = (self._rest + data).split(b"\0")
        for message in messages:
            self._sort(json.loads(message))

    def _sort(self, message: Mapping[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.problems.append(f"console: {parameters['args']}")
            case "Runtime.exceptionThrown":
                self.problems.append(f"exception: {parameters['exceptionDetails']}")
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.problems.append(f"log: {parameters['entry']['text']}")
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
