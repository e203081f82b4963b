"""Shaded meshes against rays cast one by one, and what pictures must look like."""

import math

import pytest
import torch
from torch import Tensor

from pcpt.geometry import shade_mesh as module
from pcpt.geometry.shade_mesh import depth_images, render_views, shade_mesh
from pcpt.geometry.views import camera_ring, fitting_intrinsics, look_at

SIZE = (13, 17)


def soup(count: int, seed: int = 0, spread: float = 0.6) -> tuple[Tensor, Tensor]:
    """Triangles that cross each other."""
    generator = torch.Generator().manual_seed(seed)
    centers = (torch.rand(count, 1, 3, generator=generator) - 0.5) * 1.6
    vertices = centers + (torch.rand(count, 3, 3, generator=generator) - 0.5) * spread
    return vertices.reshape(-1, 3), torch.arange(3 * count).reshape(-1, 3)


def cast(
    vertices: Tensor, faces: Tensor, matrix: Tensor, pose: Tensor, orthographic: bool
) -> Tensor:
    """(H, W) depth by Moeller-Trumbore, every ray against every triangle; inf is nothing."""
    a, b, c = vertices.double()[faces].unbind(1)
    depth = torch.full(SIZE, math.inf, dtype=torch.float64)
    for v in range(SIZE[0]):
        for u in range(SIZE[1]):
            x, y, _ = torch.linalg.solve(matrix, torch.tensor([u, v, 1.0], dtype=torch.float64))
            if orthographic:
                origin = pose[:3, :3] @ torch.stack((x, y, x * 0)) + pose[:3, 3]
                ray = pose[:3, 2]
            else:
                origin = pose[:3, 3]
                ray = pose[:3, :3] @ torch.stack((x, y, x * 0 + 1))
            across = torch.linalg.cross(ray.expand_as(c), c - a)
            determinant = ((b - a) * across).sum(1)
            s = ((origin - a) * across).sum(1) / determinant
            other = torch.linalg.cross(origin - a, b - a)
            t = (ray * other).sum(1) / determinant
            z = ((c - a) * other).sum(1) / determinant
            hit = (s >= 0) & (t >= 0) & (s + t <= 1) & (z > 0) & (determinant != 0)
            if hit.any():
                depth[v, u] = z[hit].min()
    return depth


