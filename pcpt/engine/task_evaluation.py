"""Scores a task's run on the scenes of a split."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pcpt.config import load_config
from pcpt.data.files import scan_names
from pcpt.data.skips import SkipLog
from pcpt.data.write_json import write_json
from pcpt.engine.checkpoint import load_checkpoint, newest_whole, restore_module
from pcpt.engine.data_record import scan_identities
from pcpt.engine.labelled import labelled_names
from pcpt.engine.provenance import provenance, warnings
from pcpt.engine.run import load_run
from pcpt.engine.selection import SPLIT, check_selects, select_checkpoint
from pcpt.engine.whole_samples import whole_samples
from pcpt.metrics.segmentation import segmentation_figures
from pcpt.tasks.test_time import Views, check_averages, evaluate_averaged, export_averaged


def is_task_run(folder: str | Path) -> bool:
    """Whether a run folder holds a task's run rather than a pretraining one.

    Raises:
        FileNotFoundError: no run there.
    """
    return load_config([Path(folder) / "config.yaml"]).task is not None


def evaluate_task(
    folder: str | Path,
    *,
    checkpoint: str | Path | None = None,
    split: str = "val",
    views: Views | None = None,
    export: str | Path | None = None,
    best: bool = False,
) -> dict[str, Any]:
    """Figures of a task's run on whole, unchanged scenes; writes ``metrics.json`` into the run.

    Args:
        folder: of the run.
        checkpoint: None takes the newest whole one.
        split: val, test or train.
        views: of test-time augmentation, whose figures then stand beside the others as ``tta/...``.
        export: folder to write the predictions to in the benchmark's format, with ``views`` their
            mean; None writes none.
        best: of the checkpoints that the run has kept also score the one that does best on the
            validation split; its figures then stand beside the last one's as ``best/...``.

    Returns:
        What ``metrics.json`` holds: ``figures``, ``protocol``, and what ``provenance`` says they
        come with; with views ``tta_protocol`` too, with ``best`` ``selection``, and ``skipped``
        where scenes or images were broken.

    Raises:
        FileNotFoundError: no run or no checkpoint there.
        ValueError: the checkpoint does not fit, the split holds no scenes, views of another task
            than semantic segmentation, or no format to export to.
    """
    loaded = Path(checkpoint) if checkpoint else newest_whole(Path(folder))
    config, parts = load_run(folder, path=loaded)
    task: Any = parts.method
    device = next(task.parameters()).device
    scenes = task.evaluation_set(config.data, split)
    opened = {split: scenes}
    skips = SkipLog()

    def batches(of: str = split) -> Iterator[Any]:
        return whole_samples(opened[of], task, device, skips)

    # what cannot be done is said before hours are spent
    if views is not None:
        check_averages(task)
    if best:
        check_selects(task)
        if SPLIT not in opened:
            opened[SPLIT] = task.evaluation_set(config.data, SPLIT)
        selection = select_checkpoint(task, Path(folder), batches)
        assert loaded is not None  # or load_run would have raised
        restore_module(task, load_checkpoint(loaded)["method"], loaded)
    if export is not None:
        _export(task, batches(), views, Path(export))
    labelled = labelled_names(config)
    record: dict[str, Any] = {
        "figures": dict(task.evaluate(batches())),
        **provenance(config, Path(folder), split, scan_identities(scenes), labelled),
        "protocol": task.protocol,
    }
    if views is not None:
        record["tta_protocol"] = views.protocol
        averaged = evaluate_averaged(task, batches(), views)
        record["figures"] |= {f"tta/{name}": value for name, value in averaged.items()}
    if best:
        record["selection"] = selection.record()
        restore_module(task, load_checkpoint(selection.path)["method"], selection.path)
        record["figures"] |= {f"best/{k}": v for k, v in task.evaluate(batches()).items()}
    if skips.count:
        record["skipped"] = skips.reasons
        print(skips.summary())
    write_json(Path(folder) / "metrics.json", record)
    return record


def _export(task: Any, batches: Iterator[Any], views: Views | None, folder: Path) -> None:
    if not hasattr(task, "export"):
        raise ValueError(f"{type(task).__name__} has no benchmark format to export to {folder}")
    for batch in batches:
        if views is None:
            task.export(batch, folder)
        else:
            export_averaged(task, batch, views, folder)


def report_task_runs(
    folders: Sequence[str | Path],
    *,
    checkpoint: str | None,
    split: str,
    views: Views | None = None,
    export: str | None = None,
    pool: str | None = None,
    best: bool = False,
) -> dict[str, dict[str, Any]]:
    """Evaluates task runs and prints their figures side by side; arguments as ``evaluate_task``.

    Args:
        pool: file for the figures over the points of all runs' splits together, as k-fold
            protocols have it: see ``pooled``. They are printed too.
    """
    folders = list({Path(folder).resolve(): folder for folder in folders}.values())
    records = {
        str(folder): evaluate_task(
            folder, checkpoint=checkpoint, split=split, views=views, export=export, best=best
        )
        for folder in folders
    }
    columns = dict(zip(_titles(folders), [record["figures"] for record in records.values()]))
    if pool is not None:
        columns["pooled"] = pooled([record["figures"] for record in records.values()])
        runs = _titles(folders)
        write_json(Path(pool), {"runs": runs, "split": split, "figures": columns["pooled"]})
    _print(columns, split)
    for name, record in records.items():
        for text in warnings(record["pretraining"]):
            Console().print(f"{name}: {text}")
    return records


def _titles(folders: Sequence[str | Path]) -> list[str]:
    """Names of the runs; where two folders have the same, the shortest ends that differ."""
    return scan_names([Path(folder) for folder in folders])


def pooled(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Segmentation figures over the points of several evaluations counted together, such as the six
    folds of S3DIS: confusion matrices are added before any IoU is taken.

    Raises:
        ValueError: figures of another task, or of different classes.
    """
    classes = [[key for key in of_run if key.startswith("points/iou/")] for of_run in figures]
    if any(keys != classes[0] for keys in classes) or not all(
        "points/confusion" in f for f in figures
    ):
        raise ValueError("only segmentation runs of the same classes can be pooled")
    confusion = torch.stack([torch.tensor(f["points/confusion"]) for f in figures]).sum(0)
    names = [key.removeprefix("points/iou/") for key in classes[0]]
    of_all = segmentation_figures(confusion, names)
    return {f"points/{key}": value for key, value in of_all.items()} | {
        "points/confusion": confusion.tolist()
    }


def _print(columns: Mapping[str, Mapping[str, Any]], split: str) -> None:
    table = Table(title=f"split {split}, percent", title_justify="left")
    table.add_column("figure")
    for name in columns:
        table.add_column(name, justify="right")
    for name, value in next(iter(columns.values())).items():
        if isinstance(value, float):
            cells = [f"{100 * figures.get(name, float('nan')):.1f}" for figures in columns.values()]
            table.add_row(name, *cells)
    Console().print(table)
