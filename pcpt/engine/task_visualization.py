"""The report of a task's run: one scene in pictures and in the viewer, figures, loss curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pcpt.choices import did_you_mean
from pcpt.config import RunConfig, to_yaml
from pcpt.engine.evaluation import figures_of_split
from pcpt.engine.image_visualization import visualize_images
from pcpt.engine.loggers import read_records
from pcpt.engine.object_visualization import visualize_objects
from pcpt.engine.run import load_run
from pcpt.engine.task_results import scene_result
from pcpt.metrics.segmentation import confusion_matrix, segmentation_figures
from pcpt.tasks.image_segmentation import ImageSegmentation
from pcpt.tasks.objects import ObjectTask
from pcpt.viz import Figure, Report, Table, loss_curve, save_png, write_report
from pcpt.viz.confusion import confusion_picture
from pcpt.viz.figure_tables import figure_tables
from pcpt.viz.report import Cell
from pcpt.viz.scene_result import SceneResult
from pcpt.viz.scene_results import result_figures
from pcpt.viz.viewer import write_viewer

_SUMMARY = (
    "A network trained on labelled scenes, and what it says of a scene of split {split}. The "
    "viewer shows the scene from every side; a click on a point finds what is like it."
)
_LOSS = "Loss of the training batches."


def visualize_task(
    folder: str | Path,
    *,
    checkpoint: str | Path | None = None,
    split: str = "val",
    scene: str = "",
) -> Path:
    """Writes ``report/index.html`` of a task's run, its pictures as PNG and the scene's
    ``report/viewer.html`` beside it; of a run on single shapes see ``visualize_objects``, of one on
    labelled images ``visualize_images``.

    Figures are those that ``pcpt test`` wrote for the split; without them the confusion matrix is
    that of the scene alone, and says so.

    Args:
        folder: of the run.
        checkpoint: None takes the newest whole one.
        split: val, test or train.
        scene: name or number of the scene to show within the split; empty takes the middle one.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: no run or no checkpoint there.
        ValueError: no such split or scene.
    """
    folder = Path(folder)
    config, parts = load_run(folder, path=checkpoint)
    task: Any = parts.method
    if isinstance(task, ObjectTask):
        return visualize_objects(folder, config, parts, split, scene)
    if isinstance(task, ImageSegmentation):
        return visualize_images(folder, config, parts, split, scene)
    scenes = task.evaluation_set(config.data, split)
    batch = task.collate([scenes[_number_of(scene, list(scenes.names), split)]])
    result = scene_result(task, batch.to(next(task.parameters()).device))
    metrics = figures_of_split(folder, split)
    records = read_records(folder / "metrics.jsonl")
    figures = result_figures(result) | _confusion(result, metrics)
    if records:
        figures["loss"] = Figure(loss_curve(records), _LOSS, "Training")

    out = folder / "report"
    out.mkdir(exist_ok=True)
    for name, figure in figures.items():
        save_png(out / f"{name}.png", figure.picture)
    write_viewer(out / "viewer.html", result)
    report = Report(
        title=f"pcpt: {folder.resolve().name}",
        summary=_SUMMARY.format(split=split),
        links={f"Open {result.name} in the viewer": "viewer.html"},
        facts=_facts(config, parts, records, result),
        parts=[*_tables(metrics, result, split), *figures.values()],
        config=to_yaml(config),
    )
    return write_report(out / "index.html", report)


def _number_of(scene: str, names: Sequence[str], split: str) -> int:
    """The place of a scene given by name, by number, or not at all."""
    if not scene:
        return len(names) // 2
    if scene in names:
        return names.index(scene)
    if scene.isdecimal() and int(scene) < len(names):
        return int(scene)
    raise ValueError(
        f"no scene {scene!r} in split {split!r}{did_you_mean(scene, names)}; give a name, or a "
        f"number from 0 to {len(names) - 1}"
    )


def _facts(
    config: RunConfig, parts: Any, records: Sequence[Mapping[str, Any]], result: SceneResult
) -> dict[str, Cell]:
    facts: dict[str, Cell] = {
        "task": config.task.name,
        "student parameters": f"{sum(p.numel() for p in parts.student.parameters()) / 1e6:.2f} M",
    }
    if records:
        facts |= {"steps": records[-1]["step"], "final loss": records[-1].get("loss")}
    return facts | {"scene shown": result.name}


def _confusion(result: SceneResult, metrics: Mapping[str, Any]) -> dict[str, Figure]:
    """Of the whole split where it was evaluated, else of the scene."""
    label_set = result.label_set
    assert label_set is not None  # tasks have one
    if "points/confusion" in metrics:
        counts = torch.tensor(metrics["points/confusion"])
        about = "All labelled points of the split"
    elif result.labels is not None and result.prediction is not None:
        counts = confusion_matrix(result.labels, result.prediction, len(label_set))
        about = "The labelled points of this scene alone (pcpt test RUN fills in the split)"
    else:
        return {}
    square = counts[:, : len(label_set)]
    if not bool((square > 0).any()):
        return {}
    caption = f"{about}, by true class in rows and predicted class in columns: percent of the row."
    return {"confusion": Figure(confusion_picture(square, label_set.names), caption, "Confusion")}


def _tables(metrics: Mapping[str, Any], result: SceneResult, split: str) -> list[Table]:
    """Figures of the split: the overall ones, and those that name a class by class."""
    label_set = result.label_set
    assert label_set is not None
    title = f"Split {split}"
    if not metrics and result.labels is not None and result.prediction is not None:
        counts = confusion_matrix(result.labels, result.prediction, len(label_set))
        metrics, title = segmentation_figures(counts, label_set.names), f"Scene {result.name}"
    names = label_set.names
    return figure_tables(metrics, lambda kind, name: bool(kind) and name in names, title, "scene")
