"""The report of a run: figures, pictures of a frame, loss curve, configuration."""

import math
from pathlib import Path
from typing import Any

from pcpt.config import RunConfig, to_yaml
from pcpt.data.batch import Batch
from pcpt.data.dataset import up_of
from pcpt.data.frame import Frame
from pcpt.engine.evaluation import comparison, frames_of, read_metrics, untrained
from pcpt.engine.loggers import read_records
from pcpt.engine.run import Parts, load_run
from pcpt.engine.shape_visualization import is_shape_run, visualize_shapes
from pcpt.engine.task_evaluation import is_task_run
from pcpt.engine.task_visualization import visualize_task
from pcpt.viz import Figure, Report, Table, loss_curve, save_png, write_report
from pcpt.viz.pixel_point import (
    figures,
    frame_result,
    shows_pixel_point,
    write_feature_clouds,
)
from pcpt.viz.report import Cell
from pcpt.viz.viewer import write_viewer

_SUMMARY = (
    "A 3D network learnt from a frozen image network to give each point the embedding of its "
    "pixel, without a single label. Everything below but the loss is measured or drawn on {frames}."
)
_PLAIN = (
    "A run of method {method}, which gives no embeddings of pixels and points (teacher_map, "
    "pixel_features and point_features, as method ppkt has them): there are no pictures of frames."
)
_RETRIEVAL = (
    "Percent. Recall@k: the partner is among the k most similar of 1,024 candidates, from all "
    "frames or from the same one (in_frame); within_10cm: the most similar lies that near to the "
    "true one; cross_view: the same place found again in another frame by the student's features "
    "alone, and by bare colours as control."
)
_KNOWN = {"held_out": ", which it was not trained on", "train": ", which it has seen"}


def visualize_run(
    folder: str | Path,
    *,
    checkpoint: str | Path | None = None,
    frame: int | None = None,
    pixel: tuple[float, float] | None = None,
    scene: str = "",
    split: str = "",
) -> Path:
    """Writes ``report/index.html`` of a run, with its pictures as PNG and a viewer beside it; of a
    pretraining run also a cloud as PLY.

    Args:
        folder: of the run.
        checkpoint: None takes the newest whole one.
        frame: number of the frame to show within the split; None takes the middle one.
        pixel: (u, v) in the resized image whose likeness is looked for.
        scene: of a task's run, see ``visualize_task``; or the shape of a pretraining run on shapes,
            see ``visualize_shapes``.
        split: "held_out" (the default), "train" or "all"; of a task's run or one on shapes val
            (the default), test or train.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: no run or no checkpoint there.
        ValueError: no such frame, scene or split, or a frame asked for of a task's run or of a
            method without pictures of frames.
    """
    if is_task_run(folder):
        if frame is not None or pixel is not None:
            raise ValueError(f"{folder} is a task's run, of scenes: give --scene, not --frame")
        return visualize_task(folder, checkpoint=checkpoint, split=split or "val", scene=scene)
    if is_shape_run(folder):
        if frame is not None or pixel is not None:
            raise ValueError(f"{folder} is a run on shapes: give --scene, not --frame")
        return visualize_shapes(folder, checkpoint=checkpoint, split=split or "val", shape=scene)
    if scene:
        raise ValueError(f"{folder} is a pretraining run, of frames: give --frame, not --scene")
    return _visualize_pretraining(folder, checkpoint, frame, pixel, split or "held_out")


