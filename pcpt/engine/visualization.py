"""The report of a run: figures, pictures of held-out frames, loss curve, configuration."""

import math
from pathlib import Path
from typing import Any

from pcpt.config import RunConfig, to_yaml
from pcpt.data.batch import Batch
from pcpt.data.dataset import up_of
from pcpt.data.frame import Frame
from pcpt.engine.evaluation import comparison, read_metrics, untrained
from pcpt.engine.loggers import read_records
from pcpt.engine.run import load_run
from pcpt.engine.shape_visualization import is_shape_run, visualize_shapes
from pcpt.engine.task_evaluation import is_task_run
from pcpt.engine.task_visualization import visualize_task
from pcpt.viz import Figure, Report, Table, loss_curve, save_png, write_report
from pcpt.viz.pixel_point import figures, frame_result, write_feature_clouds
from pcpt.viz.viewer import write_viewer

_SUMMARY = (
    "A 3D network learnt from a frozen image network to give each point the embedding of its "
    "pixel, without a single label. Everything below is measured or drawn on frames it was not "
    "trained on."
)


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
        split: "held_out" (the default) or "train"; of a task's run or one on shapes val (the
            default), test or train.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: no run or no checkpoint there.
        ValueError: no such frame, scene or split, or a frame asked for of a task's run.
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
    device = next(parts.method.parameters()).device
    dataset: Any = parts.method.make_dataset(config.data, split, config.seed)
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
        pictures["loss"] = Figure(
            loss_curve(records, levels=_guessing(records)),
            "Contrastive loss of the training batches.",
            "Training",
        )
    for name, figure in pictures.items():
        save_png(out / f"{name}.png", figure.picture)
    write_feature_clouds(out, parts.method, batch)
    result = frame_result(
        parts.method, batch, scan.up if scan.up is not None else up_of([original])
    )
    write_viewer(out / "viewer.html", result)
    report = Report(
        title=f"pcpt: {Path(folder).name}",
        summary=_SUMMARY,
        links={"Open this frame in the viewer: click a point for what is like it": "viewer.html"},
        facts=_facts(config, parts, records) | {"frame shown": sample.names[0]},
        parts=[*_tables(Path(folder)), *pictures.values()],
        config=to_yaml(config),
    )
    return write_report(out / "index.html", report)


def _frame_of(dataset: Any, sample: Batch) -> tuple[Any, Frame]:
    scan_name, _, frame_name = sample.names[0].rpartition("/")
    scan = next(s for s in dataset.scans if s.name == scan_name)
    return scan, scan.load(frame_name)


def _guessing(records: list[dict[str, Any]]) -> dict[str, float]:
    pairs = records[-1].get("num_pairs", 0)
    return {"guessing": math.log(pairs)} if pairs > 1 else {}


def _facts(
    config: RunConfig, parts: Any, records: list[dict[str, Any]]
) -> dict[str, str | int | float | None]:
    facts: dict[str, str | int | float | None] = {
        "teacher": config.teacher.name if config.teacher is not None else None,
        "student parameters": f"{sum(p.numel() for p in parts.student.parameters()) / 1e6:.2f} M",
    }
    if records:
        facts |= {"steps": records[-1]["step"], "final loss": records[-1]["loss"]}
    return facts


def _tables(folder: Path) -> list[Table]:
    try:
        metrics = read_metrics(folder)
    except FileNotFoundError:
        return []
    rows = comparison({name: metrics[name] for name in ("untrained", "trained")})
    return [
        Table(
            {name: dict(row) for name, row in rows.items()},
            "Percent. Recall@k: the partner is among the k most similar of 1,024 candidates, from "
            "all frames or from the same one (in_frame); within_10cm: the most similar lies that "
            "near to the true one; cross_view: the same place found again in another frame by the "
            "student's features alone, and by bare colours as control.",
            "Held-out frames",
            ".1f",
        )
    ]
