"""The first stage of PointMCD: image networks on views of shapes, by the commands' functions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt import registry
from pcpt.config import make_config
from pcpt.data.shape_dataset import Shapes
from pcpt.data.shape_transforms import ShapeAugmentConfig, unchanging
from pcpt.data.shape_views import ShapeViews, ViewConfig, whole_shape
from pcpt.data.view_dataset import ShapePictures, ViewDataConfig, collate_views
from pcpt.engine.export import export_student
from pcpt.engine.run import build, dry_run, train
from pcpt.engine.task_evaluation import evaluate_task
from pcpt.ops import hidden_point_removal
from pcpt.students.view_network import ViewNetwork
from pcpt.teachers.view_codewords import ViewCodewords

VIEWS = {"num_views": 4, "elevations": [25.0], "image_size": [32, 32], "radius_pixels": 1}
SOURCE = {"name": "procedural_shapes", "per_class": 3, "classes": ["mug", "table"]}
TASKS = ("view_classification", "view_segmentation", "view_autoencoding")


def data(**options: Any) -> ViewDataConfig:
    source = registry.get("datasets", "procedural_shapes").Config(
        **{**SOURCE, "surface_points": 300}
    )
    values = {"source": source, "num_points": 90, "views": ViewConfig(**VIEWS), "val_fraction": 0.0}
    return ViewDataConfig(**{**values, **options})


def tree(folder: Path, kind: str, **sections: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "run": str(folder),
        "device": "cpu",
        "task": {"name": kind, "weights": "random"},
        "student": {"name": "view_network", "codeword_channels": 24},
        "data": {
            "source": {**SOURCE, "surface_points": 200},
            "num_points": 60,
            "views_per_shape": 2,
            "val_fraction": 0.34,
            "views": VIEWS,
        },
        "optim": {"name": "adamw", "lr": 1e-3},
        "train": {"steps": 2, "batch_size": 2, "log_every": 1},
    }
    return {
        name: {**values[name], **sections[name]} if name in sections else values[name]
        for name in values
    }


@pytest.mark.parametrize("task", TASKS)
def test_trains_is_scored_and_becomes_a_teacher(task: str, tmp_path: Path) -> None:
    config = make_config(tree(tmp_path / "run", task))
    assert f"task {task}" in dry_run(config)
    train(config)
    figures = evaluate_task(tmp_path / "run")["figures"]
    assert figures["num_shapes"] == 2
    expected = {"view_classification": "view_accuracy", "view_segmentation": "points/accuracy"}
    assert expected.get(task, "l1") in figures
    folder = export_student(tmp_path / "run", tmp_path / "export")
    teacher = ViewCodewords(ViewCodewords.Config(weights=str(folder)))
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    codewords = teacher.codewords(images)
    assert codewords.shape == (3, 24) and bool((codewords >= 0).all())
    network = ViewNetwork.from_pretrained(folder)
    with torch.no_grad():
        assert torch.allclose(codewords, network(images).codeword, atol=1e-4)
    assert teacher(images).shape == (3, teacher.channels, 1, 1)
    with pytest.raises(ValueError, match="uint8"):
        teacher.codewords(images.float())
    record = json.loads((folder / "data.json").read_text())
    assert record["seen"][0]["through"] == "training"


def test_two_runs_are_alike(tmp_path: Path) -> None:
    losses = []
    for name in "ab":
        train(make_config(tree(tmp_path / name, "view_classification")))
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[0] == losses[1] and len(losses[0]) == 2


def test_classification_loss_is_of_shapes_and_views(tmp_path: Path) -> None:
    config = make_config(
        tree(tmp_path, "view_classification", task={"label_smoothing": 0.1, "view_weight": 0.5})
    )
    task: Any = build(config).method
    task.eval()
    dataset = task.make_dataset(config.data, "train", 0)
    batch = collate_views([dataset[0], dataset[1], dataset[2]])
    with torch.no_grad():
        found = float(task(batch).loss)
        codes = task.student(batch.images.flatten(0, 1)).codeword.view(3, 2, -1)
        smooth = torch.full((3, 2), 0.05) + 0.9 * torch.eye(2)[batch.label]
        of_shapes = -(smooth * task.classifier(codes.amax(1)).log_softmax(1)).sum(1).mean()
        scores = task.classifier(codes).log_softmax(2)
        of_views = -(smooth[:, None] * scores).sum(2).mean()
        hidden = replace(batch, label=torch.full_like(batch.label, -1))
        assert found == pytest.approx(float(of_shapes + 0.5 * of_views), rel=1e-5)
        assert float(task(hidden).loss) == 0


def test_samples_are_a_function_of_their_number() -> None:
    config = data(views_per_shape=2)
    first, again = ShapePictures(config, "train", 3), ShapePictures(config, "train", 3)
    chosen = set()
    for number in (0, 4, 11):
        one, other = first[number], again[number]
        assert torch.equal(one.images, other.images) and torch.equal(one.visible, other.visible)
        assert one.images.shape == (1, 2, 3, 32, 32) and one.pixel.shape == (1, 2, 90, 2)
        chosen.add(tuple(first._choose(number).tolist()))
    assert len(chosen) > 1
    plain = ShapePictures(config, "test", 0)
    assert plain[0].images.shape[1] == 4 and plain.names[:2] == plain.shapes.names[:2]


@pytest.mark.parametrize("pictures", ["mesh", "depth"])
def test_pictures_follow_the_augmentation(pictures: str) -> None:
    """The sample of a turned shape is that of cameras turned the other way."""
    plain = data(views=ViewConfig(**{**VIEWS, "pictures": pictures}))
    turning = replace(plain, augment=replace(unchanging(), rotation="up"))
    turned = ShapePictures(turning, "train", 3)
    for number in range(3):
        before, after = ShapePictures(plain, "train", 3), turned[number]
        turn = torch.eye(4, dtype=torch.float64)
        turn[:3, :3] = turned.shapes[number].turn[0]
        before.views.camera_to_world = turn.T @ before.views.camera_to_world
        expected = before[number]
        assert after.names == expected.names and torch.equal(after.parts, expected.parts)
        assert torch.allclose(after.pixel, expected.pixel, atol=1e-3)
        assert (after.images == expected.images).float().mean() > 0.97
        assert (after.visible == expected.visible).float().mean() > 0.97
        unturned = ShapePictures(plain, "train", 3)[number]
        assert (after.images == unturned.images).float().mean() < 0.95
    evaluated = ShapePictures(turning, "train", 3, training=False)[1]
    assert torch.equal(evaluated.images, ShapePictures(plain, "train", 3, training=False)[1].images)


def test_points_beyond_the_picture_are_not_visible() -> None:
    """Their parts would be learnt at the pixels of its border."""
    larger = ShapeAugmentConfig(scale=[1.3, 1.6], translate=0.2, jitter=0.05)
    cut, whole = 0, ShapePictures(data(num_points=0), "train", 3)
    dataset = ShapePictures(data(augment=larger, num_points=0), "train", 3)
    for number in range(4):
        sample, pixel = dataset[number], dataset[number].pixel
        inside = ((pixel >= -0.501) & (pixel <= 31.501)).all(3)
        assert bool(inside[sample.visible].all())
        placed = whole_shape(dataset.shapes, sample.names[0])
        placed = dataset._placed(placed, dataset.shapes[number])[
            dataset.shapes[number].point_number
        ]
        shown = hidden_point_removal(placed, dataset.views.camera_to_world[None, :, :3, 3], 100.0)
        outside = shown & ~inside
        cut += int(outside.sum())
        assert sample.visible.sum() > 50 and (sample.visible == shown)[inside].float().mean() > 0.97
        # of a shape that fits into the picture nothing is lost
        points = whole_shape(whole.shapes, whole[number].names[0])[None]
        shown = hidden_point_removal(points, whole.views.camera_to_world[None, :, :3, 3], 100.0)
        order = whole.shapes[number].point_number[0]
        assert torch.equal(whole[number].visible, shown[..., order])
    assert cut > 100


def test_shapes_larger_than_the_picture_have_points_that_no_view_shows() -> None:
    views = ShapeViews(ViewConfig(**VIEWS))
    torch.manual_seed(0)
    near = torch.nn.functional.normalize(torch.randn(500, 3), dim=1)
    far = torch.tensor([[0.0, 0.0, 9.0], [0.0, 0.0, -9.0], [50.0, 0.0, 0.0], [0.0, 50.0, 0.0]])
    found = views.visible(torch.cat([near, far]))
    assert not bool(found[:, 500:].any())  # above, below and behind the cameras
    assert torch.equal(views.place(near)[1], torch.ones(4, 500, dtype=torch.bool))


def test_pictures_that_change_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pictures_folder.*augment"):
        data(pictures_folder=str(tmp_path), augment=ShapeAugmentConfig())


def test_pictures_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = data(views_per_shape=2, pictures_folder=str(tmp_path))
    plain = ShapePictures(data(views_per_shape=2), "train", 3)
    first = [ShapePictures(kept, "train", 3)[n].images for n in range(3)]
    assert all(torch.equal(images, plain[n].images) for n, images in enumerate(first))
    other = data(pictures_folder=str(tmp_path), views=ViewConfig(**{**VIEWS, "distance": 3.0}))
    assert not torch.equal(ShapePictures(other, "train", 3)[0].images[:, :2], first[0])

    def refuse(*arguments: Any) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(ShapeViews, "pictures", refuse)
    again = ShapePictures(kept, "train", 3)
    assert all(torch.equal(images, again[n].images) for n, images in enumerate(first))
    next(tmp_path.rglob("*.safetensors")).write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="drawn again"):
        for n in range(9):
            again[n]


def test_pixels_show_the_parts_they_are_labelled_with() -> None:
    """A picture in which only one part is drawn is bright exactly at the pixels of its points."""
    config = data(views=ViewConfig(**{**VIEWS, "pictures": "depth"}), num_points=0)
    dataset = ShapePictures(config, "test", 0)
    sample, views = dataset[1], ShapeViews(config.views)
    points = Shapes(config, "test", 0, training=False)[1].points[0]
    part = int(sample.parts[0].mode().values)
    own = sample.parts[0] == part
    assert bool(own.any()) and not bool(own.all())
    drawn = views.pictures(points[own], None)[:, 0] > 0
    for view in range(4):
        u, v = sample.pixel[0, view].round().long().clamp(0, 31).unbind(1)
        lit = drawn[view][v, u]
        assert bool(lit[own].all()) and not bool(lit[~own].all())


def test_segmentation_reads_scores_at_the_pixels(tmp_path: Path) -> None:
    config = make_config(tree(tmp_path, "view_segmentation"))
    task: Any = build(config).method
    dataset = task.make_dataset(config.data, "train", 0)
    batch = collate_views([dataset[0], dataset[1]])
    # scores that say the cell's own place: read back at pixels they must give the pixel
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    place = torch.stack([columns, rows]) * 8 + 3.5
    task.logits = lambda images: place.expand(len(images), 2, 4, 4)
    scores, row, point = task.scores(batch)
    view, where = batch.visible.flatten(0, 1).nonzero().unbind(1)
    assert torch.equal(row, view // 2) and torch.equal(point, where)
    pixel = batch.pixel.flatten(0, 1)[view, where]
    inner = ((pixel > 3.5) & (pixel < 27.5)).all(1)
    assert int(inner.sum()) > 50 and torch.allclose(scores[inner], pixel[inner], atol=1e-3)


def test_segmentation_counts_parts_of_the_class_alone(tmp_path: Path) -> None:
    config = make_config(tree(tmp_path, "view_segmentation"))
    task: Any = build(config).method
    dataset = task.evaluation_set(config.data, "test")
    batches = [dataset[0], dataset[1]]
    parts = len(task.part_names)
    # the best score goes to a part of the other class, the next to the right one
    labels = torch.stack([torch.zeros(parts), torch.ones(parts)])

    def scores(batch: Any) -> Any:
        row, _, place = batch.visible.nonzero().unbind(1)
        other = labels[1 - int(batch.label)].bool()
        right = torch.nn.functional.one_hot(batch.parts[row, place], parts).float()
        return right + 2 * other, row, place

    task.scores = scores
    labels = task.allowed.float()
    figures = task.evaluate(batches)
    assert figures["pixels/accuracy"] == 1 and figures["points/accuracy"] == 1


def test_autoencoder_draws_pictures_of_the_same_size(tmp_path: Path) -> None:
    odd = {"views": {**VIEWS, "image_size": [36, 44]}}
    config = make_config(tree(tmp_path, "view_autoencoding", task={"channels": [8, 4]}, data=odd))
    task: Any = build(config).method
    images = torch.randint(0, 256, (2, 3, 36, 44), dtype=torch.uint8)
    assert task.pictures(images).shape == images.shape
    dataset = task.evaluation_set(config.data, "test")
    with torch.no_grad():
        task.draw.weight.zero_()
        task.draw.bias.zero_()
    figures = task.evaluate([dataset[0]])
    assert figures["l1"] == pytest.approx(float(dataset[0].images.float().mean()) / 255, rel=1e-4)


def test_refuses(tmp_path: Path) -> None:
    wrong = tree(tmp_path, "view_classification", student={"name": "pointnet"})
    wrong["student"] = {"name": "pointnet"}
    with pytest.raises(ValueError, match="needs a network on pictures"):
        build(make_config(wrong))
    with pytest.raises(FileNotFoundError, match="view_classification"):
        ViewCodewords(ViewCodewords.Config())
    for key, value in (
        ("image_size", [4, 4]),
        ("distance", 0.5),
        ("pictures", "photo"),
        ("visibility", "x-ray"),
    ):
        with pytest.raises(ValueError, match=rf"data\.views\.{key}"):
            ViewConfig(**{key: value})
    with pytest.raises(ValueError, match="multiple"):
        ShapeViews(ViewConfig(num_views=5))
    with pytest.raises(ValueError, match="label_smoothing"):
        make_config(tree(tmp_path, "view_classification", task={"label_smoothing": 1.0}))


def test_clouds_are_drawn_as_depth_and_meshes_are_shaded(tmp_path: Path) -> None:
    shapes = Shapes(data(), "train", 0, training=False)
    name = shapes.names[0]
    mesh = ShapeViews(ViewConfig(**VIEWS))
    points, faces = mesh.surface(shapes, name)
    assert faces is not None and float(points.norm(dim=1).max()) < 1.3
    cloud = ShapeViews(ViewConfig(**{**VIEWS, "pictures": "depth"}))
    points, faces = cloud.surface(shapes, name)
    assert faces is None and points.shape == (300, 3)
    assert mesh.fingerprint() != cloud.fingerprint()


@pytest.mark.parametrize("backbone", ["lite0", "mobilenet_v2"])
def test_backbones(backbone: str) -> None:
    torch.manual_seed(0)
    network = ViewNetwork(ViewNetwork.Config(backbone=backbone, codeword_channels=8)).eval()
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    maps, codeword = network(images)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 64 // s, 96 // s) for c, s in zip(network.map_channels, (8, 16, 32))
    ]
    assert codeword.shape == (2, 8)


def test_nothing_visible_and_degenerate_shapes() -> None:
    views = ShapeViews(ViewConfig(**VIEWS))
    for points in (torch.zeros(1, 3), torch.zeros(7, 3), torch.rand(9, 1) * torch.eye(3)[:1]):
        assert views.visible(points).shape == (4, len(points))
        assert views.pictures(points, None).shape == (4, 3, 32, 32)
    depth = ShapeViews(ViewConfig(**{**VIEWS, "visibility": "depth"}))
    assert bool(depth.visible(torch.zeros(1, 3)).all())


@pytest.mark.parametrize("name", TASKS)
def test_splits_of_other_classes_are_refused_where_labels_count(name: str) -> None:
    owner, network = registry.get("tasks", name), ViewNetwork(ViewNetwork.Config())
    task = owner(owner.Config(weights="random"), network, data())
    turned = data(splits={"test": {"split": "test", "classes": ["table", "mug"]}})
    if name == "view_autoencoding":
        assert len(task.evaluation_set(turned, "test")) == 6
        return
    with pytest.raises(ValueError, match=r"class 0 of split 'test' is 'table', but .* 'mug'"):
        task.evaluation_set(turned, "test")
