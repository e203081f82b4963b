"""Cameras around shapes, and two ways of telling what they see."""

import math

import pytest
import torch
from torch import Tensor

from pcpt.geometry import Camera
from pcpt.geometry.views import (
    camera_ring,
    depth_visibility,
    fitting_intrinsics,
    look_at,
    orthographic_views,
)
from pcpt.ops import hidden_point_removal


def ball(num_points: int) -> Tensor:
    """Evenly spread over the unit sphere."""
    step = torch.arange(num_points, dtype=torch.float64) + 0.5
    z, angle = 1 - 2 * step / num_points, step * math.pi * (1 + math.sqrt(5))
    ring = (1 - z * z).sqrt()
    return torch.stack((ring * angle.cos(), ring * angle.sin(), z), dim=1).float()


def test_look_at_by_hand() -> None:
    pose = look_at(torch.tensor([[0.0, -2.0, 0.0]]))[0]  # looks along +y, z is up
    assert pose.tolist() == [[1, 0, 0, 0], [0, 0, 1, -2], [0, -1, 0, 0], [0, 0, 0, 1]]
    camera = Camera(fitting_intrinsics((101, 101), 2.0), 101, 101, pose)
    uv, z = camera.project(torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0, 0, 0.5]]))
    assert uv[0].tolist() == [50, 50] and z.tolist() == [2, 2, 2]
    assert uv[1, 0] > 50 and uv[2, 1] < 50  # +x to the right, +z upward
    above = look_at(torch.tensor([[0.0, 0, 3], [0, 0, -3]]))  # looks along up
    assert torch.linalg.det(above[:, :3, :3]).tolist() == pytest.approx([1, 1])
    assert above[:, :3, 2].tolist() == [[0, 0, -1], [0, 0, 1]]


@pytest.mark.parametrize(
    ("up", "beside"),
    [
        ((0, 0, 1), (1, 0, 0)),  # the next axis
        ((0, -2, 0), (0, 0, -1)),
        ((1, 1, 1), (1, 0, 0)),  # whose next is itself
        ((3, 2, 1), (0, 0, 1)),  # the axis that they look along least
        ((-1, 0.5, 2), (0, 1, 0)),
    ],
)
def test_cameras_that_look_along_up(up: tuple[float, ...], beside: tuple[float, ...]) -> None:
    direction = torch.tensor(up, dtype=torch.float64)
    along = torch.stack((direction, -direction))
    pose = look_at(along, up=up)
    turn = pose[:, :3, :3]
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    assert torch.linalg.det(turn).tolist() == pytest.approx([1, 1])
    torch.testing.assert_close(turn[:, :, 2], -along / direction.norm())
    assert torch.equal(pose, look_at(along, up=beside))
    assert (turn[:, :, 1] @ torch.tensor(beside, dtype=torch.float64) < 0).all()  # y points down


@pytest.mark.parametrize("default", ["meta", "cuda"])
def test_the_default_device_does_not_matter(default: str) -> None:
    if default == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    points = ball(50)

    def views() -> list[Tensor]:
        intrinsics, poses = fitting_intrinsics((16, 16), 2.5), camera_ring(2)
        visible = depth_visibility(points, intrinsics, poses, (16, 16))
        ahead = look_at(points[:2] * 3, up=(1, 1, 1))
        return [intrinsics, poses, visible, ahead, *orthographic_views(points, (16, 16))]

    expected = views()
    with torch.device(default):
        results = views()
    assert all(torch.equal(*pair) for pair in zip(results, expected))


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 1, 0), (1, 0, 0)])
def test_ring(up: tuple[int, int, int]) -> None:
    poses = camera_ring(12, distance=3, up=up)
    position = poses[:, :3, 3]
    assert poses.shape == (12, 4, 4)
    torch.testing.assert_close(position.norm(dim=1), torch.full((12,), 3.0, dtype=torch.float64))
    height = position[:, up.index(1)]
    torch.testing.assert_close(height, torch.tensor([1.5] * 6 + [-1.5] * 6, dtype=torch.float64))
    torch.testing.assert_close(poses[:, :3, 2], -position / 3)  # all look at the origin
    assert (poses[:, up.index(1), 1] < 0).all()  # y points down
    turn = poses[:, :3, :3]
    eye = torch.eye(3, dtype=torch.float64).expand(12, 3, 3)
    torch.testing.assert_close(turn @ turn.mT, eye)
    assert torch.linalg.det(turn).tolist() == pytest.approx([1] * 12)
    axis = (up.index(1) + 1) % 3  # azimuth 0
    assert position[0, axis] == pytest.approx(3 * math.cos(math.pi / 6))
    gaps = (position[:6] - position[:6].roll(1, 0)).norm(dim=1)
    torch.testing.assert_close(gaps, gaps[:1].expand(6))


