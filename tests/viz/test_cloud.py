"""The splatter against a loop over points and pixels, and the viewpoint it looks from."""

import math

import pytest
import torch
from torch import Tensor

from pcpt.geometry.camera import Camera
from pcpt.viz.cloud import disc_sizes, look_at, overview_camera, render_cloud, splat

CAMERA = Camera([[20.0, 0, 15], [0, 20.0, 10], [0, 0, 1]], 21, 31)


def naive_splat(points: Tensor, camera: Camera, sizes: list[float]) -> tuple[Tensor, Tensor]:
    """Every pixel asks every disc whose point is the nearest on its own centre pixel."""
    uv, z = camera.project(points.double())
    centers = [(round(u), round(v)) for u, v in uv.tolist()]
    depth = z.float().tolist()  # what the z-buffer compares
    order = sorted(range(len(points)), key=lambda i: (depth[i], i))
    index = torch.full((camera.height, camera.width), -1)
    for row in range(camera.height):
        for column in range(camera.width):
            seen: set[tuple[int, int]] = set()
            for i in order:
                if depth[i] <= 0.05 or centers[i] in seen:
                    continue
                seen.add(centers[i])
                radius = 0.5 * sizes[i] * 20.0 / depth[i]
                if math.dist(centers[i], (column, row)) <= radius + 1e-6:
                    index[row, column] = i
                    break
    return index, torch.tensor([*depth, 0.0])[index]


def test_splat_equals_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    points = (torch.rand(60, 3, generator=generator) - 0.5) * torch.tensor([4.0, 3.0, 3.0])
    points[:, 2] += 1.5  # some behind the camera
    sizes = (0.02 + 0.5 * torch.rand(60, generator=generator)).double()
    index, depth = splat(points, CAMERA, sizes, max_radius=100)
    expected_index, expected_depth = naive_splat(points, CAMERA, sizes.tolist())
    assert torch.equal(index, expected_index)
    assert torch.equal(depth, expected_depth)
    assert (index < 0).any() and len(index.unique()) > 10


def test_nearest_point_wins_and_ties_go_to_the_first() -> None:
    points = torch.tensor([[0.0, 0, 3], [0.0, 0, 2], [0.0, 0, 2], [0.0, 0, -2], [0.0, 0, 0]])
    index, depth = splat(points, CAMERA, 0.0)
    assert index[10, 15] == 1 and depth[10, 15] == 2
    assert (index >= 0).sum() == 1
    colors = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9], [9, 9, 9]])
    picture = render_cloud(points, colors.to(torch.uint8), CAMERA, point_size=0.3)
    assert picture[:, 10, 15].tolist() == [0, 255, 0]


def test_discs_have_their_size_in_the_picture() -> None:
    index, _ = splat(torch.tensor([[0.0, 0, 2.0]]), CAMERA, 0.4)  # radius 2 pixels
    assert (index >= 0).sum() == 13
    index, _ = splat(torch.tensor([[0.0, 0, 2.0]]), CAMERA, 40.0, max_radius=3)
    assert (index >= 0).sum() == 29
    outside = torch.tensor([[-1.6, 0, 2.0]])  # centre at column -1, reaching in
    assert (splat(outside, CAMERA, 0.4)[0] >= 0).sum() == 4


def test_no_points_make_an_empty_picture() -> None:
    picture = render_cloud(torch.empty(0, 3), torch.empty(0, 3), CAMERA, background=(1, 2, 3))
    assert picture.flatten(1).unique(dim=1).tolist() == [[1], [2], [3]]
    behind = torch.tensor([[0.0, 0, -1]])
    assert (splat(behind, CAMERA, 0.1)[0] == -1).all()


def test_picture_does_not_depend_on_the_order_of_points() -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(500, 3, generator=generator) + torch.tensor([-0.5, -0.5, 1.0])
    colors = torch.rand(500, 3, generator=generator)
    order = torch.randperm(500, generator=generator)
    picture = render_cloud(points, colors, CAMERA)
    assert torch.equal(picture, render_cloud(points[order], colors[order], CAMERA))


