"""Runs one command of a cell in a process of its own, so that a crash takes no other cell along."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pcpt

PACKAGE = Path(pcpt.__file__).resolve().parent


class Ended(NamedTuple):
    """How a command ended: its exit status, and the processor time that it took, seconds."""

    status: int
    cpu_seconds: float


# Arguments of ``pcpt``, file for its output, descriptor to inherit, whether to stop it now
Execute = Callable[[Sequence[str], Path, int, Callable[[], bool]], Ended]
STOP = 128 + signal.SIGTERM
STOPPED = frozenset({STOP, 128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGINT})
# How long a stopped command may take to save its state.
GRACE_SECONDS = 120.0
POLL_SECONDS = 0.1


def executor(root: Path, package: Path = PACKAGE) -> Execute:
    """Runs ``pcpt ARGUMENTS`` in the folder ``root``, with one thread unless the environment says
    otherwise.

    Args:
        root: where the commands run.
        package: of the code that they run, this one: ``root`` may hold another, without kernels.
    """
    environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    program = "import sys; from pcpt.cli import main; sys.exit(main())"

    def execute(
        arguments: Sequence[str], log: Path, inherited: int, over: Callable[[], bool]
    ) -> Ended:
        with log.open("ab") as output:
            output.write(f"$ pcpt {' '.join(arguments)}\n".encode())
            output.flush()
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", program, *arguments],  # -P: nothing from the cwd
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(inherited,),
                # Ctrl-C goes to a terminal's whole group: besides the runner's own signal it would
                # be the second, which kills instead of saving
                start_new_session=True,
            )
            try:
                return _wait(process, over)
            except BaseException:
                _kill(process)
                raise

    return execute


def _wait(process: subprocess.Popen[bytes], over: Callable[[], bool]) -> Ended:
    """Waits for a process; once ``over`` says so asks it to save and end, and insists later."""
    asked: float | None = None
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)  # so that nobody waits again
            ended = process.returncode if asked is None or process.returncode == 0 else STOP
            return Ended(ended, usage.ru_utime + usage.ru_stime)
        if asked is None and over():
            asked = time.monotonic()
            process.send_signal(signal.SIGTERM)
        elif asked is not None and time.monotonic() - asked > GRACE_SECONDS:
            _kill(process)
        time.sleep(POLL_SECONDS)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started, such as the workers that load its data."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
