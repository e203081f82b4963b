"""The report of a task's run on single shapes: figures, predictions, embeddings, loss curve."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcpt.config import RunConfig, to_yaml
from pcpt.data.shape_batch import ShapeBatch
from pcpt.engine.evaluation import figures_of_split
from pcpt.engine.loggers import read_records
from pcpt.engine.run import Parts
from pcpt.engine.shape_visualization import place_of
from pcpt.metrics.parts import part_iou
from pcpt.metrics.segmentation import confusion_matrix
from pcpt.students.cloud import inference
from pcpt.tasks.objects import embed_batch, joined
from pcpt.viz import Figure, Report, Table, loss_curve, save_png, write_report
from pcpt.viz.confusion import confusion_picture
from pcpt.viz.figure_tables import figure_tables
from pcpt.viz.report import Cell
from pcpt.viz.scene_result import SceneResult
from pcpt.viz.shapes import (
    PartResult,
    classes_picture,
    embedding_picture,
    part_label_set,
    parts_picture,
)
from pcpt.viz.viewer import write_viewer

MOST_SHAPES = 240  # of the split that are looked at
SHOWN = 8
_SUMMARY = (
    "A network on single shapes, and what it says of shapes of split {split}. The viewer shows one "
    "of them from every side; a click on a point finds what is like it."
)


@dataclass
class Looked:
    """What a task says of some shapes of a split, on the CPU.

    Attributes:
        batches: the shapes.
        embedding: (S, D) of the network under the head.
        labels: (S,) int64 classes, -1 for none.
        classes: (S,) int64 predicted ones, or None.
        parts: predicted parts (B, N) of each batch, or None.
    """

    batches: list[ShapeBatch]
    embedding: Tensor
    labels: Tensor
    classes: Tensor | None
    parts: list[Tensor] | None


def visualize_objects(
    folder: Path, config: RunConfig, parts: Parts, split: str, shape: str
) -> Path:
    """Writes ``report/index.html`` of a task's run on shapes, its pictures as PNG and a shape in
    ``report/viewer.html`` beside it.

    Args:
        folder: of the run.
        config, parts: of the run, loaded.
        split: val, test or train.
        shape: as ``scene`` of ``visualize_task``.

    Raises:
        ValueError: no such split or shape.
    """
    task: Any = parts.method
    shapes = task.evaluation_set(config.data, split)
    metrics = figures_of_split(folder, split)
    records = read_records(folder / "metrics.jsonl")
    out = folder / "report"
    out.mkdir(exist_ok=True)
    facts: dict[str, Cell] = {
        "task": config.task.name,
        "student parameters": f"{sum(p.numel() for p in parts.student.parameters()) / 1e6:.2f} M",
    }
    figures: dict[str, Figure] = {}
    links = {}
    looked = None
    if isinstance(shapes[0], ShapeBatch):
        number = place_of(shape, list(shapes.names), split)
        looked = _look(task, shapes)
        figures = _figures(task, looked)
        result = _viewed(task, shapes[number])
        write_viewer(out / "viewer.html", result)
        links[f"Open {result.name} in the viewer"] = "viewer.html"
        facts["shape in the viewer"] = result.name
    figures |= _confusion(task, looked, metrics)
    if records:
        facts |= {"steps": records[-1]["step"], "final loss": records[-1].get("loss")}
        if records[-1]["step"] > 1:
            caption = "Loss of the training batches."
            figures["loss"] = Figure(loss_curve(records), caption, "Training")
    for name, figure in figures.items():
        save_png(out / f"{name}.png", figure.picture)
    report = Report(
        title=f"pcpt: {folder.resolve().name}",
        summary=_SUMMARY.format(split=split),
        links=links,
        facts=facts,
        parts=[*_tables(metrics, split), *figures.values()],
        config=to_yaml(config),
    )
    return write_report(out / "index.html", report)


@torch.no_grad()
def _look(task: Any, shapes: Any) -> Looked:
    # drawn, not every second or third: lists often go round the classes
    drawn = torch.randperm(len(shapes), generator=torch.Generator().manual_seed(0))
    chosen = drawn[:MOST_SHAPES].sort().values.tolist()
    device = next(task.parameters()).device
    batches, embedding, classes, parts = [], [], [], []
    for batch in joined(shapes[number] for number in chosen):
        batch = batch.to(device)
        with inference(task.student):
            embedding.append(embed_batch(task.student, batch, "pooled").float().cpu())
        if hasattr(task, "classify"):
            classes.append(task.classify(batch).cpu())
        elif task.part_names and hasattr(task, "predict"):
            parts.append(task.predict(batch).cpu())
        batches.append(batch.to("cpu"))
    return Looked(
        batches,
        torch.cat(embedding),
        torch.cat([batch.label for batch in batches]),
        torch.cat(classes) if classes else None,
        parts or None,
    )


def _figures(task: Any, looked: Looked) -> dict[str, Figure]:
    figures = {}
    count = len(looked.labels)
    if looked.parts is not None:
        picture = parts_picture(_parts_to_show(task, looked, looked.parts), task.part_names)
        caption = (
            "Labels, prediction and errors (red) of shapes of different classes. The figure beside "
            "a name is the mean IoU of the shape's parts."
        )
        figures["parts"] = Figure(picture, caption, "Parts")
    if looked.classes is not None:
        clouds = [cloud for batch in looked.batches for cloud in batch.points]
        wrong = (looked.classes != looked.labels) & (looked.labels >= 0)
        rows = [*_spread(wrong.nonzero()[:, 0], SHOWN // 2)]
        rows += _spread((~wrong).nonzero()[:, 0], SHOWN - len(rows))
        picture = classes_picture(
            [clouds[row] for row in rows],
            [int(looked.labels[row]) for row in rows],
            [int(looked.classes[row]) for row in rows],
            task.classes,
        )
        caption = (
            f"Shapes and the class that was said; red where it is wrong, which {int(wrong.sum())} "
            f"of the {count} shapes looked at are."
        )
        figures["classes"] = Figure(picture, caption, "Classes")
    picture = embedding_picture(looked.embedding, looked.labels, task.classes)
    caption = f"Embeddings of {count} shapes under the head, coloured by class."
    figures["embedding"] = Figure(picture, caption, "Embeddings")
    return figures


def _spread(rows: Tensor, most: int) -> list[int]:
    """At most so many of the rows, evenly over them."""
    count = min(most, len(rows))
    return [int(rows[place * len(rows) // count]) for place in range(count)]


def _parts_to_show(task: Any, looked: Looked, predicted: list[Tensor]) -> list[PartResult]:
    """The first shape of each class in turn."""
    first: dict[int, PartResult] = {}
    for batch, said in zip(looked.batches, predicted, strict=True):
        for row, label in enumerate(batch.label.tolist()):
            if label in first or len(first) == SHOWN:
                continue
            parts = task.parts_of_class[label]
            iou = float(part_iou(batch.parts[row], said[row], parts, "one").mean())
            title = f"{task.classes[label]}: IoU {100 * iou:.0f}"
            first[label] = PartResult(title, batch.points[row], batch.parts[row], said[row])
    return [first[label] for label in sorted(first)]


@torch.no_grad()
def _viewed(task: Any, sample: ShapeBatch) -> SceneResult:
    """One shape with the features of its points, and its parts where the task is about parts."""
    batch = sample.to(next(task.parameters()).device)
    with inference(task.student):
        features = task.student(batch.points, batch.normals).point[0].float().cpu()
    label = int(sample.label)
    facts = {"class": task.classes[label]} if label >= 0 else {}
    if hasattr(task, "classify"):
        facts["said to be"] = task.classes[int(task.classify(batch)[0])]
    result = SceneResult(sample.names[0], sample.points[0], features=features, facts=facts)
    if hasattr(task, "classify") or not task.part_names or not hasattr(task, "predict"):
        return result
    return replace(
        result,
        label_set=part_label_set(task.part_names),
        labels=sample.parts[0],
        prediction=task.predict(batch)[0].cpu(),
    )


def _confusion(task: Any, looked: Looked | None, metrics: Mapping[str, Any]) -> dict[str, Figure]:
    """Of the whole split where it was evaluated, else of the shapes looked at."""
    size = len(task.classes)
    if "confusion" in metrics:
        counts, about = torch.tensor(metrics["confusion"]), "All labelled shapes of the split"
    elif looked is not None and looked.classes is not None:
        counts = confusion_matrix(looked.labels, looked.classes, size)
        about = f"{len(looked.labels)} shapes (pcpt test RUN fills in the split)"
    else:
        return {}
    square = counts[:, :size]
    if not bool((square > 0).any()):
        return {}
    caption = f"{about}, by true class in rows and predicted class in columns: percent of the row."
    return {"confusion": Figure(confusion_picture(square, task.classes), caption, "Confusion")}


def _tables(metrics: Mapping[str, Any], split: str) -> list[Table]:
    """Figures of the split: the overall ones, those of each class, and those of episodes."""
    title, kinds = f"Split {split}", ("accuracy", "iou")
    tables = figure_tables(metrics, lambda kind, _: kind in kinds, title, "shape")
    if "episodes" in metrics:
        rows = {
            f"episode {number}": {
                "accuracy": 100 * each["accuracy"],
                "classes": ", ".join(each["classes"]),
            }
            for number, each in enumerate(metrics["episodes"])
        }
        tables.append(Table(rows, "Percent of the queries.", "Episodes", ".1f"))
    return tables