def test_shading_darkens_behind_an_edge_only() -> None:
    u, v = torch.meshgrid(torch.linspace(-1, 1, 80), torch.linspace(-1, 1, 80), indexing="xy")
    z = torch.where(u < 0, 1.0, 2.0)
    points = torch.stack((u * z, v * z, z), dim=2).reshape(-1, 3)
    white = torch.ones(len(points), 3)
    row = render_cloud(points, white, CAMERA, point_size=0.08)[0, 10].int()
    assert row[2:13].min() == 255 and row[20:29].min() == 255
    assert row[14:18].min() < 200
    flat = render_cloud(points, white, CAMERA, point_size=0.08, shading=0)
    assert flat[0, 10, 2:29].min() == 255


def test_disc_sizes_follow_the_density() -> None:
    u, v = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="xy")
    plane = torch.stack((u, v, torch.zeros_like(u)), dim=2).reshape(-1, 3)
    dense, sparse = plane * 0.01, plane * 0.02 + torch.tensor([2.0, 0, 0])
    sizes = disc_sizes(torch.cat((dense, sparse)))
    assert 0.01 < sizes[:1600].median() < 0.03 < sizes[1600:].median() < 0.06
    assert disc_sizes(torch.zeros(5, 3)).isfinite().all()
    assert len(disc_sizes(torch.empty(0, 3))) == 0


def test_look_at_puts_the_target_in_the_middle_and_up_upwards() -> None:
    eye, target = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.0, 1.0])
    up = torch.tensor([0.0, 0.0, 1.0])
    camera = Camera(CAMERA.intrinsics, 21, 31, look_at(eye, target, up))
    uv, z = camera.project(torch.stack((target, target + 0.1 * up)))
    assert uv[0].tolist() == pytest.approx([15, 10], abs=1e-4)
    assert float(z[0]) == pytest.approx(3.0)
    assert uv[1, 1] < 9.9 and float(uv[1, 0]) == pytest.approx(15, abs=1e-4)
    with pytest.raises(ValueError, match="straight above"):
        look_at(eye, eye + up, up)


@pytest.mark.parametrize("azimuth", [None, 22.0, -30.0])
def test_overview_frames_the_cloud_from_above(azimuth: float | None) -> None:
    depth = torch.full((21, 31), 2.0)
    points, _ = CAMERA.unproject(depth)
    view = overview_camera(points, CAMERA, height=60, azimuth=azimuth)
    assert (view.height, view.width) == (60, 89)
    uv, z = view.project(points)
    assert z.min() > 0
    assert uv.amin(0).min() > -1 and uv[:, 0].max() < 90 and uv[:, 1].max() < 61
    extent = uv.amax(0) - uv.amin(0)
    assert (extent / torch.tensor([89.0, 60.0])).max() > 0.9
    eye = view.camera_to_world[:3, 3]
    assert eye[1] < -0.3, "y points down: a smaller y is higher"
    if azimuth is not None:
        assert (eye[0] > 0) == (azimuth > 0)


@pytest.mark.parametrize("up", [None, [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
def test_overview_of_odd_clouds(up: list[float] | None) -> None:
    """A single point, a cloud at the camera, one looked down upon: no place without a view."""
    vector = None if up is None else torch.tensor(up)
    for points in ([[0.0, 0, 1]], [[0.0, 0, 0]], [[0.0, 1, 0]], [[0.0, 0, 1], [0, 0, 1]]):
        view = overview_camera(torch.tensor(points), CAMERA, up=vector)
        assert view.project(torch.tensor(points))[1].min() > 0


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 3\) with N > 0"):
        overview_camera(torch.empty(0, 3), CAMERA)
    with pytest.raises(ValueError, match="2 colors for 3 points"):
        render_cloud(torch.zeros(3, 3), torch.zeros(2, 3), CAMERA)
