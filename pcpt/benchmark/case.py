"""One comparison: the alternatives for one piece of work on one input, and what came out."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from pcpt.benchmark.memory import peak_bytes
from pcpt.benchmark.settings import Settings
from pcpt.benchmark.timing import (
    SAMPLE_SECONDS,
    Alternative,
    Timing,
    clock_for,
    time_alternately,
)

COPY = "large copy"
PRODUCT = "large product"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Agreement:
    """How an alternative's output compares with pcpt's; checked before anything is timed.

    Attributes:
        text: how much the two differ.
        agrees: within what rounding explains. An alternative that does not is not timed.
        difference: the largest, where there is such a number.
    """

    text: str
    agrees: bool = True
    difference: float = 0.0


@dataclass(frozen=True)
class Goal:
    """A figure that a case is measured for.

    Attributes:
        text: what it is.
        bound: what it should reach.
        figure: reads it off the result; None where an alternative it needs did not run.
        at_most: the bound is from above.
    """

    text: str
    bound: float
    figure: Callable[["Result"], float | None]
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Whether a value is on the right side of the bound."""
        return value <= self.bound if self.at_most else value >= self.bound


@dataclass
class Case:
    """What to run.

    Attributes:
        name: the input in words.
        alternatives: pcpt's own first.
        agreements: by name of the alternative.
        absent: (name, why) of alternatives that cannot run here.
        moved_bytes: read and written at the least; over the rate of a large copy, a limit.
        flops: multiplications and additions; over the rate of a large matrix product, a limit.
        dtype: of these operations.
        floor: name of the alternative that is the limit, where the two above are 0.
        units: how many of ``unit`` a call does, for a rate; 0 for none.
        unit: such as views.
        goals: see ``Goal``.
        notes: further lines.
        phases: seconds of the work by purpose, of its first alternative.
        repeats: rounds, unless the command says otherwise.
        memory: whether to measure peak memory.
    """

    name: str
    alternatives: list[Alternative]
    agreements: dict[str, Agreement] = field(default_factory=dict)
    absent: list[tuple[str, str]] = field(default_factory=list)
    moved_bytes: int = 0
    flops: int = 0
    dtype: torch.dtype = torch.float32
    floor: str = ""
    units: float = 0.0
    unit: str = ""
    goals: Sequence[Goal] = ()
    notes: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)
    repeats: int = 9
    memory: bool = True


@dataclass
class Row:
    """What one alternative did.

    Attributes:
        name: of the alternative.
        timing: None where it did not run.
        ratio: times as long as pcpt took.
        limit_share: seconds that the physical limit allows over seconds taken.
        peak_bytes: memory held beyond what was held before.
        rate: units per second.
        note: how its output differs, or why it did not run.
    """

    name: str
    timing: Timing | None = None
    ratio: float | None = None
    limit_share: float | None = None
    peak_bytes: int | None = None
    rate: float | None = None
    note: str = ""


@dataclass
class Result:
    """A case with its figures.

    Attributes:
        case: what was run.
        rows: one an alternative, pcpt's first.
        copy_rate: bytes read and written a second by a large copy.
        product_rate: operations a second of a large matrix product.
        judged: False in a quick run, whose figures say nothing about goals.
    """

    case: Case
    rows: list[Row]
    copy_rate: float | None = None
    product_rate: float | None = None
    judged: bool = True

    @property
    def disagreeing(self) -> list[str]:
        """The alternatives that give another result than pcpt, which were therefore not timed."""
        return sorted(name for name, found in self.case.agreements.items() if not found.agrees)

    @property
    def limit_seconds(self) -> float | None:
        """What memory and arithmetic allow at the least, if the case asks for either."""
        parts = []
        if self.copy_rate:
            parts.append(self.case.moved_bytes / self.copy_rate)
        if self.product_rate:
            parts.append(self.case.flops / self.product_rate)
        return max(parts, default=None)

    def row(self, name: str) -> Row | None:
        """The row of an alternative, if it ran."""
        return next((r for r in self.rows if r.name == name and r.timing is not None), None)

    def ratio(self, name: str) -> float | None:
        """Times as long as pcpt took."""
        row = self.row(name)
        return row.ratio if row else None

    def share(self) -> float | None:
        """Share of the physical limit that pcpt reaches."""
        return self.rows[0].limit_share

    def rate(self, name: str) -> float | None:
        """Units per second of an alternative."""
        row = self.row(name)
        return row.rate if row else None

    def memory_ratio(self, name: str) -> float | None:
        """Times as much memory as pcpt took."""
        row, own = self.row(name), self.rows[0]
        if row is None or row.peak_bytes is None or own.peak_bytes is None:
            return None
        return row.peak_bytes / max(own.peak_bytes, 4096)  # a page: what is measured is pages


def measure(case: Case, settings: Settings) -> Result:
    """Times a case, then measures the memory of each alternative in a call of its own."""
    result = Result(case, [], judged=not settings.quick)
    disagreeing = result.disagreeing
    for name in disagreeing:
        _log.warning("%s: %s is not timed: %s", case.name, name, case.agreements[name].text)
    running = [a for a in case.alternatives if a.name not in disagreeing]
    timed = list(running)
    if case.moved_bytes:
        timed.append(_copy(settings))
    if case.flops:
        timed.append(_product(case.dtype, settings))
    timings = time_alternately(
        timed,
        clock_for(settings.device),
        repeats=settings.rounds(case.repeats),
        sample_seconds=0.0 if settings.quick else SAMPLE_SECONDS,
    )
    if case.moved_bytes:
        result.copy_rate = 2 * _copied_bytes(settings) / timings[COPY].median
    if case.flops:
        result.product_rate = 2 * _product_edge(settings) ** 3 / timings[PRODUCT].median
    for one in case.alternatives:
        note = case.agreements[one.name].text if one.name in case.agreements else ""
        if one.name in disagreeing:
            result.rows.append(Row(one.name, note=f"not timed: {note}"))
            continue
        row = _row(one, timings, result, note)
        if case.memory:
            row.peak_bytes = peak_bytes(lambda one=one: one.call(0), settings.device)  # type: ignore[misc]
        result.rows.append(row)
    result.rows += [Row(name, note=why) for name, why in case.absent]
    return result


def _row(one: Alternative, timings: dict[str, Timing], result: Result, note: str) -> Row:
    case, timing = result.case, timings[one.name]
    row = Row(one.name, timing, timing.over(timings[case.alternatives[0].name]), note=note)
    limit = result.limit_seconds
    if limit is not None:
        row.limit_share = limit / timing.median
    elif case.floor in timings:
        row.limit_share = 1 / timing.over(timings[case.floor])
    if case.units:
        row.rate = case.units / timing.median
    return row


def _copied_bytes(settings: Settings) -> int:
    if settings.on_gpu:
        return settings.size(2**30, 2**24)
    return settings.size(2**28, 2**22)  # far beyond the caches, except in a quick run


def _copy(settings: Settings) -> Alternative:
    source = torch.ones(_copied_bytes(settings), dtype=torch.uint8, device=settings.device)
    target = torch.empty_like(source)
    return Alternative(COPY, lambda number: target.copy_(source))


def _product_edge(settings: Settings) -> int:
    return settings.size(8192 if settings.on_gpu else 1024, 128)


def _product(dtype: torch.dtype, settings: Settings) -> Alternative:
    edge = _product_edge(settings)
    factor = torch.randn(edge, edge, device=settings.device).to(dtype)
    out = torch.empty_like(factor)
    return Alternative(PRODUCT, lambda number: torch.mm(factor, factor, out=out))
