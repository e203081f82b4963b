"""Records of cells as tables: mean and spread over seeds, gains over the baseline, and marks where
something leaks or is of an earlier version of the plan."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pcpt.bench.plan import Column, Figure, Plan

Record = Mapping[str, Any]
OUTDATED = "†"


@dataclass(frozen=True)
class Summary:
    """One figure over the seeds of a row and column.

    Attributes:
        values: by seed.
        leaks: verdicts on the pretraining data other than "no", see ``pcpt.engine.data_record``.
        outdated: seeds whose records are of an earlier version of the plan.
    """

    values: Mapping[int, float]
    leaks: tuple[str, ...] = ()
    outdated: frozenset[int] = frozenset()

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.values.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds (of a sample, divided by n - 1); None of a single seed."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def text(self) -> str:
        """Such as ``31.2 ± 0.8 (3)``; of a single seed ``31.2 (1)``; with its marks."""
        return self._text(".1f")

    def signed(self) -> str:
        """As ``text``, of a difference: ``+1.2 ± 0.8 (3)``."""
        return self._text("+.1f")

    def _text(self, number: str) -> str:
        spread = "" if self.spread is None else f" ± {self.spread:.1f}"
        marks = leak_mark(self.leaks) + outdated_mark(bool(self.outdated))
        return f"{self.mean:{number}}{spread} ({len(self.values)}){marks}"


def leak_mark(verdicts: Iterable[str]) -> str:
    """The mark behind a figure: LEAK, leak? or nothing."""
    verdicts = set(verdicts)
    if "yes" in verdicts:
        return " **LEAK**"
    return " leak?" if verdicts & {"possible", "unknown"} else ""


def outdated_mark(outdated: bool) -> str:
    """The mark behind a figure of an earlier version of the plan, or nothing."""
    return f" {OUTDATED}" if outdated else ""


def compared(records: Iterable[Record], fingerprints: Mapping[str, str]) -> list[Record]:
    """Records that say under ``outdated`` whether they are of another version of the plan.

    Args:
        records: of one plan.
        fingerprints: of its cells as they are now, see ``Plan.fingerprints``; a record without one,
            or of a cell that is no more, is outdated.
    """
    return [
        {**record, "outdated": fingerprints.get(record["cell"], "") != record.get("fingerprint")}
        for record in records
    ]


def is_outdated(record: Record) -> bool:
    """What ``compared`` found."""
    return record.get("outdated", False)


def outdated_note(records: Sequence[Record], columns: Sequence[Column]) -> str:
    """How many cells of the columns are of an earlier version of the plan; empty where none is."""
    names = {column.name for column in columns}
    cells = [record for record in records if record["column"] in names]
    outdated = sum(map(is_outdated, cells))
    if not outdated:
        return ""
    return f"{OUTDATED} {outdated} of {len(cells)} cells are of an earlier version of the plan"


def summarise(records: Sequence[Record], row: str, column: str, figure: Figure) -> Summary | None:
    """A figure of one row and column, or None where no cell has it."""
    values: dict[int, float] = {}
    leaks: dict[str, None] = {}
    outdated: set[int] = set()
    for record in records:
        if record["row"] != row or record["column"] != column:
            continue
        value = record["figures"].get(figure.key)
        if value is not None:
            values[record["seed"]] = figure.scale * value
            leaks |= dict.fromkeys(leak_verdicts(record))
            if is_outdated(record):
                outdated.add(record["seed"])
    return Summary(values, tuple(leaks), frozenset(outdated)) if values else None


def leak_verdicts(record: Record) -> list[str]:
    """The verdict of a record on its pretraining data, if it is other than "no"."""
    verdict = record.get("details", {}).get("pretraining", {}).get("overlap", "no")
    return [] if verdict == "no" else [verdict]


def gain(
    records: Sequence[Record], row: str, baseline: str, column: str, figure: Figure
) -> Summary | None:
    """The difference to the baseline's figure of the same seed, seed by seed."""
    own = summarise(records, row, column, figure)
    base = summarise(records, baseline, column, figure)
    if own is None or base is None:
        return None
    common = {s: own.values[s] - base.values[s] for s in own.values if s in base.values}
    outdated = (own.outdated | base.outdated) & common.keys()
    return Summary(common, outdated=frozenset(outdated)) if common else None


def groups(columns: Sequence[Column]) -> dict[str, list[Column]]:
    """Columns by group, in order."""
    found: dict[str, list[Column]] = {}
    for column in columns:
        found.setdefault(column.group, []).append(column)
    return found


def markdown_table(plan: Plan, records: Sequence[Record], columns: Sequence[Column]) -> str:
    """The rows that have a figure in one of the columns; an empty text if none has."""
    shown = [(column, figure) for column in columns for figure in column.figures]
    rows = []
    for row in plan.rows:
        cells = [summarise(records, row.name, c.name, figure) for c, figure in shown]
        if any(cells):
            title = f"*{row.title}*" if row.control else row.title
            rows.append([title, *(cell.text() if cell else "" for cell in cells)])
    return _markdown(["", *(_heading(c, f) for c, f in shown)], rows)


def gain_table(plan: Plan, records: Sequence[Record], columns: Sequence[Column]) -> str:
    """Gains over the plan's baseline, or an empty text."""
    shown = [(column, figure) for column in columns for figure in column.figures]
    rows = []
    for row in plan.rows:
        if row.name == plan.baseline:
            continue
        cells = [gain(records, row.name, plan.baseline, c.name, figure) for c, figure in shown]
        if any(cells):
            title = f"*{row.title}*" if row.control else row.title
            texts = [cell.signed() if cell else "" for cell in cells]
            rows.append([title, *texts])
    return _markdown(["", *(_heading(c, f) for c, f in shown)], rows)


def _heading(column: Column, figure: Figure) -> str:
    return f"{column.title}, {figure.title}" if len(column.figures) > 1 else column.title


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text_table(plan: Plan, records: Sequence[Record], columns: Sequence[Column]) -> str:
    """As ``markdown_table``, aligned for a terminal, and under it how many cells are outdated."""
    lines = [
        [cell.strip(" *").replace("**", "") for cell in line.strip("|").split("|")]
        for line in markdown_table(plan, records, columns).splitlines()
    ]
    if not lines:
        return "no cell is done yet"
    del lines[1]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*rows, *filter(None, [outdated_note(records, columns)])])
