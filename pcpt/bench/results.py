"""The record of one cell: one JSON file, from which alone the pages of results are made."""

import math
import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pcpt.bench.plan import Cell
from pcpt.data.json_object import read_json
from pcpt.engine.folder import environment

FORMAT = 1


def make_result(
    plan: str,
    cell: Cell,
    fingerprint: str,
    chosen: Mapping[str, str],
    commands: Sequence[Sequence[str]],
    metrics: Mapping[str, Any],
) -> dict[str, Any]:
    """What is kept of a finished cell.

    Args:
        plan: its name.
        cell: what was computed.
        fingerprint: of the cell, see ``Plan.fingerprints``.
        chosen: values that were settled by experiment.
        commands: arguments of ``pcpt`` as they were run.
        metrics: the JSON object that the commands left.

    Returns:
        Plain values.
    """
    facts = environment()
    del facts["kernels"]  # long, and the same wherever the commit is
    return {
        "format_version": FORMAT,
        "plan": plan,
        "cell": cell.name,
        "row": cell.row,
        "column": cell.column,
        "seed": cell.seed,
        "figures": _numbers(metrics.get("figures", {})),
        "details": {key: value for key, value in metrics.items() if key != "figures"},
        "chosen": dict(chosen),
        "commands": [" ".join(["pcpt", *words]) for words in commands],
        "date": date.today().isoformat(),
        "fingerprint": fingerprint,
        "environment": facts,
    }


def without_paths(value: Any, places: Mapping[str, str]) -> Any:
    """Nested plain values in which every known folder is replaced by its name in capitals.

    Args:
        value: to look through.
        places: folders by name.
    """
    if isinstance(value, str):
        for name, path in sorted(places.items(), key=lambda item: -len(item[1])):
            value = value.replace(path, name.upper()) if path.startswith("/") else value
        return value
    if isinstance(value, Mapping):
        return {key: without_paths(item, places) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(item, places) for item in value]
    return value


def cell_figures(result: Mapping[str, Any] | None, name: str) -> dict[str, float]:
    """The figures of a result.

    Raises:
        ValueError: there is no result.
    """
    if result is None:
        raise ValueError(f"cell {name} has no result")
    return _numbers(result.get("figures", {}))


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """Finite numbers alone: metrics may hold matrices, and NaN where a class never occurs."""
    return {
        key: value
        for key, value in figures.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def read_metrics_file(path: Path) -> dict[str, Any]:
    """The metrics that a command left.

    Raises:
        ValueError: the file is not there or holds no object with figures.
    """
    if not path.is_file():
        raise ValueError(f"the commands left no {path.name} in {path.parent}")
    metrics = read_json(path)
    if not isinstance(metrics, dict) or not isinstance(metrics.get("figures"), dict):
        raise ValueError(f"{path} has no object 'figures'")
    return metrics


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Every record in a folder and the folders below it, in the order of their names.

    Raises:
        ValueError: a file that is no record of a cell, or of a newer format.
    """
    records = []
    for path in sorted(folder.rglob("*.json")):
        record = read_json(path)
        if not isinstance(record, dict) or not isinstance(record.get("cell"), str):
            raise ValueError(f"{path} is no record of a cell of pcpt bench; take it out")
        if record.get("format_version", 0) > FORMAT:
            raise ValueError(f"{path} is of a newer format; install a newer pcpt")
        records.append(record)
    return records


def collect(out: Path, folder: Path) -> int:
    """Copies the records of the finished cells of a proof into a folder, ``PLAN/CELL.json`` each.

    Returns:
        How many.
    """
    found = sorted((out / "cells").rglob("result.json"))
    count = 0
    for path in found:
        if any(part.startswith("outdated-") for part in path.parts):
            continue
        record = read_json(path)
        target = folder / record["plan"] / (record["cell"].replace("/", ".") + ".json")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        count += 1
    return count
