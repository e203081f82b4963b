"""The report of a pretraining run on single shapes: figures, the method's pictures, loss curve."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pcpt import registry
from pcpt.choices import did_you_mean
from pcpt.config import load_config, to_yaml
from pcpt.data.shape_batch import ShapeBatch
from pcpt.engine.evaluation import comparison, read_metrics, untrained
from pcpt.engine.loggers import read_records
from pcpt.engine.run import load_run
from pcpt.methods.shapes import ShapeMethod
from pcpt.tasks.objects import joined
from pcpt.viz import Figure, Report, Table, loss_curve, save_png, write_report
from pcpt.viz.picture import stacked

SHOWN = 4  # shapes in a picture
_SUMMARY = (
    "A network on single shapes, {learnt}. Everything below is measured or drawn "
    "on shapes of split {split}."
)


def is_shape_run(folder: str | Path) -> bool:
    """Whether a run folder holds a pretraining run on single shapes; FileNotFoundError without."""
    config = load_config([Path(folder) / "config.yaml"])
    if config.method is None:
        return False
    return issubclass(registry.get("methods", config.method.name), ShapeMethod)


def visualize_shapes(
    folder: str | Path,
    *,
    checkpoint: str | Path | None = None,
    split: str = "val",
    shape: str = "",
) -> Path:
    """Writes ``report/index.html`` of a pretraining run on shapes, and its pictures as PNG.

    Args:
        folder: of the run.
        checkpoint: None takes the newest whole one.
        split: val, test or train.
        shape: name or number of the shape to show within the split; empty takes some, evenly over
            its list.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: no run or no checkpoint there.
        ValueError: no such split or shape.
    """
    folder = Path(folder)
    config, parts = load_run(folder, path=checkpoint)
    method: Any = parts.method
    device = next(method.parameters()).device
    shapes = method.evaluation_set(config.data, split)
    chosen = _chosen(shape, shapes.names, split)
    before = untrained(config, device).method
    with torch.no_grad():
        pictures = _pictures(method, before, [shapes[number].to(device) for number in chosen])
    records = read_records(folder / "metrics.jsonl")
    if records:
        caption = "Loss of the training batches."
        pictures["loss"] = Figure(loss_curve(records), caption, "Training")

    out = folder / "report"
    out.mkdir(exist_ok=True)
    for name, figure in pictures.items():
        save_png(out / f"{name}.png", figure.picture)
    facts: dict[str, str | int | float | None] = {
        "teacher": config.teacher.name if config.teacher is not None else "none",
        "student parameters": f"{sum(p.numel() for p in parts.student.parameters()) / 1e6:.2f} M",
    }
    if records:
        facts |= {"steps": records[-1]["step"], "final loss": records[-1]["loss"]}
    report = Report(
        title=f"pcpt: {folder.resolve().name}",
        summary=_SUMMARY.format(learnt=method.learnt, split=split),
        facts=facts | {"shapes shown": ", ".join(shapes.names[number] for number in chosen)},
        parts=[*_tables(folder, split), *pictures.values()],
        config=to_yaml(config),
    )
    return write_report(out / "index.html", report)


def _pictures(method: Any, before: Any, samples: list[ShapeBatch]) -> dict[str, Figure]:
    """The method's pictures of shapes, by file name; those of shapes of other numbers of points,
    which join into no batch, one below the other."""
    shown: dict[str, list[Figure]] = {}
    for batch in joined(samples):
        for name, figure in method.figures(before, batch).items():
            others = shown.setdefault(name, [])
            # some pictures are of the split, whatever shapes are chosen
            if not any(torch.equal(figure.picture, other.picture) for other in others):
                others.append(figure)
    return {
        name: replace(figures[0], picture=stacked([figure.picture for figure in figures]))
        for name, figures in shown.items()
    }


def _chosen(shape: str, names: list[str], split: str) -> list[int]:
    """Places in the split's list."""
    if not shape:
        count = min(SHOWN, len(names))
        return [(2 * i + 1) * len(names) // (2 * count) for i in range(count)]
    return [place_of(shape, names, split)]


def place_of(shape: str, names: list[str], split: str) -> int:
    """The place of a shape given by name, by number, or not at all: then the middle one.

    Raises:
        ValueError: no such shape.
    """
    if not shape:
        return len(names) // 2
    if shape in names:
        return names.index(shape)
    if shape.isdecimal() and int(shape) < len(names):
        return int(shape)
    raise ValueError(
        f"no shape {shape!r} in split {split!r}{did_you_mean(shape, names)}; give a name, or a "
        f"number from 0 to {len(names) - 1}"
    )


def _tables(folder: Path, split: str) -> list[Table]:
    """What ``pcpt test`` wrote, if it was of this split."""
    try:
        metrics = read_metrics(folder)
    except FileNotFoundError:
        return []
    if metrics.get("split") != split:
        return []
    in_percent = metrics.get("in_percent", True)
    rows = comparison({n: metrics[n] for n in ("untrained", "trained")}, in_percent=in_percent)
    shown = {name: dict(row) for name, row in rows.items()}
    caption = "Percent." if in_percent else ""
    return [Table(shown, caption, f"Split {split}", ".1f" if in_percent else ".4g")]
