"""Where a run's figures go: metrics.jsonl always, TensorBoard, and a progress bar or plain lines.

A figure is a number under a name. Names that begin with ``time/`` or ``memory/`` depend on the
machine; all others repeat when the run is repeated on a CPU. ``num_`` names are counts per step.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from torch.utils.tensorboard import SummaryWriter

Figures = Mapping[str, float]


def peak_memory_mib(device: torch.device) -> float:
    """The most memory used so far, MiB: of the GPU's tensors, or of this process on a CPU; NaN on a
    system that does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource  # which Windows lacks
    except ImportError:
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


class MetricsFile:
    """``metrics.jsonl``: one JSON object a line, on disk as soon as it is written.

    Args:
        path: of the file; lines of an earlier run after ``step`` are dropped.
        step: the number of steps already done.
    """

    def __init__(self, path: Path, step: int) -> None:
        kept = _lines_until(path, step)
        partial = path.with_name(path.name + ".partial")
        partial.write_text("".join(line + "\n" for line in kept))
        os.replace(partial, path)
        self._file = path.open("a")

    def write(self, step: int, figures: Figures) -> None:
        """Appends the figures of a step; what is not finite becomes null, as JSON has no NaN."""
        line = {k: v if math.isfinite(v) else None for k, v in figures.items()}
        self._file.write(json.dumps({"step": step, **line}, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_records(path: Path) -> list[dict[str, Any]]:
    """What ``MetricsFile`` wrote, one mapping a step, up to a line in which the process died; none
    where there is no such file."""
    records = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
            record["step"] + 0
        except (json.JSONDecodeError, KeyError, TypeError):
            break
        records.append(record)
    return records


def _lines_until(path: Path, step: int) -> list[str]:
    return [json.dumps(record) for record in read_records(path) if record["step"] <= step]


class Display(Protocol):
    """What the person at the terminal sees."""

    def advance(self, step: int) -> None:
        """Counts a step."""

    def show(self, step: int, figures: Figures) -> None:
        """Shows a step."""

    def close(self) -> None:
        """Leaves the terminal tidy."""


class PlainLines:
    """One line per logged step, for pipes and log files."""

    def __init__(self, num_steps: int, stream: TextIO) -> None:
        self.num_steps = num_steps
        self.stream = stream

    def advance(self, step: int) -> None:
        """Says nothing: a line per logged step is enough."""

    def show(self, step: int, figures: Figures) -> None:
        """Prints a line."""
        words = "  ".join(describe(step, self.num_steps, figures))
        print(f"step {step}/{self.num_steps}  {words}", file=self.stream, flush=True)

    def close(self) -> None:
        """Nothing to tidy."""


class ProgressBar:
    """A bar that redraws itself, for terminals."""

    def __init__(self, num_steps: int, step: int) -> None:
        self.num_steps = num_steps
        self._bar = Progress(
            BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), console=Console()
        )
        self._task = self._bar.add_task("starting", total=num_steps, completed=step)
        self._bar.start()

    def advance(self, step: int) -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=step)

    def show(self, step: int, figures: Figures) -> None:
        """Changes the words beside the bar."""
        words = "  ".join(describe(step, self.num_steps, figures))
        self._bar.update(self._task, description=words)

    def close(self) -> None:
        """Stops redrawing."""
        self._bar.stop()


def describe(step: int, num_steps: int, figures: Figures) -> list[str]:
    """Loss, speed, share of time spent waiting for data, memory and time left, in words.

    Speed is in samples, or in what the method counts: ``num_pairs`` gives pairs/s.
    """
    seconds = max(figures["time/step"], 1e-9)
    counts = [name for name in figures if name.startswith("num_") and name != "num_samples"]
    unit = counts[0] if counts else "num_samples"
    left = round(seconds * (num_steps - step))
    return [
        f"loss {figures['loss']:.4f}",
        f"{figures[unit] / seconds:.4g} {unit.removeprefix('num_')}/s",
        f"data {100 * figures['time/data'] / seconds:.0f}%",
        f"memory {figures['memory/peak_mib'] / 1024:.2f} GiB",
        f"left {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}",
    ]


class Logbook:
    """All of a run's outputs for figures, in one place.

    Args:
        folder: of the run.
        num_steps: of the whole run.
        step: the number of steps already done; later figures of an earlier attempt are dropped.
    """

    def __init__(self, folder: Path, num_steps: int, step: int) -> None:
        self._metrics = MetricsFile(folder / "metrics.jsonl", step)
        self._tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._display: Display = (
            ProgressBar(num_steps, step) if terminal else PlainLines(num_steps, sys.stdout)
        )

    def advance(self, step: int) -> None:
        """Counts a step that may or may not be logged."""
        self._display.advance(step)

    def write(self, step: int, figures: Figures) -> None:
        """Records the figures of a step everywhere."""
        self._metrics.write(step, figures)
        for name, value in figures.items():
            if math.isfinite(value):
                self._tensorboard.add_scalar(name, value, step)
        self._display.show(step, figures)

    def close(self) -> None:
        """Closes all outputs."""
        self._display.close()
        self._tensorboard.close()
        self._metrics.close()
