"""Detection through the commands that every run goes through: train, resume, test."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt import cli
from pcpt.config import make_config
from pcpt.engine.run import train
from tests.tasks import box_scenes

TASKS = {
    "detection": {"strides": [2, 4], "limits": [0.8], "channels": 16},
    "votenet": {"seeds": 64, "proposals": 16, "bn_momentum": 0.5, "bn_halving": 4},
}


def tree(folder: Path, task: str, **train_keys: Any) -> dict[str, Any]:
    return {
        "run": str(folder),
        "imports": [box_scenes.__file__],
        "task": {"name": task, "oriented": True} | TASKS[task],
        "student": {
            "name": "sparse_unet",
            "variant": "small",
            "planes": [16] * 8,
            "out_channels": 0,
            "voxel_size": 0.1,
        },
        "data": {
            "source": {"name": "toy_boxes", "oriented": True},
            "splits": {"train": {}, "val": {"count": 1}},
            "augment": {"rotate": 30.0},
        },
        "train": {"steps": 4, "batch_size": 2, "threads": 1} | train_keys,
        "device": "cpu",
    }


@pytest.mark.parametrize("task", TASKS)
def test_trains_resumes_and_tests(task: str, tmp_path: Path) -> None:
    train(make_config(tree(tmp_path / "whole", task)))
    halves = make_config(tree(tmp_path / "halves", task, checkpoint_every=2))
    train(halves)
    (tmp_path / "halves" / "checkpoints" / "step_00000004.pt").unlink()
    train(halves, resume="auto")
    names = [tmp_path / run / "checkpoints" / "step_00000004.pt" for run in ("whole", "halves")]
    one, two = (torch.load(name, weights_only=True)["method"] for name in names)
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)

    assert cli.main(["test", str(tmp_path / "whole"), "--split", "val"]) == 0
    record = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert record["task"] == task
    assert record["figures"]["num_scenes"] == 1 and record["figures"]["num_targets"] == 4
    assert {"mAP@.25", "mAP@.5", "AP@.25/chair", "mAR@.5"} <= set(record["figures"])
    logs = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").open()]
    assert all(row["num_dropped_boxes"] == 0 for row in logs if "num_boxes" in row)
