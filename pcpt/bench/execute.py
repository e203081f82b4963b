"""Runs one command of a cell in a process of its own, so that a crash takes no other cell along."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Arguments of ``pcpt``, file for its output, descriptor it shall inherit, whether it shall be stopped
# now -> exit status
Execute = Callable[[Sequence[str], Path, int, Callable[[], bool]], int]
STOPPED = frozenset({128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGINT})
# How long a stopped command may take to save its state.
GRACE_SECONDS = 120.0
POLL_SECONDS = 0.5


def executor(root: Path) -> Execute:
    """Runs ``python -m pcpt.cli ARGUMENTS`` in the folder ``root``, with one thread unless the
    environment says otherwise."""
    environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    program = "import sys; from pcpt.cli import main; sys.exit(main())"

    def execute(
        arguments: Sequence[str], log: Path, inherited: int, over: Callable[[], bool]
    ) -> int:
        with log.open("ab") as output:
            output.write(f"$ pcpt {' '.join(arguments)}\n".encode())
            output.flush()
            process = subprocess.Popen(
                [sys.executable, "-c", program, *arguments],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(inherited,),
            )
            try:
                return _wait(process, over)
            except BaseException:
                _stop(process)
                raise

    return execute


def _wait(process: subprocess.Popen[bytes], over: Callable[[], bool]) -> int:
    while True:
        try:
            return process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if over():
                return _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Asks a process to save and end; insists after a while."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return 0 if process.returncode == 0 else 128 + signal.SIGTERM
