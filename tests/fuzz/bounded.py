"""Reads damaged files in a child process with little memory and time, and says how each went.

A file passes if it is read, or refused with an error of ours that names it. Running out of memory,
taking too long, or any other exception does not pass.
"""

import multiprocessing
import resource
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from pcpt.data.frame import BrokenFrame

SECONDS = 10.0  # for one file of a few kilobytes, on a loaded machine
ADDRESS_SPACE = 256 << 20  # beyond what the process has when it begins
CONSTANT = 2 << 20  # bytes that Python may hold beyond twice the file
REFUSED = (ValueError, FileNotFoundError, BrokenFrame)


@dataclass(frozen=True)
class Outcome:
    """How one file went: ``error`` is empty where it was read; ``fault`` where nothing is wrong."""

    name: str
    error: str = ""
    fault: str = ""


def read_all(
    paths: Sequence[Path], read: Callable[[Path], object], size: Callable[[Path], int]
) -> list[Outcome]:
    """Reads every path in one child process.

    Args:
        paths: files or folders.
        read: reads all of one.
        size: bytes of one.

    Returns:
        One outcome a path; where the child was killed, the last one says at which.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(paths, read, size, sender))
    child.start()
    sender.close()
    outcomes: list[Outcome] = []
    try:
        while len(outcomes) < len(paths):
            outcomes.append(receiver.recv())
    except EOFError:
        name = paths[len(outcomes)].name
        child.join()
        outcomes.append(Outcome(name, fault=f"the process ended with {child.exitcode}"))
    child.join()
    return outcomes


def assert_all_pass(outcomes: Sequence[Outcome], paths: Sequence[Path], refused: int) -> None:
    """Every path passed, and at least ``refused`` of them were refused: the damage is real."""
    faults = [f"{each.name}: {each.fault}" for each in outcomes if each.fault]
    assert not faults, "\n".join(faults)
    assert len(outcomes) == len(paths)
    assert sum(bool(each.error) for each in outcomes) >= refused


def _child(
    paths: Sequence[Path],
    read: Callable[[Path], object],
    size: Callable[[Path], int],
    sender: Connection,
) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for path in paths:
        signal.setitimer(signal.ITIMER_REAL, 2 * SECONDS)  # ends the process
        sender.send(_outcome(path, read, size(path)))
    signal.setitimer(signal.ITIMER_REAL, 0)
    sender.close()


def _outcome(path: Path, read: Callable[[Path], object], size: int) -> Outcome:
    error = ""
    faults = []
    imported = len(sys.modules)
    begin = time.perf_counter()
    raised, peak = _traced(path, read)
    seconds = time.perf_counter() - begin
    if isinstance(raised, REFUSED):
        error = str(raised)
        if path.name not in error:
            faults.append(f"the error does not name the file: {error}")
    elif raised is not None:
        faults.append(f"{type(raised).__name__}: {raised}")
    if seconds > SECONDS:
        faults.append(f"took {seconds:.1f} s")
    limit = 2 * size + CONSTANT
    if peak > limit and len(sys.modules) > imported:
        peak = _traced(path, read)[1]  # modules are not held for this file, nor a second time
    if peak > limit:
        faults.append(f"held {peak} bytes for a file of {size}")
    return Outcome(path.name, error, "; ".join(faults))


def _traced(path: Path, read: Callable[[Path], object]) -> tuple[BaseException | None, int]:
    """What reading raised, if anything, and the most bytes that Python held meanwhile."""
    raised: BaseException | None = None
    tracemalloc.start()
    try:
        read(path)
    except BaseException as error:  # also what the limit of memory raises
        raised = error
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return raised, peak


def damaged(whole: bytes, seed: int) -> bytes:
    """A copy cut short, with bits flipped, or with a stretch removed, doubled or overwritten."""
    random = np.random.default_rng(seed)
    data = bytearray(whole)
    at = int(random.integers(len(data)))
    end = min(len(data), at + int(random.integers(1, 64)))
    match seed % 5:
        case 0:
            del data[at:]
        case 1:
            for place in random.integers(0, len(data), 8):
                data[place] ^= 1 << int(random.integers(8))
        case 2:
            del data[at:end]
        case 3:
            data[at:at] = data[at:end]
        case _:
            data[at:end] = bytes(random.integers(0, 256, end - at, dtype=np.uint8))
    return bytes(data)
