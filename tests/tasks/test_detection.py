"""Both detectors as tasks: they learn, score, start anew and meet bad scenes."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pcpt.config import load_config
from pcpt.data.scene import Boxes
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_transforms import SceneAugmentConfig, augment_scene
from pcpt.engine.checkpoint import checkpoint_path, save_checkpoint
from pcpt.engine.init import initialise
from pcpt.geometry.boxes import points_in_boxes
from pcpt.tasks.detection import Detection
from pcpt.tasks.votenet import VoteNet
from tests.tasks.box_scenes import STILL, batch_of, evaluate, toy_data, toy_student, train

ONE_STAGE: dict[str, Any] = {"strides": [2, 4], "limits": [0.8], "channels": 32}
VOTENET: dict[str, Any] = {"seeds": 256, "proposals": 64}


def one_stage(data: Any, **keys: Any) -> Detection:
    return Detection(Detection.Config(**(ONE_STAGE | keys)), toy_student(), data)


def votenet(data: Any, **keys: Any) -> VoteNet:
    return VoteNet(VoteNet.Config(**(VOTENET | keys)), toy_student(), data)


BOTH = pytest.mark.parametrize("make", [one_stage, votenet])


@pytest.mark.parametrize(
    "oriented, keys",
    [
        (False, {}),
        (True, {"pooled": False, "quality": True}),
        (False, {"strides": [1, 2, 4], "limits": [0.5, 1.0]}),
    ],
)
def test_one_stage_learns_scenes_by_heart(oriented: bool, keys: dict) -> None:
    data = toy_data(oriented=oriented)
    task = one_stage(data, oriented=oriented, **keys)
    losses = train(task, data, 50)
    assert losses[-1] < 0.3 * losses[0]
    figures = evaluate(task, data)
    assert figures["mAP@.25"] > 0.9 and figures["mAP@.5"] > 0.9
    assert figures["num_scenes"] == 2 and figures["num_targets"] == 8


@pytest.mark.parametrize(
    "keys, steps",
    [
        ({}, 110),
        ({"sizes": "direct"}, 110),
        pytest.param({"oriented": True}, 200, marks=pytest.mark.slow),
    ],
)
def test_votenet_learns_scenes_by_heart(keys: dict, steps: int) -> None:
    data = toy_data(oriented=keys.get("oriented", False), known=not keys)
    task = votenet(data, **keys)
    train(task, data, steps)
    assert evaluate(task, data)["mAP@.25"] > 0.9


@BOTH
def test_untrained_scores_nothing(make: Any) -> None:
    data = toy_data()
    figures = evaluate(make(data), data)
    assert figures["mAP@.25"] < 0.3 and figures["mAP@.5"] < 0.3


@BOTH
def test_predictions(make: Any) -> None:
    data = toy_data()
    task = make(data).train()
    batch = batch_of(task, data)
    found = task.predict(batch)
    assert task.training and len(found) == 2
    for one in found:
        assert one.boxes.shape == (len(one.labels), 7) and one.boxes.dtype == torch.float32
        assert not one.boxes.requires_grad and (one.boxes[:, 3:6] > 0).all()
        assert torch.equal(one.scores, one.scores.sort(descending=True).values)
        assert len(one.labels) == 0 or 0 <= int(one.labels.min()) <= int(one.labels.max()) < 3
    # scenes of a batch do not know of each other
    alone = task.predict(batch_of(task, data, [1]))[0]
    torch.testing.assert_close(alone.scores, found[1].scores, atol=1e-5, rtol=1e-4)


@BOTH
def test_half_precision_keeps_metres(make: Any) -> None:
    data = toy_data()
    task = make(data).train()
    batch = batch_of(task, data)
    far = replace(
        batch,
        points=batch.points + 300.0,
        boxes=[replace(b, centers=b.centers + 300.0) for b in batch.boxes],
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = task(far).loss
        if isinstance(task, Detection):
            outputs = task.outputs(far)
            low, high = far.points.aminmax(dim=0)
            assert (outputs.locations > low - 0.4).all() and (outputs.locations < high + 0.4).all()
            assert outputs.locations.dtype == outputs.boxes.dtype == torch.float32
        else:
            assert task.run(far).proposals.centers.dtype == torch.float32
    assert loss.isfinite() and loss.item() == pytest.approx(task(batch).loss.item(), rel=0.3)
    loss.backward()


@BOTH
def test_every_weight_learns(make: Any) -> None:
    data = toy_data(oriented=True)
    task = make(data, oriented=True).train()
    if isinstance(task, VoteNet):
        # votes within the objects, so that proposals have something to answer for
        task.config.near = 5.0
        task.config.far = 6.0
    task(batch_of(task, data)).loss.backward()
    idle = [name for name, p in task.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def with_boxes(batch: SceneBatch, boxes: list[Boxes]) -> SceneBatch:
    return replace(batch, boxes=boxes)


@BOTH
def test_scenes_without_boxes(make: Any) -> None:
    data = toy_data()
    task = make(data).train()
    batch = batch_of(task, data)
    for boxes in ([Boxes.none()] * 2, [Boxes.none(), batch.boxes[1]]):
        task.zero_grad()
        output = task(with_boxes(batch, boxes))
        assert output.loss.isfinite() and output.logs["num_boxes"] == sum(map(len, boxes))
        output.loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())
    task.prepare(iter([with_boxes(batch, [Boxes.none()] * 2)]))
    figures = task.evaluate([with_boxes(batch, [Boxes.none()] * 2)])
    assert math.isnan(figures["mAP@.25"]) and figures["num_targets"] == 0


@BOTH
def test_boxes_of_no_size_are_dropped_and_counted(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    data = toy_data()
    task = make(data)
    batch = batch_of(task, data)
    flat = batch.boxes[0].sizes.clone()
    flat[1, 2] = 0
    odd = replace(batch.boxes[0], sizes=flat)
    unknown = replace(batch.boxes[1], labels=torch.tensor([0, -1, 2, 3]))
    bad = with_boxes(batch, [odd, unknown])
    with caplog.at_level(logging.WARNING):
        output = task.train()(bad)
        task(bad)
    assert output.loss.isfinite() and output.logs["num_dropped_boxes"] == 3
    assert output.logs["num_boxes"] == 5
    assert caplog.text.count("left out") == 1 and "3 boxes of toy" in caplog.text
    figures = task.evaluate([bad])
    assert figures["num_dropped_boxes"] == 3 and figures["num_targets"] == 5


@BOTH
def test_a_scene_of_one_point_and_of_none(make: Any) -> None:
    data = toy_data()
    task = make(data).train()
    batch = batch_of(task, data, [0])
    for count in (1, 0):
        few = replace(
            batch,
            **{
                name: getattr(batch, name)[:count]
                for name in ("points", "original", "colors", "batch_index", "semantic")
            },
            instances=batch.instances[:count],
            point_number=batch.point_number[:count],
        )
        assert task(few).loss.isfinite()
        assert len(task.predict(few)) == 1


@BOTH
def test_classes_that_never_came_are_nan(make: Any) -> None:
    data = toy_data()
    task = make(data)
    batch = batch_of(task, data)
    chairs = [replace(b, labels=torch.ones_like(b.labels)) for b in batch.boxes]
    task.prepare(iter([with_boxes(batch, chairs)]))
    assert task.train()(with_boxes(batch, chairs)).loss.isfinite()
    figures = task.evaluate([with_boxes(batch, chairs)])
    assert math.isnan(figures["AP@.25/bed"]) and not math.isnan(figures["AP@.25/chair"])
    assert figures["mAP@.25"] == figures["AP@.25/chair"]


@BOTH
def test_a_head_for_other_classes_starts_anew(make: Any, tmp_path: Path) -> None:
    data = toy_data()
    old, new = make(data), make(data)
    for module in (new.head, old.head):
        for name, layer in list(module.named_children()):
            if name in ("classes", "size", "size_class") and isinstance(layer, nn.Linear):
                wider = layer.out_features + (3 if module is old.head else 0)
                setattr(module, name, nn.Linear(layer.in_features, wider))
    if isinstance(old, VoteNet):
        old.mean_sizes = torch.ones(6, 3)
    with torch.no_grad():
        for p in old.parameters():
            p.add_(0.1)
    state = {"method": old.state_dict(), "step": 0, "config": {}}
    path = checkpoint_path(tmp_path, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, state)
    before = {name: p.clone() for name, p in new.state_dict().items()}
    report = initialise(new, str(path))
    kinds = {name.rsplit(".", 1)[0] for name in report.reshaped}
    expected = {"head.classes"}
    if isinstance(new, VoteNet):
        expected |= {"head.size", "head.size_class", "mean_sizes"}
    assert kinds == expected
    for name, tensor in new.state_dict().items():
        if name in report.reshaped:
            assert torch.equal(tensor, before[name])
        else:
            assert torch.equal(tensor, old.state_dict()[name])


@pytest.mark.parametrize("seed", range(8))
def test_boxes_follow_augmentation(seed: int) -> None:
    """Each thing's points stay within its box, which stays as tight; headings turn along."""
    data = toy_data(oriented=True)
    task = one_stage(data, oriented=True)
    sample = batch_of(task, data, [seed % 2])
    config = SceneAugmentConfig(flip=0.5, rotate=180.0, scale=[0.7, 1.3], translate=2.0)
    moved = augment_scene(sample, config, torch.Generator().manual_seed(seed))
    targets = task.targets(moved)
    inside = points_in_boxes(moved.points, targets.boxes, margin=1e-4)
    shrunk = targets.boxes.clone()
    shrunk[:, 3:6] *= 0.97
    for thing in range(4):
        mine = moved.instances == thing
        assert inside[mine, thing].all()
        assert not points_in_boxes(moved.points[mine], shrunk[thing : thing + 1]).any()
    # a marker put at the front of each box is still in front of it
    boxes = sample.boxes[0]
    front = boxes.centers.clone()
    front[:, 0] += boxes.headings.cos()
    front[:, 1] += boxes.headings.sin()
    marked = replace(
        sample,
        **{n: getattr(sample, n)[:4] for n in ("original", "colors", "batch_index", "semantic")},
        instances=sample.instances[:4],
        point_number=sample.point_number[:4],
        points=front,
    )
    moved = augment_scene(marked, config, torch.Generator().manual_seed(seed))
    direction = moved.points - moved.boxes[0].centers
    heading = moved.boxes[0].headings
    turned = torch.stack((heading.cos(), heading.sin()), dim=1)
    torch.testing.assert_close(
        nn.functional.normalize(direction[:, :2], dim=1), turned, atol=1e-4, rtol=0
    )