@pytest.mark.parametrize("orthographic", [False, True])
@pytest.mark.parametrize("count, chunk", [(0, 9), (1, 9), (7, 50), (33, 300), (60, 1 << 20)])
def test_depth_is_that_of_rays(
    count: int, chunk: int, orthographic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAIRS", chunk)
    vertices, faces = soup(count, seed=count)
    poses = camera_ring(2)
    matrix = fitting_intrinsics(SIZE, 2.5)
    if orthographic:
        matrix[0, 0] = matrix[1, 1] = 6.0
    views = shade_mesh(vertices, faces, matrix, poses, SIZE, orthographic=orthographic)
    assert views.images.shape == (2, 3, *SIZE) and views.images.dtype == torch.uint8
    for view, pose in enumerate(poses):
        expected = cast(vertices, faces, matrix, pose, orthographic)
        expected = torch.where(expected.isinf(), 0.0, expected).float()
        torch.testing.assert_close(views.depth[view], expected, atol=1e-5, rtol=1e-5)
        shown = views.depth[view] > 0
        assert (views.images[view].amin(0)[~shown] == 255).all()
        assert (views.images[view].amax(0)[shown] <= 191).all()


def test_camera_inside_the_mesh_sees_triangles_that_reach_behind_it() -> None:
    vertices, faces = soup(12, seed=3, spread=8.0)
    pose = look_at(torch.tensor([[0.1, 0.2, 0.0]]), target=(1.0, 0.0, 0.3))
    matrix = fitting_intrinsics(SIZE, 1.2)
    depth = shade_mesh(vertices, faces, matrix, pose, SIZE).depth[0]
    expected = cast(vertices, faces, matrix, pose[0], False)
    assert (expected.isfinite()).float().mean() > 0.3
    torch.testing.assert_close(
        depth, torch.where(expected.isinf(), 0.0, expected).float(), atol=1e-4, rtol=1e-4
    )


def test_a_closed_mesh_has_no_cracks() -> None:
    # a fine height field that fills the image: every pixel centre lies on many shared edges
    steps = torch.linspace(-3, 3, 33, dtype=torch.float64)
    x, y = torch.meshgrid(steps, steps, indexing="ij")
    vertices = torch.stack((x, y, 0.1 * (3 * x).sin() * y), dim=-1).reshape(-1, 3)
    corner = (torch.arange(32)[:, None] * 33 + torch.arange(32)).reshape(-1)
    faces = torch.cat(
        [torch.stack((corner, corner + 33, corner + 34), 1),
         torch.stack((corner, corner + 34, corner + 1), 1)]
    )  # fmt: skip
    pose = look_at(torch.tensor([[0.0, 0.0, 2.0]]), up=(0.0, 1.0, 0.0))
    matrix = torch.tensor([[16.0, 0, 16], [0, 16.0, 16], [0, 0, 1]])
    views = shade_mesh(vertices, faces, matrix, pose, (33, 33))
    assert (views.depth > 0).all()


def test_light_is_lambert_from_the_camera_on_both_sides() -> None:
    angle = math.radians(50)
    square = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    tilt = torch.tensor(
        [[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]]
    )
    pose = look_at(torch.tensor([[0.0, 0, 3]]), up=(0.0, 1.0, 0.0))
    matrix = torch.tensor([[4.0, 0, 3], [0, 4.0, 3], [0, 0, 1]])
    color = (1.0, 0.5, 0.0)
    for vertices, cosine in ((square, 1.0), (square @ tilt.T, math.cos(angle))):
        for order in ([[0, 1, 2], [0, 2, 3]], [[2, 1, 0], [3, 2, 0]]):
            views = shade_mesh(
                vertices, torch.tensor(order), matrix, pose, (7, 7),
                orthographic=True, color=color, ambient=0.2, background=0.0,
            )  # fmt: skip
            bright = 255 * (0.2 + 0.8 * cosine)
            expected = [bright, bright / 2, 0]
            assert views.images[0, :, 3, 3].tolist() == pytest.approx(expected, abs=0.51)
            assert views.images[0, :, 0, 0].sum() > 0 or cosine < 1
    middle = shade_mesh(square, torch.tensor([[0, 1, 2], [0, 2, 3]]), matrix, pose, (7, 7)).images
    # a point light at the camera: the farther from the foot, the flatter the light
    assert middle[0, 0, 3, 3] > middle[0, 0, 2, 2]


def test_ties_and_flat_triangles() -> None:
    vertices = torch.tensor([[-1.0, -1, 0], [3, -1, 0], [-1, 3, 0], [0, 0, 1], [0, 0, 1.5]])
    faces = torch.tensor([[3, 4, 4], [0, 1, 2], [0, 1, 2]])
    pose = look_at(torch.tensor([[0.0, 0, 3]]), up=(0.0, 1.0, 0.0))
    views = shade_mesh(vertices, faces, torch.diag(torch.tensor([3.0, 3, 1])), pose, (1, 2))
    assert views.depth.tolist() == [[[3.0, 3.0]]]  # the flat one before it shows nowhere


def test_clouds_are_shown_by_their_depth() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(2000, 3, generator=generator), dim=1)
    poses, matrix = camera_ring(2), fitting_intrinsics((32, 32), 2.5)
    views = render_views(points, None, matrix, poses, (32, 32))
    assert views.images.shape == (2, 3, 32, 32)
    assert views.depth[:, 16, 16].tolist() == pytest.approx([1.5, 1.5], abs=0.1)
    assert views.images.amax() == 255 and (views.images[:, :, 0, 0] == 0).all()
    matrix[0, 0] = matrix[1, 1] = 10.0
    flat = render_views(points, None, matrix, poses, (32, 32), orthographic=True)
    assert flat.depth[:, 16, 16].tolist() == pytest.approx([1.5, 1.5], abs=0.15)


