"""Which of a run's checkpoints does best on validation data."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcpt.engine.checkpoint import list_checkpoints, load_checkpoint, restore_module, step_of

SPLIT = "val"


@dataclass(frozen=True)
class Selection:
    """How the checkpoints of a run did.

    Attributes:
        figure: that they are compared by; higher is better.
        by_step: its value on the validation split after so many steps.
        path: of the best, never one whose value is NaN; of equals the later one, which has learnt
            more.
    """

    figure: str
    by_step: dict[int, float]
    path: Path

    def record(self) -> dict[str, Any]:
        """For ``metrics.json``."""
        by_step = {str(step): value for step, value in self.by_step.items()}
        return {
            "split": SPLIT,
            "figure": self.figure,
            "by_step": by_step,
            "best_step": step_of(self.path),
        }


def check_selects(task: Any) -> str:
    """The figure that checkpoints of a task are compared by; raises ``ValueError`` if it has
    none."""
    figure = getattr(task, "selected_by", "")
    if not figure:
        raise ValueError(
            f"--best: {type(task).__name__} has no figure to choose a checkpoint by; leave it out"
        )
    return str(figure)


def select_checkpoint(
    task: Any, folder: Path, batches: Callable[[str], Iterable[Any]]
) -> Selection:
    """Scores every checkpoint that the run has kept on the validation split, and no other.

    Args:
        task: of the run, with ``selected_by``; ends with the weights of the last one scored.
        folder: of the run.
        batches: gives those of a split.

    Raises:
        ValueError: a task that says no figure to select by, or one that is NaN at all checkpoints,
            or a damaged checkpoint.
        FileNotFoundError: no checkpoints.
    """
    figure = check_selects(task)
    values: dict[Path, float] = {}
    for path in list_checkpoints(folder):
        restore_module(task, load_checkpoint(path)["method"], path)
        values[path] = float(task.evaluate(batches(SPLIT))[figure])
    if not values:
        raise FileNotFoundError(f"{folder}/checkpoints holds no checkpoint; train the run first")
    known = [path for path, value in values.items() if not math.isnan(value)]
    if not known:
        raise ValueError(
            f"--best: {figure} on split {SPLIT!r} has no value at any of the {len(values)} "
            f"checkpoints of {folder}; label shapes of that split, or leave it out"
        )
    best = max(known, key=lambda path: (values[path], step_of(path)))
    return Selection(figure, {step_of(path): value for path, value in values.items()}, best)