def _visualize_pretraining(
    folder: str | Path,
    checkpoint: str | Path | None,
    frame: int | None,
    pixel: tuple[float, float] | None,
    split: str,
) -> Path:
    config, parts = load_run(folder, path=checkpoint)
    if not shows_pixel_point(parts.method):
        if frame is not None or pixel is not None:
            raise ValueError(
                f"{folder} is of method {config.method.name}, of which there are no pictures of "
                "frames; leave out --frame and --pixel"
            )
        return _report_plainly(Path(folder), config, parts, split)
    device = next(parts.method.parameters()).device
    dataset: Any = parts.method.evaluation_frames(config.data, split, config.seed)
    number = len(dataset) // 2 if frame is None else frame
    if not 0 <= number < len(dataset):
        raise ValueError(f"frame {number} is not in split {split!r}, which has {len(dataset)}")
    sample: Batch = dataset[number]
    scan, original = _frame_of(dataset, sample)
    batch = parts.method.collate([sample]).to(device)
    before = untrained(config, device).method
    pictures = figures(parts.method, before, batch, original, scan.up, pixel)

    out = Path(folder) / "report"
    out.mkdir(exist_ok=True)
    records = read_records(Path(folder) / "metrics.jsonl")
    if records:
        curve = loss_curve(records, levels=_guessing(config, records))
        pictures["loss"] = Figure(curve, "Contrastive loss of the training batches.", "Training")
    for name, figure in pictures.items():
        save_png(out / f"{name}.png", figure.picture)
    write_feature_clouds(out, parts.method, batch)
    result = frame_result(
        parts.method, batch, scan.up if scan.up is not None else up_of([original])
    )
    write_viewer(out / "viewer.html", result)
    report = Report(
        title=f"pcpt: {Path(folder).name}",
        summary=_SUMMARY.format(frames=frames_of(split) + _KNOWN.get(split, "")),
        links={"Open this frame in the viewer: click a point for what is like it": "viewer.html"},
        facts=_facts(config, parts, records) | {"frame shown": sample.names[0]},
        parts=[*_tables(Path(folder), split), *pictures.values()],
        config=to_yaml(config),
    )
    return write_report(out / "index.html", report)


def _report_plainly(folder: Path, config: RunConfig, parts: Parts, split: str) -> Path:
    """The report of a run of which there is nothing to draw but its loss."""
    records = read_records(folder / "metrics.jsonl")
    pictures = []
    if records:
        caption = "Loss of the training batches."
        pictures.append(Figure(loss_curve(records), caption, "Training"))
        save_png(folder / "report" / "loss.png", pictures[0].picture)
    report = Report(
        title=f"pcpt: {folder.resolve().name}",
        summary=_PLAIN.format(method=config.method.name),
        facts=_facts(config, parts, records),
        parts=[*_tables(folder, split), *pictures],
        config=to_yaml(config),
    )
    return write_report(folder / "report" / "index.html", report)


def _frame_of(dataset: Any, sample: Batch) -> tuple[Any, Frame]:
    # both names may hold slashes, too
    scan, name = next(
        (scan, name)
        for scan, names in zip(dataset.scans, dataset.names)
        for name in names
        if f"{scan.name}/{name}" == sample.names[0]
    )
    return scan, scan.load(name)


def _guessing(config: RunConfig, records: list[dict[str, Any]]) -> dict[str, float]:
    """The loss of picking a pixel at random: pairs are counted over the passes of a step and all
    processes, but each is contrasted within its pass, and with other processes only where asked."""
    last = records[-1]
    batches = last["num_samples"] / config.train.batch_size  # of all passes and processes
    gathered = getattr(config.method, "gather_negatives", False)
    candidates = last.get("num_pairs", 0) / (config.train.accumulate if gathered else batches)
    return {"guessing": math.log(candidates)} if candidates > 1 else {}


def _facts(config: RunConfig, parts: Parts, records: list[dict[str, Any]]) -> dict[str, Cell]:
    facts: dict[str, Cell] = {
        "teacher": config.teacher.name if config.teacher is not None else None,
        "student parameters": f"{sum(p.numel() for p in parts.student.parameters()) / 1e6:.2f} M",
    }
    if records:
        facts |= {"steps": records[-1]["step"], "final loss": records[-1]["loss"]}
    return facts


def _tables(folder: Path, split: str) -> list[Table]:
    """What ``pcpt test`` wrote, if it was of this split and the method has figures."""
    try:
        metrics = read_metrics(folder)
    except FileNotFoundError:
        return []
    if metrics.get("split") != split or not metrics["trained"]:
        return []
    in_percent = metrics.get("in_percent", True)
    rows = comparison({n: metrics[n] for n in ("untrained", "trained")}, in_percent=in_percent)
    caption = _RETRIEVAL if "num_candidates" in metrics["trained"] else ""
    title = frames_of(split).capitalize()
    shown = {name: dict(row) for name, row in rows.items()}
    return [Table(shown, caption, title, ".1f" if in_percent else ".4g")]
