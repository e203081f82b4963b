"""What a figure must come with, so that it can be trusted and repeated: the part of
``metrics.json`` of a task's run beside its figures."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pcpt.config import RunConfig, to_tree
from pcpt.data.json_object import parse_json
from pcpt.data.limited import LimitConfig, labelled_hash
from pcpt.data.scan_identity import find_overlap, identities_hash
from pcpt.engine.data_record import DataRecord, beyond_note, read_record
from pcpt.engine.folder import environment
from pcpt.engine.init import INIT_FILE
from pcpt.tasks.frozen_shapes import FrozenShapesConfig

# How serious a verdict on leaks is; the worst one counts.
_VERDICTS = ("no", "unknown", "possible", "yes")


def provenance(
    config: RunConfig, folder: Path, split: str, scored: Sequence[str], labelled: Sequence[str]
) -> dict[str, Any]:
    """Everything but the figures.

    Args:
        config: of the run.
        folder: of the run.
        split: that it is scored on.
        scored: identities of the scans of that split, see ``pcpt.data.scan_identity``.
        labelled: names of the scenes whose labels it was trained on.

    Returns:
        ``task`` (of a run without one the method), ``probe``, ``split``, ``split_hash`` and
        ``split_scans`` (their number),
        ``labelled`` (scenes, points, seed) and ``labelled_hash``, ``init`` (source, kind, hash of
        the weights), ``pretraining`` (see there), ``voxel_size``, ``seed``, ``commit``,
        ``environment`` and ``config``.
    """
    record = read_record(folder) or DataRecord(unknown=("no data.json in the run folder",))
    facts = environment()
    return {
        "task": (config.task or config.method).name,
        "probe": _probe(config),
        "split": split,
        "split_hash": identities_hash(scored),
        "split_scans": len(scored),
        "labelled": _labelled(config, labelled),
        "labelled_hash": _labelled_hash(config, labelled),
        "init": _init(folder),
        "pretraining": pretraining(record, split, scored),
        "voxel_size": getattr(config.student, "voxel_size", None),
        "seed": config.seed,
        "commit": facts["git_commit"],
        "environment": {key: facts[key] for key in ("pcpt", "python", "torch", "cpu", "threads")},
        "config": to_tree(config),
    }


def _probe(config: RunConfig) -> str:
    """ "last" or "all" for a linear probe and the like, "full" where the network is trained too."""
    if config.task is None:
        return "full"
    frozen = config.task.name.endswith("probe") or isinstance(config.task, FrozenShapesConfig)
    if not frozen or getattr(config.task, "classifier", "") == "finetune":
        return "full"
    return str(getattr(config.task, "levels", "last"))


def _labelled(config: RunConfig, names: Sequence[str]) -> dict[str, Any]:
    """How much was labelled: scenes, points of each (0 for all), and the seed that drew them."""
    limit = getattr(config.data, "limit", None)
    return {
        "scenes": len(names),
        "points": getattr(limit, "points", 0),
        "seed": getattr(limit, "seed", getattr(config.data, "limit_seed", 0)),
    }


def _labelled_hash(config: RunConfig, names: Sequence[str]) -> str:
    limit = getattr(config.data, "limit", None)
    if not isinstance(limit, LimitConfig):  # nothing but the names is limited
        return identities_hash(names)[:16]
    return labelled_hash(names, limit)


def _init(folder: Path) -> dict[str, Any] | None:
    """Where the first weights came from, as ``init.json`` tells; None for random ones."""
    path = folder / INIT_FILE
    if not path.is_file():
        return None
    content = path.read_bytes()
    report = parse_json(content, path)
    known = {key: report[key] for key in ("source", "kind", "sha256", "origin") if key in report}
    return {"source": Path(str(known.pop("source", ""))).name, **known} | {
        "report_hash": hashlib.sha256(content).hexdigest()[:16]
    }


def pretraining(record: DataRecord, split: str, scored: Sequence[str]) -> dict[str, Any]:
    """What the weights had seen before, and whether that was what they are scored on.

    Args:
        record: of the run.
        split: that it is scored on.
        scored: identities of its scans.

    Returns:
        ``hash`` over the scans of all stages before this run, ``stages``, ``unknown``, ``overlap``
        ("no", "possible", "yes", or "unknown" where nobody recorded the data of some weights),
        ``overlapping``, the scans concerned, and ``labelled_beyond``, the number of scans whose
        labels a stage before had seen and this run had not. Labels that the run itself was trained
        on count in the overlap, unless it is the training split that it is scored on.
    """
    before = record.before()
    overlap = find_overlap(before.scans, scored)
    found = [overlap.verdict, "unknown" if before.unknown else "no"]
    scans = list(overlap.scans)
    if split != "train":
        own = find_overlap(record.own().scans, scored)
        found.append(own.verdict)
        scans += own.scans
    return {
        "hash": before.hash(),
        "stages": [
            {
                "through": s.through,
                "source": s.source,
                "num_scans": len(s.scans),
                "num_labelled": None if s.labelled is None else len(s.labelled),
            }
            for s in before.seen
        ],
        "unknown": list(before.unknown),
        "overlap": max(found, key=_VERDICTS.index),
        "overlapping": sorted(set(scans)),
        "labelled_beyond": len(record.labelled_beyond()),
    }


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What a reader of figures must be told of what ``pretraining`` found; often nothing."""
    texts = []
    if found["overlap"] in ("yes", "possible"):
        scans = found["overlapping"]
        shown = ", ".join(map(str, scans[:3])) + (", ..." if len(scans) > 3 else "")
        texts.append(
            f"leak ({found['overlap']}): the weights had seen {len(scans)} of the scans they are "
            f"scored on: {shown}"
        )
    if note := beyond_note(found["labelled_beyond"]):
        texts.append(note)
    return texts
