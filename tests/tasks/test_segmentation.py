import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt import cli
from pcpt.config import RunConfig, load_config, make_config
from pcpt.data.scene_batch import collate_scenes
from pcpt.data.scene_dataset import to_sample
from pcpt.engine.run import build, train
from pcpt.engine.task_evaluation import evaluate_task, pooled
from pcpt.tasks.segmentation import Segmentation, voxel_labels
from tests.data import labelled_scenes
from tests.data.labelled_scenes import blocks

SMALL = [16, 16, 16, 16, 16, 16, 16, 16]


def tree(folder: Path, **train_keys: Any) -> dict[str, Any]:
    return {
        "run": str(folder),
        "imports": [labelled_scenes.__file__],
        "task": {"name": "segmentation", "lovasz": 1.0, "label_smoothing": 0.1},
        "student": {
            "name": "sparse_unet",
            "variant": "small",
            "planes": SMALL,
            "out_channels": 0,
            "voxel_size": 0.1,
        },
        "data": {
            "source": {"name": "toy_blocks", "points": 400},
            "splits": {"train": {}, "val": {"first": 50, "count": 2}},
            "augment": {"rotate": 10.0, "translate": 0.3},
        },
        "optim": {"lr": 1e-2},
        "train": {"steps": 30, "batch_size": 2, "threads": 1} | train_keys,
        "device": "cpu",
    }


def config(folder: Path, **train_keys: Any) -> RunConfig:
    return make_config(tree(folder, **train_keys))


def test_it_learns_what_a_colour_tells(tmp_path: Path) -> None:
    train(config(tmp_path / "run", steps=60))
    record = evaluate_task(tmp_path / "run")
    assert record["figures"]["points/miou"] > 0.6
    assert record["figures"]["voxels/miou"] > 0.6
    assert record["split"] == "val" and record["figures"]["num_scenes"] == 2
    assert cli.main(["test", str(tmp_path / "run"), "--split", "train"]) == 0
    with pytest.raises(ValueError, match=r"data\.splits names no 'test'"):
        evaluate_task(tmp_path / "run", split="test")


def test_folds_are_pooled_by_their_points(tmp_path: Path) -> None:
    runs = [str(tmp_path / name) for name in ("a", "b")]
    for number, run in enumerate(runs):
        values = tree(Path(run), steps=2)
        values["data"]["splits"]["val"]["count"] = 1 + number
        train(make_config(values | {"seed": number}))
    together = tmp_path / "pooled.json"
    assert cli.main(["test", *runs, "--pool", str(together)]) == 0
    figures = json.loads(together.read_text())["figures"]
    folds = [json.loads((Path(run) / "metrics.json").read_text())["figures"] for run in runs]
    total = sum(torch.tensor(fold["points/confusion"]) for fold in folds)
    assert figures["points/confusion"] == total.tolist()
    hits = total.diagonal()
    union = total.sum(1) + total[:, :-1].sum(0) - hits
    assert figures["points/miou"] == pytest.approx((hits / union).mean().item(), abs=1e-6)
    with pytest.raises(ValueError, match="same classes"):
        pooled([folds[0], {"mAP@.25": 0.5}])


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    train(config(tmp_path / "whole", steps=6))
    train(config(tmp_path / "halves", steps=6, checkpoint_every=3))
    (tmp_path / "halves" / "checkpoints" / "step_00000006.pt").unlink()
    train(config(tmp_path / "halves", steps=6, checkpoint_every=3), resume="auto")
    names = [tmp_path / run / "checkpoints" / "step_00000006.pt" for run in ("whole", "halves")]
    one, two = (torch.load(name, weights_only=True)["method"] for name in names)
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_dry_run_prints_the_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(tree(tmp_path / "run")))
    assert cli.main(["train", str(path), "--dry-run"]) == 0
    assert "task segmentation" in capsys.readouterr().out
    resolved = load_config([path])
    assert resolved.method is None and resolved.teacher is None


def test_a_task_and_a_method_are_one_too_many(tmp_path: Path) -> None:
    for section in ("method", "teacher"):
        with pytest.raises(ValueError, match=f"take out task or {section}"):
            make_config(tree(tmp_path) | {section: {"name": "ppkt"}})


@pytest.mark.parametrize("key", ["label_smoothing", "dropout"])
def test_shares_that_cannot_be(key: str) -> None:
    for value in (-0.1, 1.5):
        with pytest.raises(ValueError, match=rf"task\.{key} is {value}, expected a share"):
            Segmentation.Config(**{key: value})  # type: ignore[arg-type]


def test_frames_are_no_scenes(tmp_path: Path) -> None:
    values = tree(tmp_path)
    values["data"]["source"] = {"name": "folder", "roots": [str(tmp_path)]}
    values["data"]["splits"] = {"train": {}}
    with pytest.raises((ValueError, FileNotFoundError)):
        build(make_config(values))


def test_batches_without_labels_or_points(tmp_path: Path) -> None:
    task: Any = build(config(tmp_path)).method
    sample = to_sample(blocks("a", 0, points=100))
    bare = replace(sample, semantic=torch.full_like(sample.semantic, -1))
    output = task(bare)
    assert output.loss == 0
    output.loss.backward()
    assert not any(p.grad.any() for p in task.parameters() if p.grad is not None)
    figures = task.evaluate([bare])
    assert math.isnan(figures["points/miou"])
    empty = to_sample(blocks("b", 0, points=0))
    assert task.evaluate([empty])["num_scenes"] == 1
    assert math.isfinite(task(collate_scenes([sample, empty])).loss.item())


def test_voxel_labels_are_the_majority() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        voxel = torch.randint(0, 9, (60,), generator=generator)
        label = torch.randint(-1, 4, (60,), generator=generator)
        found = voxel_labels(voxel, label, 10, 4).tolist()
        for v in range(10):
            votes = Counter(x for w, x in zip(voxel.tolist(), label.tolist()) if w == v and x >= 0)
            best = max(votes, key=lambda x: (votes[x], -x)) if votes else -1
            assert found[v] == best


def test_splits_of_other_classes_are_refused(tmp_path: Path) -> None:
    made = config(tmp_path)
    task: Any = build(made).method
    assert len(task.evaluation_set(made.data, "val")) == 2
    task.label_set = replace(task.label_set, names=("floor", "blue", "red"))
    message = "class 1 of split 'val' is 'red', but that of split 'train' is 'blue'"
    for opened in (task.evaluation_set, lambda *of: task.make_dataset(*of, seed=0)):
        with pytest.raises(ValueError, match=message):
            opened(made.data, "val")
