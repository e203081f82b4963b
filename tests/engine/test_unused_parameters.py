"""Distributed training of networks of which some parameters get no gradient."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt.config import RunConfig, make_config
from pcpt.engine.checkpoint import checkpoint_path, load_checkpoint
from pcpt.engine.run import build, train
from tests.engine.test_distributed import run_on_two_ranks
from tests.methods.test_i2p_mae import run_config
from tests.tasks.test_detection_runs import tree

# What is trained, of which parameter nobody reads, and of which it is.
CASES = {
    "i2p_mae": ("student.norms.0.weight", "student.norms.2.weight"),
    "plain": ("student.norms.0.weight", "student.norms.2.weight"),
    "classification": ("student.norms.0.weight", "student.norms.2.weight"),
    "segmentation": ("student.final.weight", "head.weight"),
    "detection": ("student.decoder.3.up.conv.weight", "student.stem.conv.weight"),
}
PLAIN = {"masking": {"guided": False}, "targets": {"images": False}}


def config_of(what: str, run: Path) -> RunConfig:
    changes: dict[str, Any] = {"train": {"steps": 3, "batch_size": 2, "accumulate": 2}}
    if what == "i2p_mae":
        return run_config(run, **changes)
    if what == "plain":
        return run_config(run, method={"name": "i2p_mae", **PLAIN}, teacher=None, **changes)
    if what in ("segmentation", "detection"):
        scenes = tree(run, "detection", accumulate=2, checkpoint_every=3)
        scenes["train"]["steps"] = 3
        scenes["student"]["out_channels"] = 8
        scenes["task"] |= {"pooled": False}
        if what == "segmentation":
            scenes["task"] = {"name": "segmentation"}
        return make_config(scenes)
    config = run_config(run, **changes)
    return make_config(
        {
            "run": str(run),
            "device": "cpu",
            "task": {"name": "classification", "hidden": [8]},
            "student": {"name": "point_mae", **vars(config.student)},
            "data": {
                "source": {"name": "procedural_shapes", "per_class": 2, "surface_points": 96},
                "num_points": 96,
                "splits": {"val": {"split": "val"}},
            },
            "optim": {"lr": 1e-3},
            "train": {**changes["train"], "checkpoint_every": 3},
        }
    )


def _train(rank: int, what: str, run: Path) -> None:
    assert train(config_of(what, run)).step == 3


@pytest.mark.parametrize("what", CASES)
def test_two_ranks_train_a_network_with_a_layer_that_nobody_reads(
    tmp_path: Path, what: str
) -> None:
    run_on_two_ranks(_train, what, tmp_path)
    trained = load_checkpoint(checkpoint_path(tmp_path, 3))["method"]
    first = build(config_of(what, tmp_path)).method.state_dict()
    unread, read = CASES[what]
    assert torch.equal(trained[unread], first[unread])  # no gradient, so not even decay
    assert not torch.equal(trained[read], first[read])
