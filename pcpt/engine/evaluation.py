"""Scores a trained run on frames it has not seen, beside the same network untrained."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pcpt.config import RunConfig
from pcpt.data.batch import Batch
from pcpt.data.json_object import read_json
from pcpt.data.skips import SkipLog
from pcpt.data.write_json import write_json
from pcpt.engine.data_record import scan_identities
from pcpt.engine.labelled import labelled_names
from pcpt.engine.provenance import provenance, warnings
from pcpt.engine.run import Parts, build, load_run, prepare
from pcpt.engine.whole_samples import whole_samples
from pcpt.methods.base import Method
from pcpt.methods.shapes import ShapeMethod

# Training batches on which an untrained network's batch norm statistics are set.
WARM_UP_BATCHES = 8
_CHANCE = "chance/"
_OWN_CHANCE = ("in_frame", "cross_view", "pictures")  # groups of figures that chance differs for
_FRAMES = {
    "held_out": "held-out frames",
    "train": "training frames",
    "all": "frames, those of training among them",
}


def held_out_batches(
    config: RunConfig, method: Method, skips: SkipLog, split: str = "held_out"
) -> Iterator[Batch]:
    """Every whole frame or shape of a split once, one a batch, on the device, unaugmented."""
    dataset: Any = (
        method.evaluation_set(config.data, split)
        if isinstance(method, ShapeMethod)
        else method.evaluation_frames(config.data, split, config.seed)
    )
    yield from whole_samples(dataset, method, next(method.parameters()).device, skips)


def untrained(config: RunConfig, device: torch.device) -> Parts:
    """The run before its first step, with batch norm statistics of training frames.

    Without these an untrained network would be worse than it has to be, and the gain flattered.
    """
    parts = build(config, device)
    prepare(config, parts, device)
    dataset: Any = parts.method.make_dataset(config.data, "train", config.seed)
    size = config.train.batch_size
    parts.method.train()
    with torch.no_grad():
        for first in range(0, WARM_UP_BATCHES * size, size):
            samples = [dataset[number] for number in range(first, first + size)]
            parts.method(parts.method.collate(samples).to(device))
    parts.method.eval()
    return parts


def evaluate_run(
    folder: str | Path, *, checkpoint: str | Path | None = None, split: str = ""
) -> dict[str, dict[str, float]]:
    """Figures of a run and of the same network untrained; writes ``metrics.json`` into the run.

    Args:
        folder: of the run.
        checkpoint: None takes the newest whole one.
        split: by default the method's: "held_out" of frames, "val" of shapes; "train" shows how
            much is memory.

    Returns:
        Figures by name for "trained" and "untrained".

    Raises:
        FileNotFoundError: no run or no checkpoint there.
        ValueError: the checkpoint does not fit, or the split holds no frames.
    """
    config, parts = load_run(folder, path=checkpoint)
    split = split or parts.method.evaluation_split
    device = next(parts.method.parameters()).device
    skips = SkipLog()
    figures = {}
    for name, method in (
        ("untrained", untrained(config, device).method),
        ("trained", parts.method),
    ):
        figures[name] = dict(method.evaluate(held_out_batches(config, method, skips, split)))
    if skips.count:
        print(skips.summary())
    teacher = config.teacher.name if config.teacher is not None else None
    record = {
        "split": split,
        "seed": config.seed,
        "teacher": teacher,
        "in_percent": parts.method.in_percent,
        **figures,
    }
    if isinstance(parts.method, ShapeMethod):
        scored = scan_identities(parts.method.evaluation_set(config.data, split))
        labelled = labelled_names(config)
        record |= provenance(config, Path(folder), split, scored, labelled)
        record |= {"figures": figures["trained"], "protocol": parts.method.protocol}
    write_json(Path(folder) / "metrics.json", record)
    return figures


def read_metrics(folder: str | Path) -> dict[str, Any]:
    """What ``evaluate_run`` or ``evaluate_task`` wrote, with NaN for figures that have no value;
    raises ``FileNotFoundError`` where it has not run."""
    path = Path(folder) / "metrics.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; run tools/test.py {folder} first")
    metrics: dict[str, Any] = read_json(path)
    for name in ("untrained", "trained", "figures"):
        figures = metrics.get(name, {})
        figures |= {key: math.nan for key, value in figures.items() if value is None}
    return metrics


def figures_of_split(folder: Path, split: str) -> dict[str, Any]:
    """The figures that ``pcpt test`` wrote of a task's run, if they were of this split."""
    try:
        metrics = read_metrics(folder)
    except FileNotFoundError:
        return {}
    return metrics.get("figures", {}) if metrics.get("split") == split else {}


