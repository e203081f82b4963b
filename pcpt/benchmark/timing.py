"""Time of alternatives, taken in turns: what slows the machine down then slows all of them."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

# A sample of a short call is the mean of so many calls that it lasts at least this long.
SAMPLE_SECONDS = 0.005
MOST_LOOPS = 1000


@dataclass(frozen=True)
class Alternative:
    """One way to do the work.

    Attributes:
        name: as the table shows it.
        call: does it once; takes the number of the call, by which it may choose among several
            inputs, so that no cache holds the answer.
        most: rounds in which it takes part, for slow ones; 0 for all.
        sample_seconds: least length of its samples, where it is more than that of all: so many
            calls in a row that the first ones, whose caches hold what ran before, hardly count.
    """

    name: str
    call: Callable[[int], object]
    most: int = 0
    sample_seconds: float = 0.0


@dataclass(frozen=True)
class Timing:
    """Seconds per call, one sample a round."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.samples)

    @property
    def best(self) -> float:
        """Fewest seconds."""
        return min(self.samples)

    @property
    def spread(self) -> float:
        """Distance between the quartiles as a share of the median; 0 for a single sample."""
        if len(self.samples) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / self.median

    def over(self, other: "Timing") -> float:
        """How many times as long this takes as ``other``: median over the rounds both were in."""
        return statistics.median(a / b for a, b in zip(self.samples, other.samples))


class Clock(Protocol):
    """Takes the time of calls."""

    def seconds(self, call: Callable[[int], object], first: int, loops: int) -> float:
        """Mean seconds of the calls numbered ``first`` to ``first + loops - 1``."""


class HostClock:
    """Wall time, for work on the CPU."""

    def seconds(self, call: Callable[[int], object], first: int, loops: int) -> float:
        """See ``Clock``."""
        begin = time.perf_counter()
        for number in range(first, first + loops):
            call(number)
        return (time.perf_counter() - begin) / loops


class CudaClock:
    """Time between two events on the GPU. Several loops are queued at once, so the time to launch
    a short kernel shows only where a call waits for the GPU, or launches slower than it runs."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def seconds(self, call: Callable[[int], object], first: int, loops: int) -> float:
        """See ``Clock``."""
        with torch.cuda.device(self._device):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            begin.record()
            for number in range(first, first + loops):
                call(number)
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) / 1e3 / loops


def clock_for(device: torch.device) -> Clock:
    """The clock that is right for work on ``device``."""
    return CudaClock(device) if device.type == "cuda" else HostClock()


def time_alternately(
    alternatives: Sequence[Alternative],
    clock: Clock,
    *,
    repeats: int,
    sample_seconds: float = SAMPLE_SECONDS,
) -> dict[str, Timing]:
    """Every alternative once a round, the rounds in rotated order, after a round to warm up.

    Alternatives with ``most`` rounds are slow, so they neither warm up nor loop.

    Args:
        alternatives: of different names.
        clock: for their device.
        repeats: rounds.
        sample_seconds: shorter calls are looped until a sample lasts as long.

    Returns:
        Timings by name; the n-th sample of each belongs to the n-th round.

    Raises:
        ValueError: no rounds, or two alternatives of one name.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}, expected at least 1")
    if len({a.name for a in alternatives}) < len(alternatives):
        raise ValueError(f"two alternatives share a name: {[a.name for a in alternatives]}")
    loops = {a.name: _loops(a, clock, sample_seconds) for a in alternatives}
    calls = dict.fromkeys(loops, 0)
    samples: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(repeats):
        start = turn % max(1, len(alternatives))
        for one in (*alternatives[start:], *alternatives[:start]):
            if one.most and turn >= one.most:
                continue
            count = loops[one.name]
            samples[one.name].append(clock.seconds(one.call, calls[one.name], count))
            calls[one.name] += count
    return {name: Timing(tuple(values)) for name, values in samples.items()}


def _loops(one: Alternative, clock: Clock, sample_seconds: float) -> int:
    if one.most:
        return 1
    clock.seconds(one.call, 0, 1)  # allocates, compiles, fills caches
    once = clock.seconds(one.call, 1, 1)
    wanted = max(sample_seconds, one.sample_seconds)
    return min(MOST_LOOPS, max(1, math.ceil(wanted / max(once, 1e-9))))


def kernel_seconds(call: Callable[[int], object], calls: int = 10) -> float:
    """Mean seconds that a call's kernels and copies take on the GPU, without the host's part.

    Args:
        call: see ``Alternative``; has run before.
        calls: to profile.
    """
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for number in range(calls):
            call(number)
        torch.cuda.synchronize()
    microseconds = sum(event.self_device_time_total for event in profile.key_averages())
    return microseconds / 1e6 / calls
