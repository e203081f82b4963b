from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt.data.limited import LimitConfig
from pcpt.data.scene import Boxes
from pcpt.data.scene_batch import SceneBatch, collate_scenes
from pcpt.data.scene_dataset import LabelledScenes, SceneDataConfig, crop, open_split, to_sample
from pcpt.data.scene_transforms import SceneAugmentConfig, augment_scene
from tests.data.labelled_scenes import Blocks, blocks

SPLITS: dict[str, Any] = {"train": {}, "val": {"first": 50, "count": 2}}


def config(**values: Any) -> SceneDataConfig:
    return SceneDataConfig(source=Blocks.Config(), splits=SPLITS, **values)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(a: SceneBatch, b: SceneBatch) -> bool:
    tensors = ("points", "colors", "semantic", "instances", "point_number", "number")
    return a.names == b.names and all(torch.equal(getattr(a, n), getattr(b, n)) for n in tensors)


def test_samples_depend_on_seed_and_number_alone() -> None:
    data = config(crop_points=900, augment=SceneAugmentConfig(elastic=1.0, drop_points=0.2))
    one, two = LabelledScenes(data, "train", 3), LabelledScenes(data, "train", 3)
    later = [two[n] for n in (7, 0, 5)]
    assert same(one[0], later[1]) and same(one[5], later[2]) and same(one[7], later[0])
    assert not same(one[0], LabelledScenes(data, "train", 4)[0])


def test_an_epoch_has_every_scene_once_in_another_order() -> None:
    scenes = LabelledScenes(config(), "train", 0)
    epochs = [[scenes[e * 4 + n].names[0] for n in range(4)] for e in range(4)]
    assert all(sorted(names) == sorted(scenes.names) for names in epochs)
    assert len({tuple(names) for names in epochs}) > 1


def test_evaluation_scenes_are_whole_and_in_order() -> None:
    scenes = LabelledScenes(config(crop_points=10), "val", 0)
    assert [scenes[n].names[0] for n in range(2)] == ["blocks050", "blocks051"]
    sample, scene = scenes[0], blocks("blocks050", 50)
    assert torch.equal(sample.original, scene.points)
    assert torch.equal(sample.semantic, scene.semantic)
    shift = sample.points - scene.points
    assert torch.allclose(shift, shift[:1].expand_as(shift), atol=1e-6)
    assert sample.points.amin(0)[2].item() == 0


def test_training_sees_limited_labels_and_evaluation_all() -> None:
    limited = config(limit=LimitConfig(scenes=2, points=5))
    train = LabelledScenes(limited, "train", 0)
    assert len(train) == 2
    assert int((train[0].semantic >= 0).sum()) <= 5
    whole = LabelledScenes(limited, "train", 0, training=False)
    assert len(whole) == 4 and int((whole[0].semantic >= 0).sum()) > 1000


def test_cached_scenes_are_the_same() -> None:
    plain, cached = (
        LabelledScenes(config(), "train", 0),
        LabelledScenes(config(cache=2), "train", 0),
    )
    for number in range(12):
        assert same(plain[number], cached[number])
    assert len(cached._cache) == 2


def test_crop_takes_the_nearest_points_around_a_labelled_one() -> None:
    sample = to_sample(blocks("a", 0))
    only = sample.semantic.clone().fill_(-1)
    only[7] = 0
    sample = replace(sample, semantic=only)
    part = crop(sample, 200, generator())
    assert len(part.points) == 200 and 7 in part.point_number
    distance = (sample.points[:, :2] - sample.points[7, :2]).norm(dim=1)
    assert distance[part.point_number].max() <= distance.sort().values[200]
    assert torch.equal(part.points, sample.points[part.point_number])
    inside = (sample.boxes[0].centers[:, :2] - sample.points[7, :2]).norm(dim=1)
    assert len(part.boxes[0]) == int((inside <= distance[part.point_number].max()).sum())


def test_crop_of_a_scene_without_labels() -> None:
    sample = to_sample(blocks("a", 0))
    sample = replace(sample, semantic=torch.full_like(sample.semantic, -1))
    assert len(crop(sample, 100, generator()).points) == 100
    assert crop(sample, 0, generator()) is sample


