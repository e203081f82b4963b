"""Shapes as samples: splits, limits, normalisation, choice of points, augmentation and its map."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from pcpt.data.episodes import draw_episode
from pcpt.data.shape_batch import ShapeBatch, collate_shapes
from pcpt.data.shape_dataset import (
    ShapeDataConfig,
    Shapes,
    open_shapes,
    share_of_each_class,
)
from pcpt.data.shape_transforms import (
    ShapeAugmentConfig,
    augment_shape,
    choose_points,
    mapped,
    sphere_of,
    unchanging,
)
from pcpt.data.sources.modelnet_h5 import ModelNetH5
from pcpt.data.sources.procedural_shapes import ProceduralShapes
from pcpt.data.sources.scannet_scenes import ScanNetScenes
from pcpt.data.sources.shape_npz import ShapeNpz
from tests.data.shape_writers import write_modelnet_h5, write_npz_split


def make(per_class: int = 10, **options: Any) -> ShapeDataConfig:
    source = ProceduralShapes.Config(
        per_class=per_class, classes=["bottle", "mug", "table"], surface_points=40
    )
    return ShapeDataConfig(**{"source": source, "num_points": 32, **options})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_val_is_cut_out_of_train_alike_for_every_class_and_run() -> None:
    config = make(val_fraction=0.2)
    train, val, test = (Shapes(config, split, seed=5) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (24, 6, 30)
    assert not set(train.names) & set(val.names)
    assert Counter(train.shape_set.label_of(name) for name in val.names) == {0: 2, 1: 2, 2: 2}
    assert all(name.startswith("test_") for name in test.names)
    assert Shapes(config, "val", seed=9, training=False).names == val.names
    assert Shapes(replace(config, val_seed=1), "val", 5).names != val.names
    # a val of the source's own leaves train whole
    for own in ({"splits": {"val": {"split": "val"}}, "val_fraction": 0.2}, {"val_fraction": 0.0}):
        config = make(**own)
        assert len(Shapes(config, "train", 0)) == 30
        assert all(name.startswith("val_") for name in Shapes(config, "val", 0).names)
    with pytest.raises(ValueError, match=r"leaves split 'val'.* without shapes"):
        Shapes(make(per_class=3, val_fraction=0.2), "val", 0)


def test_limit_is_nested_stratified_and_at_least_one() -> None:
    config = make(val_fraction=0.0)
    chosen = [set(Shapes(replace(config, limit=x), "train", 0).names) for x in (0.01, 0.3, 0.6)]
    assert [len(names) for names in chosen] == [3, 9, 18]
    assert chosen[0] < chosen[1] < chosen[2]
    assert Counter(name.split("_")[1] for name in chosen[0]) == {"bottle": 1, "mug": 1, "table": 1}
    assert set(Shapes(replace(config, limit=0.3, limit_seed=1), "train", 0).names) != chosen[1]
    assert len(Shapes(replace(config, limit=0.1), "test", 0)) == 30
    assert len(Shapes(replace(config, limit=0.1), "train", 0, training=False)) == 30
    assert share_of_each_class(["a", "b"], [-1, -1], 0.5, 0, least=0) in ({"a"}, {"b"})


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    config = make(augment=ShapeAugmentConfig(rotation="all", jitter=0.01, drop_points=0.5))
    first, second = Shapes(config, "train", 3), Shapes(replace(config, cache=2), "train", 3)
    for number in (31, 0, 31, 7):
        one, other = first[number], second[number]
        assert one.names == other.names and torch.equal(one.points, other.points)
        assert torch.equal(one.turn, other.turn)
    assert not torch.equal(Shapes(config, "train", 4)[0].points, first[0].points)
    epoch = [first.name_of(number) for number in range(2 * len(first))]
    assert sorted(epoch[: len(first)]) == sorted(epoch[len(first) :]) == sorted(first.names)
    assert epoch[: len(first)] != epoch[len(first) :]
    assert len(second._cache) == 2


def test_evaluation_never_changes() -> None:
    config = make()
    one, other = Shapes(config, "test", 0), Shapes(config, "test", 1)
    for number in range(3):
        assert torch.equal(one[number].points, other[number].points)
        assert one[number].names == [one.names[number]]
        assert torch.equal(one[number].turn[0], torch.eye(3, dtype=torch.float64))


def test_shapes_lie_in_the_unit_ball_and_meshes_with_them() -> None:
    config = make(num_points=0, normals=True, val_fraction=0.0)
    shapes = Shapes(replace(config, augment=unchanging()), "train", 0)
    sample = shapes[4]
    points = sample.points[0]
    assert points.mean(0).abs().max() < 1e-6
    assert points.norm(dim=1).max().item() == pytest.approx(1, abs=1e-6)
    linear, shift = shapes.frame_of(sample.names[0])
    read = shapes.load(sample.names[0])
    again = read.points.double() @ linear.T + shift
    assert (again.float() - points[sample.point_number[0].argsort()]).abs().max() < 1e-6
    vertices, faces = shapes.mesh(sample.names[0])
    assert vertices.norm(dim=1).max() < 1.5 and faces.max() < len(vertices)
    assert sample.normals is not None
    plain = Shapes(make(normalise="none", num_points=0), "test", 0)
    raw = plain.load(plain.names[0]).points
    assert torch.equal(plain[0].points[0].sort(0).values, raw.sort(0).values)


def test_models_with_y_up_are_turned(tmp_path: Path) -> None:
    source = ModelNetH5.Config(root=str(write_modelnet_h5(tmp_path / "h5")))
    config = ShapeDataConfig(
        source=source, normalise="none", num_points=16, sampling="first", normals=True
    )
    shapes = Shapes(config, "test", 0)
    sample, read = shapes[0], shapes.load(shapes.names[0])
    x, y, z = read.points.unbind(1)
    assert torch.allclose(sample.points[0], torch.stack((x, -z, y), 1), atol=1e-6)
    assert sample.normals is not None and read.normals is not None
    x, y, z = read.normals.unbind(1)
    assert torch.allclose(sample.normals[0], torch.stack((x, -z, y), 1), atol=1e-6)


def test_the_map_of_the_augmentation_is_recorded() -> None:
    config = make(
        normals=True,
        augment=ShapeAugmentConfig(scale=[0.5, 2.0], translate=0.3, rotation="all"),
        num_points=0,
    )
    shapes = Shapes(config, "train", 0)
    plain = Shapes(replace(config, augment=unchanging()), "train", 0)
    for number in range(3):
        sample, before = shapes[number], plain[number]
        assert torch.equal(sample.point_number, before.point_number)
        moved = before.points.double() @ sample.turn.mT + sample.shift[:, None]
        assert (moved.float() - sample.points).abs().max() < 1e-6
        assert (sample.plain_points() - before.points).abs().max() < 1e-5
        assert sample.normals is not None and before.normals is not None
        # a normal stays square to directions within the surface
        along = torch.linalg.cross(
            before.normals, torch.randn(3, generator=generator()).expand_as(before.normals)
        )
        product = (along.double() @ sample.turn.mT * sample.normals).sum(-1)
        assert product.abs().max() < 1e-5
        assert (sample.normals.norm(dim=-1) - 1).abs().max() < 1e-5


def _points(count: int = 20) -> torch.Tensor:
    return torch.randn(count, 3, generator=generator())


def test_augmentations_one_by_one() -> None:
    points = _points()
    sample = _sample(points)
    still = {"scale": [1.0, 1.0], "scale_axes": False, "translate": 0.0}

    def changed(seed: int = 1, **options: Any) -> torch.Tensor:
        config = ShapeAugmentConfig(**{**still, **options})
        return augment_shape(sample, config, generator(seed)).points[0]

    assert torch.equal(changed(), points)
    ratio = changed(scale=[0.5, 2.0]) / points
    assert ratio.std() < 1e-4 and 0.5 <= ratio.mean() <= 2
    ratio = changed(scale=[0.5, 2.0], scale_axes=True) / points
    assert ratio.std(0).max() < 1e-4 and ratio.mean(0).std() > 0.01
    shift = changed(translate=0.2) - points
    assert shift.std(0).max() < 1e-6 and 0 < shift.abs().max() <= 0.2
    turned = changed(rotation="up")
    assert torch.allclose(turned[:, 2], points[:, 2], atol=1e-6)
    assert torch.allclose(turned.norm(dim=1), points.norm(dim=1), atol=1e-5)
    assert (turned - points).abs().max() > 0.1
    assert (changed(rotation="up", degrees=1.0) - points).norm(dim=1).max() < 0.02 * 4
    turned = changed(rotation="all")
    assert torch.allclose(turned.norm(dim=1), points.norm(dim=1), atol=1e-5)
    noise = changed(jitter=0.5, jitter_clip=0.1) - points
    assert 0.09 < noise.abs().max() <= 0.1 + 1e-6 and len(noise.unique()) > 3
    dropped = changed(seed=3, drop_points=1.0)
    values, counts = dropped.unique(dim=0, return_counts=True)
    assert 1 < len(values) < 20 and counts.max() == 20 - len(values) + 1


def test_rotations_are_even() -> None:
    config = ShapeAugmentConfig(scale=[1, 1], scale_axes=False, translate=0, rotation="all")
    turns = torch.cat(
        [augment_shape(_sample(_points(1)), config, generator(i)).turn for i in range(400)]
    )
    identity = torch.eye(3, dtype=torch.float64).expand(400, 3, 3)
    assert (turns @ turns.mT - identity).abs().max() < 1e-6  # drawn in float64, from float32 noise
    assert (torch.linalg.det(turns) - 1).abs().max() < 1e-6
    assert turns.mean(0).abs().max() < 0.12  # of evenly spread directions


def _sample(points: torch.Tensor) -> ShapeBatch:
    count = len(points)
    return ShapeBatch(
        points=points[None],
        normals=None,
        label=torch.tensor([0]),
        parts=torch.full((1, count), -1),
        point_number=torch.arange(count)[None],
        number=torch.tensor([0]),
        turn=torch.eye(3, dtype=torch.float64)[None],
        shift=torch.zeros(1, 3, dtype=torch.float64),
        names=["x"],
    )


def test_maps_add_up() -> None:
    first, second = torch.randn(2, 3, 3, generator=generator(), dtype=torch.float64).unbind()
    shift = torch.tensor([1.0, 2, 3], dtype=torch.float64)
    sample = _sample(_points())
    moved = mapped(mapped(sample, first, shift), second, -shift)
    expected = sample.points.double() @ moved.turn.mT + moved.shift[:, None]
    assert (moved.points - expected).abs().max() < 1e-5


@pytest.mark.parametrize("sampling", ["random", "farthest", "first"])
@pytest.mark.parametrize("available, count", [(1, 1), (1, 7), (7, 33), (33, 7), (7, 7), (33, 0)])
def test_number_of_points(sampling: str, available: int, count: int) -> None:
    points = _points(available)
    for draw in (generator(), None):
        chosen = choose_points(points, count, sampling, draw)
        assert chosen.shape == (count or available,) and chosen.dtype == torch.int64
        assert set(chosen.tolist()) <= set(range(available))
        assert len(chosen.unique()) == min(count or available, available)
    assert torch.equal(*(choose_points(points, count, sampling, None) for _ in range(2)))


def test_farthest_points_spread() -> None:
    points = _points(200)
    spread = points[choose_points(points, 10, "farthest", generator())]
    random = points[choose_points(points, 10, "random", generator())]
    assert torch.pdist(spread).min() > torch.pdist(random).min()


@pytest.mark.parametrize(
    "points",
    [
        torch.ones(5, 3) * 1e6,
        torch.full((4, 3), 0.1),
        torch.zeros(1, 3),
        torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]]),
        torch.tensor([[0.0, 0, 7], [1, 0, 7], [3, 1, 7]]),
        torch.tensor([[1e-30, 0, 0], [-1e-30, 0, 0]]),
        torch.tensor([[1e30, 0, 0], [-1e30, 0, 0]]),
    ],
)
def test_degenerate_shapes_are_normalised_to_something_finite(points: torch.Tensor) -> None:
    center, radius = sphere_of(points)
    assert radius > 0
    normal = (points.double() - center) / radius
    assert normal.isfinite().all() and normal.norm(dim=1).max() <= 1 + 1e-9
    same = len(points.unique(dim=0)) == 1
    assert radius == 1 if same else normal.norm(dim=1).max() == pytest.approx(1)


def test_batches() -> None:
    shapes = Shapes(make(normals=True), "train", 0)
    batch = next(iter(DataLoader(shapes, batch_size=3, collate_fn=collate_shapes)))
    assert batch.points.shape == (3, 32, 3) and batch.num_samples == 3
    assert batch.parts.shape == (3, 32) and batch.turn.shape == (3, 3, 3)
    assert batch.normals is not None and batch.number.tolist() == [0, 1, 2]
    moved = batch.to("cpu")
    assert moved.names == batch.names and torch.equal(moved.points, batch.points)
    bare = replace(shapes[0], normals=None)
    assert collate_shapes([shapes[0], bare]).normals is None
    with pytest.raises(ValueError, match="at least one"):
        collate_shapes([])
    with pytest.raises(ValueError, match=r"of 31 and of 32 points.*data\.num_points"):
        collate_shapes([shapes[0], Shapes(make(num_points=31), "train", 0)[0]])


def test_normals_are_unit_in_training_and_evaluation(tmp_path: Path) -> None:
    normals = torch.nn.functional.normalize(torch.randn(4, 16, 3, generator=generator()), dim=2)
    normals = torch.cat([7 * normals[:, :5], 1e-3 * normals[:, 5:9], normals[:, 9:]], 1)
    normals[:, 0] = 0
    root = write_npz_split(tmp_path, normals=normals.numpy())
    data = ShapeDataConfig(
        source=ShapeNpz.Config(root=str(root)), val_fraction=0.0, num_points=0, normals=True
    )
    for training in (True, False):
        found = Shapes(data, "train", 0, training=training)[0].normals
        assert found is not None
        length = found[0].norm(dim=1)
        assert length[0] == 0 and torch.allclose(length[1:], torch.ones(15))
    assert torch.equal(found[0, 9:], normals[0, 9:])  # unit already: not rounded again


def test_what_is_refused(tmp_path: Path) -> None:
    for options, message in (
        ({"val_fraction": 1.0}, "val_fraction is 1.0"),
        ({"limit": 0.0}, "limit is 0.0"),
        ({"limit": 1.5}, "limit is 1.5"),
        ({"num_points": -1}, "num_points is -1"),
        ({"sampling": "fartest"}, "did you mean 'farthest'"),
        ({"normalise": "unit"}, "normalise is 'unit'"),
        ({"splits": {"trian": {}}}, "did you mean 'train'"),
    ):
        with pytest.raises(ValueError, match=message):
            ShapeDataConfig(**options)  # type: ignore[arg-type]
    for options, message in (
        ({"scale": [0.0, 1.0]}, "scale is"),
        ({"scale": [1.0]}, "scale is"),
        ({"rotation": "z"}, "rotation is 'z'"),
        ({"jitter": -1.0}, "jitter is -1"),
        ({"drop_points": 1.5}, "drop_points is 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            ShapeAugmentConfig(**options)  # type: ignore[arg-type]
    source = ModelNetH5.Config(root=str(write_modelnet_h5(tmp_path / "a", normals=False)))
    with pytest.raises(ValueError, match="modelnet_h5 has no normals"):
        Shapes(ShapeDataConfig(source=source, normals=True), "train", 0)
    with pytest.raises(ValueError, match=r"split is 'val', expected .*set data\.val_fraction"):
        Shapes(ShapeDataConfig(source=source, val_fraction=0.0), "val", 0)
    with pytest.raises(ValueError, match="unknown split 'trian'"):
        open_shapes(make(), "trian")
    (tmp_path / "s/scene0000_00").mkdir(parents=True)
    (tmp_path / "s/scene0000_00/scene0000_00_vh_clean_2.ply").touch()
    scenes = ScanNetScenes.Config(root=str(tmp_path / "s"), labels_from="none")
    with pytest.raises(ValueError, match="holds no single shapes"):
        open_shapes(ShapeDataConfig(source=scenes), "train")


def test_episodes() -> None:
    labels = [0] * 8 + [1] * 8 + [-1] * 30 + [2] * 8 + [3] * 4
    episodes = [draw_episode(labels, ways=3, shots=2, queries=5, number=n) for n in range(4)]
    for episode in episodes:
        assert sorted(episode.classes.tolist()) == [0, 1, 2]
        assert episode.support.shape == (6,) and episode.query.shape == (15,)
        assert not set(episode.support.tolist()) & set(episode.query.tolist())
        assert len(episode.query.unique()) == 15
        for places, local in (
            (episode.support, episode.support_label), (episode.query, episode.query_label)
        ):  # fmt: skip
            assert [labels[i] for i in places] == episode.classes[local].tolist()
    assert not torch.equal(episodes[0].support, episodes[1].support)
    again = draw_episode(labels, ways=3, shots=2, queries=5, number=1)
    assert all(torch.equal(*pair) for pair in zip(again, episodes[1], strict=True))
    other = draw_episode(labels, ways=3, shots=2, queries=5, number=1, seed=1)
    assert not torch.equal(other.support, again.support)
    with pytest.raises(ValueError, match="3 of 4 classes have as many"):
        draw_episode(labels, ways=4, shots=2, queries=5)
    with pytest.raises(ValueError, match="ways is 1"):
        draw_episode(labels, ways=1, shots=2)
