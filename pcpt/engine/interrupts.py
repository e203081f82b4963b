"""SIGTERM and Ctrl-C as a wish to stop after the current step."""

import logging
import signal
import threading
from types import FrameType
from typing import Any

_log = logging.getLogger(__name__)


class Interrupts:
    """Context in which SIGINT and SIGTERM are noted instead of killing; a second one kills.

    Attributes:
        received: the first signal's number, or None.
    """

    received: int | None = None

    def __enter__(self) -> "Interrupts":
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()
        name = signal.Signals(number).name
        _log.warning("%s: finishing this step, then saving; send it again to stop at once", name)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
