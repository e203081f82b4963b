"""Where the time of a step goes: methods are wrapped while it is measured."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pcpt.sparse import KernelMap, KernelMaps

# What makes kernel maps, where it is there: some are made only when they are first read.
MAPS = [
    (owner, name, "maps")
    for owner, names in ((KernelMaps, ("get", "coordinates")), (KernelMap, ("_table", "_plan")))
    for name in names
    if hasattr(owner, name)
]


class Stopwatch:
    """Seconds by phase. Within a phase, time spent in another one counts for that one alone.

    Args:
        device: on CUDA it waits for the GPU wherever a phase begins or ends.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._device = device
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts a block for ``name``."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def around(self, *methods: tuple[Any, str, str]) -> Iterator[None]:
        """Counts calls of (owner, attribute) for a phase while the block runs.

        Args:
            methods: class or module, name of its function, name of the phase.
        """
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in methods]
        try:
            for (owner, name, phase), (_, _, function) in zip(methods, before):
                setattr(owner, name, self._wrapped(function, phase))
            yield
        finally:
            for owner, name, function in before:
                setattr(owner, name, function)

    def _wrapped(self, function: Any, phase: str) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.phase(phase):
                return function(*args, **kwargs)

        return timed