def test_a_cloud_lies_on_its_mesh() -> None:
    from pcpt.data.sources.procedural_shapes import ProceduralShapes

    shapes = ProceduralShapes(ProceduralShapes.Config(classes=["mug"], per_class=1)).open()
    vertices, faces = shapes.mesh(shapes.names[0])
    middle, scale = vertices.mean(0), 1 / (vertices - vertices.mean(0)).norm(dim=1).max()
    vertices, points = (
        (p - middle) * scale for p in (vertices, shapes.load(shapes.names[0]).points)
    )
    poses, matrix = camera_ring(2), fitting_intrinsics((48, 48), 2.5)
    mesh = render_views(vertices, faces, matrix, poses, (48, 48))
    cloud = render_views(points, None, matrix, poses, (48, 48), radius_pixels=0)
    both = (mesh.depth > 0) & (cloud.depth > 0)
    assert both.float().mean() > 0.1
    ahead = mesh.depth[both] - cloud.depth[both]  # no point lies before the surface
    assert ahead.quantile(0.95) < 0.06 and ahead.median().abs() < 0.03


def test_no_views_and_nothing_to_see() -> None:
    vertices, faces = soup(2)
    matrix = fitting_intrinsics(SIZE, 2.5)
    none = shade_mesh(vertices, faces, matrix, torch.zeros(0, 4, 4), SIZE)
    assert none.images.shape == (0, 3, *SIZE) and none.depth.shape == (0, *SIZE)
    away = look_at(torch.tensor([[0.0, 0, 5]]), target=(0.0, 0.0, 9.0))
    views = shade_mesh(vertices, faces, matrix, away, SIZE)
    assert (views.depth == 0).all() and (views.images == 255).all()
    empty = render_views(torch.zeros(0, 3), None, matrix, camera_ring(2), SIZE)
    assert (empty.images == 0).all()
    assert depth_images(torch.zeros(0, 4, 4)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    "vertices, faces, message",
    [
        (torch.zeros(3, 2), torch.zeros(1, 3, dtype=torch.int64), "vertices are"),
        (torch.zeros(3, 3), torch.zeros(1, 3), "faces are"),
        (torch.zeros(3, 3), torch.zeros(1, 4, dtype=torch.int64), "faces are"),
        (torch.full((3, 3), torch.nan), torch.zeros(1, 3, dtype=torch.int64), "not finite"),
        (torch.zeros(3, 3), torch.tensor([[0, 1, 3]]), "expected 0 to 2"),
        (torch.zeros(3, 3), torch.tensor([[0, 1, -1]]), "expected 0 to 2"),
    ],
)
def test_broken_meshes_are_refused(vertices: Tensor, faces: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shade_mesh(vertices, faces, torch.eye(3), torch.eye(4)[None], (2, 2))


def test_broken_cameras_are_refused() -> None:
    vertices, faces = soup(2)
    for matrix, pose, message in (
        (torch.eye(3) * 2, torch.eye(4)[None], r"intrinsics\[0\] must end in the row"),
        (torch.eye(3), torch.full((1, 4, 4), torch.nan), "camera_to_world"),
        (torch.eye(3).expand(2, 3, 3), torch.eye(4)[None], "one matrix a view"),
    ):
        for order in (faces, None):
            with pytest.raises(ValueError, match=message):
                render_views(vertices, order, matrix, pose, SIZE)
            with pytest.raises(ValueError, match=message):
                render_views(vertices, order, matrix, pose, SIZE, orthographic=True)
