"""A cell on disk. All there is to know of its state is in its folder, so that a runner may be
killed at any time and others may work beside it::

    OUT/cells/NAME/lock             held while somebody works on the cell
    OUT/cells/NAME/commands.jsonl   every attempt at a command: seconds, exit status
    OUT/cells/NAME/log.txt          what the commands printed
    OUT/cells/NAME/result.json      the cell is done
    OUT/cells/NAME/failed.json      a command failed
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from pcpt.data.write_json import write_json

RESULT, FAILURE, ATTEMPTS, LOG = "result.json", "failed.json", "commands.jsonl", "log.txt"


class State(Enum):
    """How far a cell is; OUTDATED is done by a plan that has changed since."""

    TODO = "to do"
    STARTED = "started"
    RUNNING = "running"
    DONE = "done"
    OUTDATED = "outdated"
    FAILED = "failed"


class CellFolder:
    """The folder of one cell.

    Args:
        out: folder of the whole proof.
        name: of the cell.
        fingerprint: of the cell as the plan has it now.
    """

    def __init__(self, out: Path, name: str, fingerprint: str) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.path = out / "cells" / name

    def state(self) -> State:
        """Looks at the files; whether it is running is asked of the lock."""
        result = self.result()
        if result is not None:
            return State.DONE if result.get("fingerprint") == self.fingerprint else State.OUTDATED
        if self.is_locked():
            return State.RUNNING
        if (self.path / FAILURE).is_file():
            return State.FAILED
        return State.STARTED if (self.path / ATTEMPTS).is_file() else State.TODO

    def result(self) -> dict[str, Any] | None:
        """What ``finish`` wrote, or None.

        Raises:
            ValueError: a file that is no JSON object.
        """
        return _read_object(self.path / RESULT)

    def failure(self) -> dict[str, Any] | None:
        """What ``fail`` wrote, or None."""
        return _read_object(self.path / FAILURE)

    @contextmanager
    def lock(self) -> Iterator[int | None]:
        """Holds the cell: yields the lock's descriptor, or None if somebody else has it.

        The descriptor is for the commands to inherit. The lock ends with the last process that
        holds it, so one left behind by a killed runner keeps the cell to itself, and a crash leaves
        no lock.
        """
        import fcntl  # which Windows lacks

        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield descriptor
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Whether somebody works on the cell now."""
        if not (self.path / "lock").exists():
            return False
        with self.lock() as descriptor:
            return descriptor is None

    def begin(self) -> None:
        """Readies a locked cell: leftovers of another version of the plan are set aside, and a
        failure is forgotten."""
        mark = self.path / "fingerprint"
        if mark.is_file() and mark.read_text().strip() != self.fingerprint:
            self._set_aside(mark.read_text().strip())
        mark.write_text(self.fingerprint + "\n")
        (self.path / FAILURE).unlink(missing_ok=True)

    def _set_aside(self, old: str) -> None:
        """Moves all but lock and log into a folder of its own, replacing one of that name."""
        aside = self.path / f"outdated-{old}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for path in list(self.path.iterdir()):
            if path.name != "lock" and not path.name.startswith("outdated-") and path.name != LOG:
                path.rename(aside / path.name)

    def attempts(self) -> list[dict[str, Any]]:
        """Attempts at commands so far: ``command`` (number), ``status``, ``seconds``,
        ``cpu_seconds``."""
        path = self.path / ATTEMPTS
        lines = path.read_text().splitlines() if path.is_file() else []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:  # cut short when the machine stopped
                continue
        return found

    def add_attempt(self, command: int, status: int, seconds: float, cpu_seconds: float) -> None:
        """Notes that a command ended, what the clock said and how long processors worked on it."""
        line = {
            "command": command,
            "status": status,
            "seconds": round(seconds, 2),
            "cpu_seconds": round(cpu_seconds, 2),
        }
        with (self.path / ATTEMPTS).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def times(self) -> dict[str, float]:
        """``seconds`` and ``cpu_seconds`` of all attempts; those that were killed outright have
        left none."""
        attempts = self.attempts()
        return {
            key: round(sum(a.get(key, 0.0) for a in attempts), 1)
            for key in ("seconds", "cpu_seconds")
        }

    def finish(self, result: Mapping[str, Any]) -> None:
        """Writes the result: the cell is done."""
        write_json(self.path / RESULT, result)

    def fail(self, failure: Mapping[str, Any]) -> None:
        """Writes why the cell could not be computed."""
        write_json(self.path / FAILURE, failure)


def _read_object(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f"{path} is not JSON ({error}); delete it to compute the cell again"
        ) from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no object; delete it to compute the cell again")
    return value
