"""Results as tables for people and as plain values for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from pcpt.benchmark.case import Goal, Result, Row

_HEAD = ("", "median", "best", "spread", "x pcpt", "of limit", "peak", "rate", "")


def to_tree(result: Result) -> dict[str, Any]:
    """A result as nested dicts and lists of plain values."""
    case = result.case
    return {
        "case": case.name,
        "rows": [_row_tree(row) for row in result.rows],
        "limit": _limit_name(result) or None,
        "limit_seconds": result.limit_seconds,
        "moved_bytes": case.moved_bytes or None,
        "copy_bytes_per_second": result.copy_rate,
        "flops": case.flops or None,
        "product_flops_per_second": result.product_rate,
        "phases_seconds": dict(case.phases),
        "unit": case.unit or None,
        "goals": [
            {
                "goal": g.text,
                "bound": g.bound,
                "at_most": g.at_most,
                "reached": value,
                "met": met,
            }
            for g, value, met in _goals(result)
        ],
        "notes": list(case.notes),
    }


def _row_tree(row: Row) -> dict[str, Any]:
    timing = row.timing
    return {
        "name": row.name,
        "median_seconds": timing.median if timing else None,
        "best_seconds": timing.best if timing else None,
        "spread": timing.spread if timing else None,
        "samples_seconds": list(timing.samples) if timing else [],
        "times_pcpt": row.ratio,
        "share_of_limit": row.limit_share,
        "peak_bytes": row.peak_bytes,
        "per_second": row.rate,
        "note": row.note,
    }


def _limit_name(result: Result) -> str:
    case = result.case
    if case.moved_bytes:
        return "roofline" if case.flops else "memory pass"
    return "large product" if case.flops else case.floor


def _goals(result: Result) -> list[tuple[Goal, float | None, bool | None]]:
    found: list[tuple[Goal, float | None, bool | None]] = []
    for goal in result.case.goals:
        value = goal.figure(result)
        found.append(
            (goal, value, goal.met(value) if result.judged and value is not None else None)
        )
    return found


def table(result: Result) -> str:
    """A result as lines of text."""
    rows = [_HEAD, *(_cells(row, result) for row in result.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    kept = [i for i, width in enumerate(widths) if any(row[i] for row in rows[1:])]
    lines = [result.case.name]
    for row in rows:
        cells = [row[i].ljust(widths[i]) if i in (0, 8) else row[i].rjust(widths[i]) for i in kept]
        lines.append(("  " + "  ".join(cells)).rstrip())
    if result.limit_seconds is not None:
        lines.append("  " + _limit(result))
    elif result.case.floor:
        lines.append(f"  limit: {result.case.floor}")
    total = sum(result.case.phases.values())
    lines += [
        f"  phase {name}: {seconds(spent)}, {100 * spent / total:.1f}%"
        for name, spent in result.case.phases.items()
    ]
    lines += [f"  {note}" for note in result.case.notes]
    for goal, value, met in _goals(result):
        reached = "not measured" if value is None else figure(value)
        verdict = {True: "met", False: "NOT MET", None: "not judged"}[met]
        sign = "<=" if goal.at_most else ">="
        lines.append(f"  goal: {goal.text} {sign} {figure(goal.bound)}: {reached}, {verdict}")
    return "\n".join(lines)


def _limit(result: Result) -> str:
    case, parts = result.case, []
    if result.copy_rate:
        parts.append(
            f"{case.moved_bytes / 2**20:.1f} MiB at {result.copy_rate / 1e9:.1f} GB/s of a large "
            "copy"
        )
    if result.product_rate:
        parts.append(
            f"{case.flops / 1e9:.2f} GFLOP at {result.product_rate / 1e9:.0f} GFLOP/s of a large "
            "product"
        )
    assert result.limit_seconds is not None
    return f"limit, {_limit_name(result)}: {' or '.join(parts)} = {seconds(result.limit_seconds)}"


def _cells(row: Row, result: Result) -> tuple[str, ...]:
    timing = row.timing
    return (
        row.name,
        seconds(timing.median) if timing else "-",
        seconds(timing.best) if timing else "",
        f"{100 * timing.spread:.0f}%" if timing else "",
        f"{row.ratio:.2f}" if row.ratio is not None else "",
        f"{100 * row.limit_share:.0f}%" if row.limit_share is not None else "",
        _bytes(row.peak_bytes) if row.peak_bytes is not None else "",
        f"{figure(row.rate)} {result.case.unit}/s" if row.rate else "",
        row.note,
    )


def seconds(value: float) -> str:
    """A duration with a fitting unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-6:.3g} us"


def figure(value: float) -> str:
    """A number with three digits that count, and thousands set apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bytes(value: int) -> str:
    return f"{value / 2**20:.1f} MiB"


def heading(machine: Mapping[str, Any]) -> str:
    """The machine in three lines."""
    gpu = f"{machine['gpu']}, {machine['gpu_memory_gib']} GiB; " if "gpu" in machine else ""
    kernels: Sequence[str] = machine["kernels"]
    compiled = ", ".join(kernels) if kernels else "none: PyTorch references throughout"
    quick = "QUICK RUN: inputs too small for figures\n" if machine["quick"] else ""
    return (
        f"{quick}{machine['date']}  commit {machine['commit']}  torch {machine['torch']}\n"
        f"{gpu}{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"load {machine['load']}\n"
        f"compiled kernels for {machine['device']}: {compiled}"
    )