def test_boxes_along_the_axes_take_turned_ones_in() -> None:
    data = toy_data()
    task = one_stage(data)
    sample = batch_of(task, data, [0])
    turned = augment_scene(sample, replace(STILL, rotate=5.0), torch.Generator().manual_seed(1))
    rows = task.targets(turned).boxes
    assert not rows[:, 6].any() and (rows[:, 3:5] > sample.boxes[0].sizes[:, :2]).all()
    for thing in range(4):
        mine = turned.instances == thing
        assert points_in_boxes(turned.points[mine], rows[thing : thing + 1], margin=1e-4).all()


def test_without_colours_the_student_sees_ones() -> None:
    data = toy_data()
    task = one_stage(data, colors=False)
    voxels, _ = task.voxels(batch_of(task, data))
    assert (voxels.features == 1).all()


@pytest.mark.parametrize("change", [{"tilt": 3.0}, {"elastic": 0.5}, {"scale_axes": True}])
@BOTH
def test_augmentation_that_boxes_cannot_follow(make: Any, change: dict) -> None:
    with pytest.raises(ValueError, match=r"boxes cannot follow data\.augment"):
        make(toy_data(SceneAugmentConfig(**change)))


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"limits": [0.5, 1.0]}, r"task\.limits holds 2 numbers for 2 strides"),
        ({"strides": [4, 2]}, r"task\.strides is \[4, 2\], expected ascending"),
        ({"strides": [2, 3]}, r"student has levels \[1, 2, 4, 8, 16\]"),
        ({"overlap": 1.5}, r"task\.overlap is 1\.5"),
        ({"locations": 0}, r"task\.locations is 0"),
    ],
)
def test_wrong_keys_of_one_stage(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        one_stage(toy_data(), **keys)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"sizes": "none"}, r"task\.sizes is 'none'"),
        ({"radius": 0.0}, r"task\.radius is 0\.0"),
        ({"near": 0.7}, r"task\.far is 0\.6, expected at least 0\.7"),
    ],
)
def test_wrong_keys_of_votenet(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        votenet(toy_data(), **keys)


def test_norms_of_votenet_slow_down_by_samples_seen() -> None:
    data = toy_data()
    task = votenet(data, bn_momentum=0.5, bn_halving=10, bn_floor=0.1).train()
    norms = [m for m in task.modules() if isinstance(m, nn.BatchNorm1d)]
    assert any(norm is m for norm in norms for m in task.student.modules())
    for number, momentum in ((0, 0.5), (9, 0.5), (10, 0.25), (25, 0.125), (35, 0.1), (900, 0.1)):
        batch = batch_of(task, data, [0])
        task(replace(batch, number=torch.tensor([number])))
        assert {norm.momentum for norm in norms} == {momentum}
    left = votenet(data).train()
    before = [m.momentum for m in left.modules() if isinstance(m, nn.BatchNorm1d)]
    left(batch_of(left, data))
    assert before == [m.momentum for m in left.modules() if isinstance(m, nn.BatchNorm1d)]


def test_mean_sizes_are_those_of_the_classes() -> None:
    data = toy_data()
    task = votenet(data)
    batch = batch_of(task, data)
    task.prepare(iter([batch]))
    for label in range(3):
        rows = torch.cat([b.sizes[b.labels == label] for b in batch.boxes])
        torch.testing.assert_close(task.mean_sizes[label], rows.mean(0))
    beds = [
        Boxes(*(getattr(b, f)[:1] for f in ("centers", "sizes", "headings", "labels", "instances")))
        for b in batch.boxes
    ]
    task.prepare(iter([with_boxes(batch, beds)]))
    overall = torch.cat([b.sizes for b in beds]).mean(0)
    torch.testing.assert_close(task.mean_sizes, overall.repeat(3, 1))


CONFIGS = Path(__file__).parents[2] / "configs" / "finetune"


@pytest.mark.parametrize(
    "name, task",
    [
        ("detection_rooms", "detection"),
        ("detection_scannet", "detection"),
        ("votenet_scannet", "votenet"),
        ("votenet_sunrgbd", "votenet"),
    ],
)
def test_configs(name: str, task: str) -> None:
    config = load_config([CONFIGS / f"{name}.yaml"])
    assert config.task.name == task and config.data.augment.keeps_boxes()
    assert config.task.oriented == (name == "votenet_sunrgbd")
    if task == "votenet":  # 180 epochs, and norms that halve every 20
        scenes = config.task.bn_halving / 20
        assert config.train.steps * config.train.batch_size == pytest.approx(180 * scenes, rel=1e-3)
