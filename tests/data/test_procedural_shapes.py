"""Parametric shapes: the same every time, whole, with points on their surfaces."""

import numpy as np
import pytest
import torch

from pcpt.data.rooms.shapes import signed_volume
from pcpt.data.shape_models import MODELS, mesh_of
from pcpt.data.sources.procedural_shapes import ProceduralShapes
from pcpt.data.surface import face_normals, sample_surface, seeded

Config = ProceduralShapes.Config


def test_ten_classes_of_two_to_four_parts() -> None:
    shapes = ProceduralShapes(Config(per_class=2)).open()
    assert len(shapes.classes) == 10 and len(shapes) == 20
    assert all(2 <= len(parts) <= 4 for parts in shapes.parts_of_class)
    assert [p for parts in shapes.parts_of_class for p in parts] == list(
        range(len(shapes.part_names))
    )


@pytest.mark.parametrize("name", MODELS)
def test_skins_are_closed_and_face_outwards(name: str) -> None:
    used: set[int] = set()
    for number in range(12):
        for part, skin in MODELS[name].build(seeded("skin", number)):
            assert np.isfinite(skin).all()
            assert signed_volume(skin - skin.mean((0, 1))) > 0, part
        mesh = mesh_of(MODELS[name], seeded("skin", number))
        used |= set(mesh.part.tolist())
        extent = np.ptp(mesh.vertices, axis=0)
        assert 0.01 < extent.max() < 5
    assert used == set(range(len(MODELS[name].parts)))  # every part occurs


def test_points_lie_on_the_mesh_and_bear_its_parts() -> None:
    shapes = ProceduralShapes(Config(per_class=1, surface_points=200)).open()
    for name in shapes.names:
        shape = shapes.load(name)
        vertices, faces = shapes.mesh(name)
        assert shape.normals is not None and shape.parts is not None
        assert set(shape.parts.tolist()) <= set(shapes.parts_of_class[shape.label])
        normals, areas = face_normals(vertices.numpy(), faces.numpy())
        corners = vertices.double()[faces]
        # distance to the plane of the nearest triangle that holds the point's foot
        points = shape.points.double()
        weights = _weights(points, corners)
        inside = (weights >= -1e-4).all(-1) & torch.from_numpy(areas > 0)
        plane = ((points[:, None] - corners[None, :, 0]) * torch.from_numpy(normals)).sum(-1).abs()
        distance = torch.where(inside, plane, torch.inf).amin(1)
        assert distance.max() < 1e-5 * float(vertices.abs().max()) + 1e-6, name
        assert (shape.normals.norm(dim=1) - 1).abs().max() < 1e-5


def _weights(points: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """(N, F, 3) barycentric weights of the points' feet in the triangles."""
    a, b, c = corners.unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    square = normal.square().sum(1).clamp(min=1e-300)
    pieces = [
        (torch.linalg.cross((second - first)[None], points[:, None] - first) * normal).sum(-1)
        / square
        for first, second in ((b, c), (c, a), (a, b))
    ]
    return torch.stack(pieces, dim=-1)


def test_a_shape_is_a_function_of_its_name_and_the_seed() -> None:
    def shape(seed: int = 0, split: str = "train", classes: list[str] | None = None, n: int = 3):
        config = Config(seed=seed, split=split, classes=classes or ["mug", "table"], per_class=n)
        shapes = ProceduralShapes(config).open()
        return shapes.load(f"{split}_table_00001")

    first = shape()
    assert torch.equal(first.points, shape(n=2, classes=["table"]).points)
    assert not torch.equal(first.points, shape(seed=1).points)
    assert not torch.equal(first.points, shape(split="val").points)
    assert first.label == 1 and shape(classes=["table"]).label == 0
    # the numbers themselves: another NumPy or machine gives the same
    mean = [-0.014147066, 0.304436862, 0.625053287]
    assert first.points.mean(0).tolist() == pytest.approx(mean, abs=1e-5)


def test_options() -> None:
    for options, message in (
        ({"classes": ["chiar"]}, "did you mean 'chair'"),
        ({"classes": []}, "expected names"),
        ({"classes": ["mug", "mug"]}, "each once"),
        ({"per_class": 0}, "per_class is 0"),
        ({"surface_points": 0}, "surface_points is 0"),
        ({"split": "trian"}, "did you mean 'train'"),
    ):
        with pytest.raises(ValueError, match=message):
            ProceduralShapes(Config(**options))  # type: ignore[arg-type]
    shapes = ProceduralShapes(Config()).open()
    for call in (shapes.load, shapes.mesh, shapes.label_of):
        with pytest.raises(ValueError, match="no shape 'train_table_99999'"):
            call("train_table_99999")


def test_surface_is_covered_by_area() -> None:
    # two squares of areas 1 and 9, and a triangle without area between them
    vertices = np.array(
        [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (2, 0, 0), (5, 0, 0), (5, 3, 0), (2, 3, 0)],
        dtype=np.float32,
    )
    faces = np.array([(0, 1, 2), (0, 2, 3), (0, 1, 1), (4, 5, 6), (4, 6, 7)])
    points, normals, index = sample_surface(vertices, faces, 4000, seeded("area"))
    counts = np.bincount(index, minlength=5) / 4000
    np.testing.assert_allclose(counts, [0.05, 0.05, 0, 0.45, 0.45], atol=0.03)
    assert (normals == [0, 0, 1]).all()
    large = points[points[:, 0] > 1.5]
    histogram, _, _ = np.histogram2d(large[:, 0], large[:, 1], bins=3, range=[[2, 5], [0, 3]])
    np.testing.assert_allclose(histogram / len(large), 1 / 9, atol=0.03)
    for count in (0, 1):
        assert sample_surface(vertices, faces, count, seeded("few"))[0].shape == (count, 3)
    for flat in (faces[2:3], faces[:0]):
        with pytest.raises(ValueError, match="area 0"):
            sample_surface(vertices, flat, 3, seeded("none"))
