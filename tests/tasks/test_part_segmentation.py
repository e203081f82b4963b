"""Part segmentation: parts of the class alone, absent parts by the named rule, what is refused."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcpt.data.shape_dataset import ShapeDataConfig
from pcpt.data.sources.shape_npz import ShapeNpz
from pcpt.metrics.parts import part_iou
from pcpt.tasks.part_segmentation import PartSegmentation
from tests.tasks.tiny_shapes import (
    batches,
    placed_data,
    run_steps,
    same_state,
    state_of,
    tiny_points,
)


def _task(data: Any = None, **keys: Any) -> PartSegmentation:
    config = PartSegmentation.Config(**{"hidden": [8], "dropout": 0.0, **keys})
    return PartSegmentation(config, tiny_points(), data or placed_data(num_parts=6))


@pytest.mark.parametrize("keys", [{}, {"category_channels": 0, "pooling": "pooled_and_mean"}])
def test_learns_parts(keys: dict[str, Any]) -> None:
    data = placed_data(num_parts=6, points=32)
    task = _task(data, **keys)
    shapes = batches(task, data, "test")
    before = task.evaluate(shapes)["instance_miou"]
    run_steps(task, data, 60)
    figures = task.evaluate(shapes)
    assert figures["instance_miou"] > max(0.65, before + 0.3)
    assert figures["point_accuracy"] > 0.8 and figures["num_shapes"] == 12
    assert figures["class_miou"] == pytest.approx(figures["instance_miou"])  # as many of each


def test_only_parts_of_the_class_are_said() -> None:
    data = placed_data(num_parts=6)
    task = _task(data)
    with torch.no_grad():
        task.head[-1].bias[:2] = 100.0  # parts of the first class
    for batch in batches(task, data, "test"):
        label = int(batch.label)
        assert set(task.predict(batch).flatten().tolist()) <= {2 * label, 2 * label + 1}
        assert set(task.scores(batch).argmax(2).flatten().tolist()) <= {0, 1}


def test_the_class_is_given_to_the_head() -> None:
    data = placed_data(num_parts=6)
    task = _task(data).eval()
    batch = batches(task, data, "test")[0]
    other = replace(batch, label=torch.tensor([1]))
    assert not torch.equal(task.scores(batch), task.scores(other))
    assert torch.equal(*(_task(data, category_channels=0).eval().scores(b) for b in (batch, other)))


def test_figures_follow_the_rule_for_absent_parts() -> None:
    data = placed_data(num_parts=6)
    tasks = {rule: _task(data, absent=rule) for rule in ("one", "skip")}
    shapes = batches(tasks["one"], data, "test")
    for task in tasks.values():
        with torch.no_grad():
            task.head[-1].weight.zero_()
            task.head[-1].bias.copy_(torch.tensor([1.0, 0, 1, 0, 1, 0]))  # the even parts alone
    shapes[0] = replace(shapes[0], parts=torch.zeros_like(shapes[0].parts))  # nothing of part 1
    found = {rule: task.evaluate(shapes[:2]) for rule, task in tasks.items()}
    second = part_iou(shapes[1].parts[0], torch.full((6,), 2), [2, 3], "one").mean().item()
    assert second < 1
    for figures in found.values():
        assert figures["iou/ant"] == 1.0  # (1 + 1) / 2, or 1 alone
        assert figures["instance_miou"] == pytest.approx((1 + second) / 2)
        assert math.isnan(figures["iou/cat"])
    shapes[0] = replace(shapes[0], parts=torch.tensor([[0, 0, 0, 0, 0, -1]]))
    with torch.no_grad():
        for task in tasks.values():
            task.head[-1].bias.copy_(torch.tensor([0.0, 1, 1, 0, 1, 0]))  # part 1, which is absent
    assert [task.evaluate(shapes[:1])["iou/ant"] for task in tasks.values()] == [0.0, 0.0]
    # a class of one part that is there, and one that is neither there nor said
    with torch.no_grad():
        for task in tasks.values():
            task.head[-1].bias.copy_(torch.tensor([1.0, 0, 0, 1, 1, 0]))
    half = replace(shapes[1], parts=torch.tensor([[2, 2, 2, 2, 2, 2]]))
    assert [t.evaluate([half])["iou/bee"] for t in tasks.values()] == [0.0, 0.0]
    assert "counts as IoU 1" in tasks["one"].protocol and "left out" in tasks["skip"].protocol


def test_the_rule_changes_figures_where_a_part_is_absent_and_another_half_right() -> None:
    target, said = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    one, skip = (part_iou(target, said, [0, 1, 2], rule).nanmean() for rule in ("one", "skip"))
    assert one.item() == pytest.approx((0.5 + 2 / 3 + 1) / 3)
    assert skip.item() == pytest.approx((0.5 + 2 / 3) / 2)


def test_shapes_without_parts() -> None:
    with pytest.raises(ValueError, match="'placed_shapes' has no parts; part_segmentation needs"):
        _task(placed_data())
    data = placed_data(num_parts=6)
    task = _task(data)
    bare = [replace(b, parts=b.parts * 0 - 1) for b in batches(task, data, "test")]
    assert task(task.collate(bare)).loss.item() == 0
    with pytest.raises(ValueError, match="no shape of this split has a point with a part"):
        task.evaluate(bare)


@pytest.mark.parametrize("files", ["", "cap_*.npz"])
def test_files_without_any_part_are_refused_before_training(tmp_path: Path, files: str) -> None:
    cloud, root = np.random.default_rng(0).random((3, 8, 3), "f4"), tmp_path
    (root / "classes.txt").write_text("hat\ncap\n")
    for part in (None, np.full((3, 8), -1)):
        given = {} if part is None else {"part": part}
        np.savez(root / "train.npz", points=cloud, label=[0, 1, 1], **given)
        for row in range(3):
            each = {name: value[row] for name, value in given.items()}
            np.savez(root / f"cap_{row}.npz", points=cloud[row], **each)
        source = ShapeNpz.Config(root=str(root), files=files, num_parts=[2, 2])
        file = "cap_0" if files else "train"
        with pytest.raises(ValueError, match=rf"'part' of .*{file}\.npz holds none; give it parts"):
            _task(ShapeDataConfig(source=source, val_fraction=0.0, num_points=0))


@pytest.mark.parametrize(
    ("keys", "label", "message"),
    [
        ({"part_shift": 2}, 0, "shape test_0 has part . at point 0, but class ant has the parts 0"),
        ({"part_shift": 20}, 0, "has part 2. at point 0, but class ant has the parts 0, 1"),
        ({"part_shift": -20}, 0, "has part -.* at point 0"),
        ({}, -1, "shape test_0 has no class"),
        ({}, 3, "shape test_0 has label 3, but there are 3 classes"),
    ],
)
def test_what_does_not_fit(keys: dict[str, int], label: int, message: str) -> None:
    data = placed_data(num_parts=6, **keys)
    task = _task(data)
    batch = replace(batches(task, data, "test")[0], label=torch.tensor([label]))
    for use in (task, task.predict):
        with pytest.raises(ValueError, match=message):
            use(batch)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 1.5, math.nan])
def test_a_smoothing_that_cannot_be(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"task\.label_smoothing is .*, expected a share"):
        PartSegmentation.Config(label_smoothing=smoothing)


def test_a_frozen_network_stays_as_it_is() -> None:
    data = placed_data(num_parts=6)
    task = _task(data, tune="head")
    before = state_of(task.student)
    run_steps(task, data, 3)
    assert same_state(task.student, before)