def comparison(
    figures: Mapping[str, Mapping[str, float]], *, in_percent: bool = True
) -> dict[str, dict[str, float | None]]:
    """Rows by figure name, columns chance (where any figure has one) and then the keys of
    ``figures``; shares in percent, or what is no share as it is."""
    factor = 100 if in_percent else 1
    first = next(iter(figures.values()))
    rows: dict[str, dict[str, float | None]] = {}
    for name in first:
        if _CHANCE in name or "num_" in name:
            continue
        rows[name] = {}
        if in_percent:
            chance = first.get(_chance_of(name))
            rows[name]["chance"] = None if chance is None else 100 * chance
        rows[name] |= {k: factor * f[name] for k, f in figures.items() if name in f}
    return rows


def _chance_of(name: str) -> str:
    """in_frame/pixel_to_point/recall@1 -> in_frame/chance/recall@1"""
    first, last = name.partition("/")[0], name.rpartition("/")[2]
    return f"{first}/{_CHANCE}{last}" if first in _OWN_CHANCE else _CHANCE + last


def print_comparison(
    figures: Mapping[str, Mapping[str, float]],
    title: str,
    leave_out: Sequence[str] = (),
    *,
    in_percent: bool = True,
) -> None:
    """Prints ``comparison`` as a table, without the rows whose names begin with ``leave_out``."""
    rows = comparison(figures, in_percent=in_percent)
    table = Table(title=title, title_justify="left")
    table.add_column("percent" if in_percent else "figure")
    columns = [*(["chance"] if in_percent else []), *figures]
    for column in columns:
        table.add_column(column, justify="right")
    number = ".1f" if in_percent else ".4g"
    for name, row in rows.items():
        if not name.startswith(tuple(leave_out)):
            cells = [row.get(column) for column in columns]
            table.add_row(name, *("-" if value is None else f"{value:{number}}" for value in cells))
    Console().print(table)


def print_summary(folder: str | Path) -> None:
    """Prints the main rows of what ``evaluate_run`` wrote of a run, if it has been evaluated."""
    try:
        metrics = read_metrics(folder)
    except FileNotFoundError:
        return
    figures = {name: metrics[name] for name in ("untrained", "trained")}
    if not figures["trained"]:
        print(_no_figures(folder))
        return
    details = ("point_to_pixel", "in_frame", "cross_view/projected")
    in_percent = metrics.get("in_percent", True)
    title = _counted(figures["trained"], metrics["split"])
    print_comparison(figures, title, details, in_percent=in_percent)


def frames_of(split: str) -> str:
    """What the frames of a split are called: whoever shows figures of them must not claim more."""
    return _FRAMES.get(split, f"frames of split {split}")


def _counted(figures: Mapping[str, float], split: str) -> str:
    """What was scored, for a title."""
    if "num_shapes" in figures:
        return f"{figures['num_shapes']:.0f} shapes of split {split}"
    what = frames_of(split)
    return f"{figures['num_frames']:.0f} {what}" if "num_frames" in figures else what


def _no_figures(folder: str | Path) -> str:
    return f"{folder}: no figures: evaluate(batches) of its method returns none, see docs/extend.md"


def report_runs(folders: Sequence[str | Path], **options: Any) -> None:
    """Evaluates runs and prints them side by side; the first one's untrained network is shown."""
    columns: dict[str, Mapping[str, float]] = {}
    scored: list[str | Path] = []
    for folder in folders:
        figures = evaluate_run(folder, **options)
        if not figures["trained"]:
            print(_no_figures(folder))
            continue
        scored.append(folder)
        columns.setdefault("untrained", figures["untrained"])
        name = "trained" if len(folders) == 1 else Path(folder).resolve().name
        columns[str(folder) if name in columns else name] = figures["trained"]
    if scored:
        metrics = read_metrics(scored[0])
        first = next(iter(columns.values()))
        title = _counted(first, metrics["split"])
        if "num_candidates" in first:
            title += f", {first['num_candidates']:,.0f} candidates"
        print_comparison(columns, title, in_percent=metrics.get("in_percent", True))
    for folder in scored:
        found = read_metrics(folder).get("pretraining")  # of methods on single shapes
        for text in warnings(found) if found else ():
            Console().print(f"{folder}: {text}")
