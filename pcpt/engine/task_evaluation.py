"""Scores a task's run on the scenes of a split."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pcpt.config import load_config
from pcpt.engine.evaluation import write_json
from pcpt.engine.folder import environment
from pcpt.engine.run import load_run


def is_task_run(folder: str | Path) -> bool:
    """Whether a run folder holds a task's run rather than a pretraining one.

    Raises:
        FileNotFoundError: no run there.
    """
    return load_config([Path(folder) / "config.yaml"]).task is not None


def evaluate_task(
    folder: str | Path, *, checkpoint: str | Path | None = None, split: str = "val"
) -> dict[str, Any]:
    """Figures of a task's run on whole, unchanged scenes; writes ``metrics.json`` into the run.

    Args:
        folder: of the run.
        checkpoint: None takes the newest whole one.
        split: val, test or train.

    Returns:
        What ``metrics.json`` holds: task, split, seed, commit and ``figures``.

    Raises:
        FileNotFoundError: no run or no checkpoint there.
        ValueError: the checkpoint does not fit, or the split holds no scenes.
    """
    config, parts = load_run(folder, path=checkpoint)
    task: Any = parts.method
    device = next(task.parameters()).device
    scenes = task.evaluation_set(config.data, split)

    def batches() -> Iterator[Any]:
        for number in range(len(scenes)):
            yield task.collate([scenes[number]]).to(device)

    record = {
        "task": config.task.name,
        "split": split,
        "seed": config.seed,
        "commit": environment()["git_commit"],
        "figures": dict(task.evaluate(batches())),
    }
    write_json(Path(folder) / "metrics.json", record)
    return record


def report_task_runs(
    folders: Sequence[str | Path], *, checkpoint: str | None, split: str
) -> dict[str, dict[str, Any]]:
    """Evaluates task runs and prints their figures side by side."""
    records = {
        str(folder): evaluate_task(folder, checkpoint=checkpoint, split=split) for folder in folders
    }
    _print({name: record["figures"] for name, record in records.items()}, split)
    return records


def _print(columns: Mapping[str, Mapping[str, Any]], split: str) -> None:
    table = Table(title=f"split {split}, percent", title_justify="left")
    table.add_column("figure")
    for name in columns:
        table.add_column(Path(name).resolve().name, justify="right")
    for name, value in next(iter(columns.values())).items():
        if isinstance(value, float):
            cells = [f"{100 * figures.get(name, float('nan')):.1f}" for figures in columns.values()]
            table.add_row(name, *cells)
    Console().print(table)
