"""The report of a task's run on labelled images: some of them with labels and prediction, figures,
loss curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcpt.choices import did_you_mean
from pcpt.config import RunConfig, to_yaml
from pcpt.data.image_dataset import ImageBatch
from pcpt.data.label_set import LabelSet
from pcpt.engine.evaluation import figures_of_split
from pcpt.engine.loggers import read_records
from pcpt.engine.run import Parts
from pcpt.viz import Figure, Report, Table, grid, loss_curve, save_png, stacked, write_report
from pcpt.viz.confusion import confusion_picture
from pcpt.viz.figure_tables import figure_tables
from pcpt.viz.labels import class_colors, legend_bar
from pcpt.viz.report import Cell

SHOWN = 4  # images in a picture
HEIGHT = 240
_SUMMARY = (
    "A network trained on labelled images, and what it says of the pixels of images of split "
    "{split}."
)


def visualize_images(folder: Path, config: RunConfig, parts: Parts, split: str, image: str) -> Path:
    """Writes ``report/index.html`` of a task's run on labelled images, and its pictures as PNG.

    Args:
        folder: of the run.
        config, parts: of the run, loaded.
        split: val, test or train.
        image: name or number of the image to show within the split; empty takes some, evenly over
            its list.

    Raises:
        ValueError: no such split or image.
    """
    task: Any = parts.method
    images = task.evaluation_set(config.data, split)
    chosen = _chosen(image, list(images.names), split)
    batch = task.collate([images[number] for number in chosen])
    metrics = figures_of_split(folder, split)
    records = read_records(folder / "metrics.jsonl")
    figures = {"images": _pictures(task, batch)} | _confusion(metrics, task.label_set)
    if records:
        caption = "Loss of the training batches."
        figures["loss"] = Figure(loss_curve(records), caption, "Training")
    out = folder / "report"
    for name, figure in figures.items():
        save_png(out / f"{name}.png", figure.picture)
    facts: dict[str, Cell] = {
        "task": config.task.name,
        "student parameters": f"{sum(p.numel() for p in parts.student.parameters()) / 1e6:.2f} M",
    }
    if records:
        facts |= {"steps": records[-1]["step"], "final loss": records[-1].get("loss")}
    report = Report(
        title=f"pcpt: {folder.resolve().name}",
        summary=_SUMMARY.format(split=split),
        facts=facts | {"images shown": ", ".join(batch.names)},
        parts=[*_tables(metrics, task.label_set, split), *figures.values()],
        config=to_yaml(config),
    )
    return write_report(out / "index.html", report)


def _chosen(image: str, names: Sequence[str], split: str) -> list[int]:
    """Places in the split's list: of the image given by name or by number, or of some."""
    if not image:
        count = min(SHOWN, len(names))
        return [(2 * i + 1) * len(names) // (2 * count) for i in range(count)]
    if image in names:
        return [names.index(image)]
    if image.isdecimal() and int(image) < len(names):
        return [int(image)]
    raise ValueError(
        f"no image {image!r} in split {split!r}{did_you_mean(image, names)}; give a name, or a "
        f"number from 0 to {len(names) - 1}"
    )


def _pictures(task: Any, batch: ImageBatch) -> Figure:
    """A row for every image: itself, its labels, and what the network says."""
    predicted = task.predict(batch.to(next(task.parameters()).device)).cpu()
    label_set = task.label_set
    cells, titles = [], []
    for row, name in enumerate(batch.names):
        labels, said = batch.labels[row], predicted[row]
        cells += [batch.images[row], _in_color(labels, label_set), _in_color(said, label_set)]
        right = (said == labels)[labels >= 0].float().mean()  # NaN where nothing is labelled
        share = f"prediction, {right:.0%} right" if right.isfinite() else "prediction"
        titles += [name, "labels", share]
    picture = grid(cells, titles, columns=3, height=HEIGHT)
    used = torch.cat([batch.labels, predicted]).unique().tolist()
    entries = [(label_set.colors[i], label_set.names[i]) for i in used if i >= 0]
    caption = "Images, their labels (dark where there are none) and the class said of each pixel."
    return Figure(stacked([picture, legend_bar(entries, picture.shape[2])]), caption, "Images")


def _in_color(labels: Tensor, label_set: LabelSet) -> Tensor:
    """(3, H, W) uint8 of (H, W) classes."""
    return class_colors(labels.flatten(), label_set).T.reshape(3, *labels.shape).contiguous()


def _confusion(metrics: Mapping[str, Any], label_set: LabelSet) -> dict[str, Figure]:
    """Of the whole split, where it was evaluated."""
    if "pixels/confusion" not in metrics:
        return {}
    square = torch.tensor(metrics["pixels/confusion"])[:, : len(label_set)]
    if not bool((square > 0).any()):
        return {}
    caption = (
        "All labelled pixels of the split, by true class in rows and predicted class in columns: "
        "percent of the row."
    )
    return {"confusion": Figure(confusion_picture(square, label_set.names), caption, "Confusion")}


def _tables(metrics: Mapping[str, Any], label_set: LabelSet, split: str) -> list[Table]:
    """Figures that ``pcpt test`` wrote of the split: the overall ones, and those of each class."""
    return figure_tables(
        metrics, lambda _, name: name in label_set.names, f"Split {split}", "image"
    )