def test_boxes_move_with_their_points() -> None:
    augment = SceneAugmentConfig(flip=0.5, rotate=180, scale=[0.5, 1.5], translate=3)
    assert augment.keeps_boxes()
    sample = to_sample(blocks("a", 1))
    corner = torch.tensor([0.25, 0.25, 0.25])
    long = torch.tensor([[2.0, 1.0, 1.0]])
    for seed in range(20):
        boxes = replace(sample.boxes[0], sizes=sample.boxes[0].sizes * long)
        boxes = replace(boxes, headings=torch.tensor([0.3, -1.0]))
        moved = augment_scene(replace(sample, boxes=[boxes]), augment, generator(seed))
        # every point that was in a box still is, and no other
        assert torch.equal(inside(sample.points, boxes), inside(moved.points, moved.boxes[0]))
    assert corner.sum() > 0


def inside(points: torch.Tensor, boxes: Boxes) -> torch.Tensor:
    """(N, B) bool, worked out in each box's own axes, borders left out of account."""
    away = points[:, None] - boxes.centers
    cos, sin = boxes.headings.cos(), boxes.headings.sin()
    x = away[..., 0] * cos + away[..., 1] * sin
    y = -away[..., 0] * sin + away[..., 1] * cos
    own = torch.stack([x, y, away[..., 2]], -1)
    return (own.abs() <= boxes.sizes / 2 + 1e-4).all(-1)


def test_colors_stay_in_range_and_can_be_withheld() -> None:
    augment = SceneAugmentConfig(color_contrast=1.0, color_shift=0.5, color_jitter=0.5)
    moved = augment_scene(to_sample(blocks("a", 0)), augment, generator())
    assert moved.colors.min() >= 0 and moved.colors.max() <= 1
    dropped = augment_scene(
        to_sample(blocks("a", 0)), SceneAugmentConfig(color_drop=1.0), generator()
    )
    assert dropped.colors.unique().tolist() == [0.5]


def test_neutral_augmentation_changes_nothing() -> None:
    neutral = SceneAugmentConfig(flip=0, rotate=0, scale=[1.0, 1.0], translate=0)
    sample = to_sample(blocks("a", 0))
    assert same(sample, augment_scene(sample, neutral, generator()))


def test_collate_numbers_the_scenes() -> None:
    samples = [
        to_sample(blocks(name, 0, points=n), n) for name, n in (("a", 4), ("b", 0), ("c", 6))
    ]
    batch = collate_scenes(samples)
    assert batch.num_samples == 3 and len(batch.boxes) == 3
    assert batch.batch_index.tolist() == [0] * 8 + [2] * 12
    assert batch.number.tolist() == [4, 0, 6]
    with pytest.raises(ValueError, match="at least one"):
        collate_scenes([])
    assert batch.to("cpu").boxes[0].labels.tolist() == [1, 2]


def test_a_tilted_scene_is_turned_upright() -> None:
    scene = blocks("a", 0)
    turn = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z to -y... the floor stands upright
    up = (turn @ torch.tensor([0.0, 0.0, 1.0])).double()
    tilted = replace(
        scene,
        points=scene.points @ turn.T,
        up=up,
        boxes=replace(scene.boxes, centers=scene.boxes.centers @ turn.T),
    )
    sample = to_sample(tilted)
    floor = sample.semantic == 0
    assert sample.points[floor, 2].abs().max() < 1e-5
    middle = sample.points[sample.instances == 0].mean(0)
    assert torch.allclose(middle, sample.boxes[0].centers[0], atol=0.05)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data.splits names 'vall'; did you mean 'val'"):
        SceneDataConfig(source=Blocks.Config(), splits={"vall": {}})
    with pytest.raises(ValueError, match=r"data.splits.val.fist; did you mean 'first'"):
        open_split(SceneDataConfig(source=Blocks.Config(), splits={"val": {"fist": 1}}), "val")
    with pytest.raises(ValueError, match=r"data\.splits names no 'test'"):
        LabelledScenes(config(), "test", 0)
    with pytest.raises(ValueError, match="holds no scenes"):
        LabelledScenes(SceneDataConfig(source=Blocks.Config(count=0), splits={"val": {}}), "val", 0)
    with pytest.raises(ValueError, match=r"data.augment.scale"):
        SceneAugmentConfig(scale=[1.0, 0.5])
    with pytest.raises(ValueError, match=r"data.crop_points"):
        config(crop_points=-1)
