"""The page of results: made from the records of cells and the plans' words, never typed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pcpt.bench.plan import Column, Plan
from pcpt.bench.table import (
    Record,
    compared,
    gain_table,
    groups,
    is_outdated,
    leak_verdicts,
    markdown_table,
    outdated_mark,
    outdated_note,
)

HEAD = """# Results

Made by `pcpt bench table --write` from the records in `docs/results/`, one a cell; not to be
edited by hand. How to repeat them: [proof](proof.md).

Figures are percent, **mean ± standard deviation over seeds (number of seeds)**. *Rows in italics
are controls.* `LEAK` marks weights that have seen scans of the split they are scored on, `leak?`
weights of which that cannot be ruled out. `†` marks figures of which at least one seed was computed
by an earlier version of the plan or its configs.
"""


def results_page(plans: Sequence[Plan], records: Sequence[Record], root: Path) -> str:
    """The whole of docs/results.md.

    Args:
        plans: in the order of the page.
        records: of all of them; see ``pcpt.bench.results``.
        root: that the plans' config files are relative to, a checkout of the repository.

    Raises:
        ValueError: records of a plan that is not among ``plans``.
        FileNotFoundError: a config file of a plan is not there.
    """
    known = {plan.name for plan in plans}
    foreign = sorted({record["plan"] for record in records} - known)
    if foreign:
        raise ValueError(f"records of unknown plans {', '.join(foreign)}; known: {sorted(known)}")
    parts = [HEAD]
    for plan in plans:
        mine = [record for record in records if record["plan"] == plan.name]
        parts.append(_section(plan, compared(mine, plan.fingerprints(root)) if mine else []))
    return "\n".join(parts)


def _section(plan: Plan, records: Sequence[Record]) -> str:
    lines = [f"## {plan.title}", "", plan.about.strip(), ""]
    tuned = set(plan.tuning)
    for group, columns in groups([c for c in plan.columns if c.name not in tuned]).items():
        lines += _group(plan, group, columns, records)
    lines += _tuning(plan, records)
    lines += _provenance(plan, records)
    return "\n".join(lines)


def _group(
    plan: Plan, group: str, columns: Sequence[Column], records: Sequence[Record]
) -> list[str]:
    names = [column.name for column in columns]
    mine = [record for record in records if record["column"] in names]
    if not mine:
        return [f"### {group}", "", "Not computed yet.", ""]
    lines = [f"### {group}", "", markdown_table(plan, mine, columns), ""]
    gains = gain_table(plan, mine, columns) if plan.baseline else ""
    if gains:
        title = next(row.title for row in plan.rows if row.name == plan.baseline)
        lines += [f"Gain over {title}, seed by seed:", "", gains, ""]
    minutes = sum(record["cpu_seconds"] for record in mine) / 60
    only = " ".join(f"'{name}'" for name in names if any(r["column"] == name for r in mine))
    lines += [
        f"{len(mine)} cells, {minutes:.0f} core-minutes: "
        f"`pcpt bench proof --plan {plan.name} --only {only}`",
        "",
        *_paragraph(outdated_note(mine, columns)),
        *_leaks(mine),
    ]
    return lines


def _paragraph(text: str) -> list[str]:
    return [text, ""] if text else []


def _leaks(records: Sequence[Record]) -> list[str]:
    lines = []
    for record in records:
        for verdict in leak_verdicts(record):
            scans = record["details"]["pretraining"].get("overlapping", [])
            named = f": {', '.join(scans[:5])}{' ...' if len(scans) > 5 else ''}" if scans else ""
            lines.append(
                f"- `{record['cell']}`: overlap with the pretraining data {verdict}{named}"
            )
    return [*lines, ""] if lines else []


def _tuning(plan: Plan, records: Sequence[Record]) -> list[str]:
    """What was tried out on validation data, and what was taken."""
    lines: list[str] = []
    for column in (c for c in plan.columns if c.name in plan.tuning):
        tried = [record for record in records if record["column"] == column.name]
        if not tried:
            continue
        titles = [figure.title for figure in column.figures]
        lines += ["| cell | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(titles)]
        for record in tried:
            values = [(f.scale, record["figures"].get(f.key)) for f in column.figures]
            mark = outdated_mark(is_outdated(record))
            shown = ["" if v is None else f"{scale * v:.1f}{mark}" for scale, v in values]
            lines.append(f"| `{record['cell']}` | " + " | ".join(shown) + " |")
        lines += ["", *_paragraph(outdated_note(tried, [column]))]
    if not lines:
        return []
    taken: dict[str, dict[str, None]] = {}
    for record in records:
        if record["chosen"]:
            words = ", ".join(f"{key} {value}" for key, value in record["chosen"].items())
            taken.setdefault(f"{record['row']}: {words}", {})[record["column"]] = None
    lines += [f"- taken for {choice}, in {', '.join(c)}" for choice, c in taken.items()]
    return ["### Settled beforehand, on validation data", "", *lines, ""]


def _provenance(plan: Plan, records: Sequence[Record]) -> list[str]:
    """Where the figures come from: machine, commits, splits, protocol."""
    if not records:
        return []
    shared = [record for record in records if not record["column"]]
    hours = sum(record["cpu_seconds"] for record in records) / 3600
    common = sum(record["cpu_seconds"] for record in shared) / 3600
    lines = [
        "### Where these figures come from",
        "",
        f"- {len(records)} records, {hours:.1f} core-hours in all, of which {common:.1f} for "
        f"{len(shared)} shared by several cells (data, pretraining)",
    ]
    for title, values in (
        ("processors", [r["environment"].get("cpu") for r in records]),
        ("torch", [r["environment"].get("torch") for r in records]),
        ("commits", [str(r["environment"].get("git_commit"))[:12] + _dirty(r) for r in records]),
        ("protocol", [r["details"].get("protocol") for r in records]),
        ("voxel size", [_text(r["details"].get("voxel_size"), " m") for r in records]),
        ("evaluation splits", [_split(r["details"]) for r in records]),
    ):
        known = list(dict.fromkeys(str(value) for value in values if value))
        if known:
            lines.append(f"- {title}: {'; '.join(known)}")
    return [*lines, ""]


def _dirty(record: Record) -> str:
    return "+" if str(record["environment"].get("git_commit")).endswith("-dirty") else ""


def _text(value: Any, unit: str) -> str:
    return "" if value is None else f"{value}{unit}"


def _split(details: Mapping[str, Any]) -> str:
    if "split_hash" not in details:
        return ""
    scans, digits = details["split_scans"], details["split_hash"][:12]
    return f"{details['split']} ({scans} scans, hash `{digits}`)"