def test_the_ball_just_fits() -> None:
    pose = camera_ring(1, elevations=[0.0], distance=2.5)[0]
    camera = Camera(fitting_intrinsics((64, 96), 2.5), 64, 96, pose)
    uv, _ = camera.project(ball(20000))
    low, high = uv.amin(0), uv.amax(0)
    assert low[1] == pytest.approx(-0.5, abs=0.05) and high[1] == pytest.approx(63.5, abs=0.05)
    assert low[0] == pytest.approx(15.5, abs=0.05) and high[0] == pytest.approx(79.5, abs=0.05)


def test_both_visibilities_of_a_ball_are_the_near_cap() -> None:
    points = ball(2000)
    poses = camera_ring(12)
    by_depth = depth_visibility(
        points,
        fitting_intrinsics((224, 224), 2.5),
        poses,
        (224, 224),
        radius_pixels=8,
        absolute_tolerance=0.2,
    )
    by_hull = hidden_point_removal(points[None], poses[None, :, :3, 3])[0]
    # The tangent cone touches the ball where the direction to the camera has cosine 1 / 2.5.
    cosine = points.double() @ (poses[:, :3, 3] / 2.5).T
    for visible in (by_depth, by_hull):
        assert visible.shape == (12, 2000)
        assert visible[(cosine > 0.5).T].float().mean() > 0.99
        assert visible[(cosine < 0).T].float().mean() < 0.02  # gaps at the rim
    assert (by_depth == by_hull).float().mean() > 0.9
    empty = depth_visibility(points[:0], torch.eye(3), poses, (8, 8))
    assert empty.shape == (12, 0)


def test_orthographic_views_by_hand() -> None:
    points = torch.tensor([[0.5, 0.25, -0.75], [-0.5, 0.25, -0.75], [torch.nan, 0, 0]])
    depth, pixel, z = orthographic_views(points, (8, 8), radius_pixels=0)
    assert depth.shape == (3, 8, 8) and depth.dtype == torch.float32
    # Along x both fall on one pixel, y = 0.25 right and z = -0.75 down; the nearer has x = -0.5.
    assert pixel[0, :2].tolist() == [[4.5, 0.5], [4.5, 0.5]] and z[0, :2].tolist() == [2.5, 1.5]
    assert depth[0].nonzero().tolist() == [[1, 5]] and depth[0, 1, 5] == 1.5
    # Along z they lie side by side, 1.25 from the plane at -2.
    assert pixel[2, :2].tolist() == [[5.5, 4.5], [1.5, 4.5]]
    assert depth[2].nonzero().tolist() == [[5, 2], [5, 6]] and depth[2].max() == 1.25
    wide = orthographic_views(points, (8, 8))[0]
    assert (wide[2] > 0).sum() > 20  # squares of 5 x 5


def test_orthographic_depth_is_the_front_of_a_ball() -> None:
    depth, pixel, z = orthographic_views(ball(5000), (64, 64), radius_pixels=1)
    column, row = (pixel + 0.5).floor().long().clamp(0, 63).unbind(-1)
    shown = depth[torch.arange(3)[:, None], row, column]
    visible = z <= shown + 0.1
    assert visible[z < 1.5].float().mean() > 0.95 and not visible[z > 2.3].any()
    assert z.min() == pytest.approx(1, abs=0.01) and depth[depth > 0].min() >= z.min()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: look_at(torch.zeros(3)), r"\(V, 3\)"),
        (lambda: look_at(torch.zeros(1, 3)), "stands at its target"),
        (lambda: look_at(torch.full((1, 3), torch.nan)), "stands at its target"),
        (lambda: look_at(torch.ones(1, 3), up=(0, 0, 0)), r"up is \(0, 0, 0\)"),
        (lambda: look_at(torch.ones(1, 3), up=(0, 0, math.nan)), "up is .*nan"),
        (lambda: look_at(torch.ones(1, 3), up=(0, math.inf, 1)), "up is .*inf"),
        (lambda: camera_ring(7), "multiple of the 2"),
        (lambda: camera_ring(0), "multiple"),
        (lambda: camera_ring(4, elevations=[]), "multiple"),
        (lambda: camera_ring(4, distance=0), "distance is 0"),
        (lambda: camera_ring(4, up=(0, 1, 1)), "one of the axes"),
        (lambda: fitting_intrinsics((8, 8), 1.0), "radius is 1.0"),
        (lambda: orthographic_views(torch.zeros(1, 3), (8, 8), extent=0), "extent is 0"),
    ],
)
def test_bad_input(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
