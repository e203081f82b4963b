"""Augmentation keeps every (point, pixel) pair: marked pixels are followed through all of it."""

import math

import pytest
import torch

from pcpt.data.dataset import DataConfig, make_sample
from pcpt.data.frame import Frame
from pcpt.data.transforms import (
    AugmentConfig,
    augment_colors,
    augment_points,
    augment_view,
    elastic_distortion,
    fit_view,
    rotation_about,
    rotation_to_z,
)
from pcpt.geometry.camera import Camera

NEUTRAL = {
    "flip": 0.0, "resize": [1.0, 1.0], "rotate": 0.0, "tilt": 0.0, "scale": [1.0, 1.0],
    "elastic": 0.0,
}  # fmt: skip
STEPS = {
    "nothing": {},
    "flip": {"flip": 1.0},
    "resize and crop": {"resize": [1.2, 1.6]},
    "rotation": {"rotate": 180.0},
    "tilt": {"tilt": 10.0},
    "scale": {"scale": [0.8, 1.25]},
    "elastic": {"elastic": 1.0},
    "all": {
        "flip": 1.0, "resize": [1.2, 1.6], "rotate": 180.0, "tilt": 10.0, "scale": [0.8, 1.25],
        "elastic": 1.0,
    },
}  # fmt: skip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def look_from(x, y, z, yaw):
    """A camera at (x, y, z) of a z-up world that looks along the yaw direction, y axis down."""
    forward = torch.tensor([math.cos(yaw), math.sin(yaw), 0.0])
    right = torch.tensor([math.sin(yaw), -math.cos(yaw), 0.0])
    pose = torch.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, torch.tensor([0.0, 0.0, -1.0]), forward
    pose[:3, 3] = torch.tensor([x, y, z])
    return pose


def marked_frame(offset=0.0):
    """A wall in front of the camera; red rises with the column, green with the row, so that a
    colour tells the pixel that it came from even after resampling."""
    height, width = 96, 128
    row = torch.arange(height).view(-1, 1).expand(height, width)
    column = torch.arange(width).view(1, -1).expand(height, width)
    image = torch.stack([column + 60, row + 60, torch.full_like(row, 128)]).to(torch.uint8)
    depth = 2.0 + 0.002 * column + 0.001 * row
    depth[:5] = 0.0
    intrinsics = torch.tensor([[110.0, 0, 63.5], [0, 110.0, 47.5], [0, 0, 1]])
    depth_camera = Camera(intrinsics, height, width, look_from(1, 2, 1.5, 0.7))
    shifted = depth_camera.camera_to_world.clone()
    shifted[:3, 3] += offset * shifted[:3, 0]
    color_camera = Camera(intrinsics, height, width, shifted)
    return Frame("marked", image, depth.float(), color_camera, depth_camera)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("offset", [0.0, 0.03], ids=["one camera", "two cameras"])
def test_marked_pixels_are_followed(step, offset):
    config = DataConfig(image_size=[96, 128], augment=AugmentConfig(**(NEUTRAL | STEPS[step])))
    sample = make_sample(
        [marked_frame(offset)], torch.tensor([0.0, 0, 1]), config, generator(3), True
    )
    assert len(sample.point_index) > 2000
    u, v = sample.pixel.round().long().unbind(1)
    inside = (u > 0) & (u < 127) & (v > 0) & (v < 95)  # resampling repeats the edge
    seen = sample.images[sample.view_index, :, v, u].float()[inside]
    mark = sample.colors[sample.point_index][inside] * 255
    # one step of colour is one pixel; half a pixel from each rounding, and the resampling's own
    assert (seen - mark)[:, :2].abs().max() <= 2.0
    assert (seen - mark)[:, :2].abs().mean() <= 0.6


def test_the_marks_would_show_a_shift_of_two_pixels():
    config = DataConfig(image_size=[96, 128], augment=AugmentConfig(**(NEUTRAL | {"flip": 1.0})))
    sample = make_sample([marked_frame()], torch.tensor([0.0, 0, 1]), config, generator(3), True)
    u, v = (sample.pixel + torch.tensor([2.0, 0.0])).round().long().clamp(max=127).unbind(1)
    seen = sample.images[0, 0, v, u].float()
    assert (seen - sample.colors[sample.point_index][:, 0] * 255).abs().mean() > 1.5


def test_points_move_and_the_world_stays():
    config = DataConfig(image_size=[96, 128], augment=AugmentConfig(**(NEUTRAL | STEPS["all"])))
    frame = marked_frame()
    sample = make_sample([frame], torch.tensor([0.0, 0, 1]), config, generator(1), True)
    uv, z = frame.depth_camera.project(sample.world)
    column, row = uv.round().long().unbind(1)
    assert torch.allclose(z, frame.depth[row, column], atol=1e-4)
    assert (sample.points - sample.world).abs().max() > 0.1


def test_without_augmentation_the_cloud_is_turned_z_up_about_the_camera():
    frame = marked_frame()
    turned = rotation_about(0, 0.4)
    up = turned @ torch.tensor([0.0, 0, 1], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = turned
    moved = [
        Camera(c.intrinsics, c.height, c.width, pose @ c.camera_to_world)
        for c in (frame.color_camera, frame.depth_camera)
    ]
    tilted = Frame("tilted", frame.image, frame.depth, moved[0], moved[1])
    config = DataConfig(image_size=[96, 128])
    level = make_sample([frame], torch.tensor([0.0, 0, 1]), config, generator(), False)
    again = make_sample([tilted], up, config, generator(), False)
    assert torch.allclose(level.points[:, 2], again.points[:, 2], atol=1e-4)
    assert torch.allclose(level.points.norm(dim=1), again.points.norm(dim=1), atol=1e-4)


@pytest.mark.parametrize("up", [[0, 0, 1], [0, 0, -1], [0, 1, 0], [0.3, -0.9, 0.2], [1e-8, 0, -1]])
def test_rotation_to_z(up):
    up = torch.tensor(up, dtype=torch.float64)
    turn = rotation_to_z(up)
    assert torch.allclose(turn @ (up / up.norm()), torch.tensor([0.0, 0, 1]).double(), atol=1e-7)
    assert torch.allclose(turn @ turn.T, torch.eye(3).double(), atol=1e-7)
    assert float(torch.linalg.det(turn)) == pytest.approx(1.0)


def test_rotation_to_z_refuses_a_zero_vector():
    with pytest.raises(ValueError, match="non-zero"):
        rotation_to_z(torch.zeros(3))


def test_a_rotation_about_an_axis_is_right_handed():
    assert torch.allclose(
        rotation_about(2, math.pi / 2) @ torch.tensor([1.0, 0, 0]).double(),
        torch.tensor([0.0, 1, 0]).double(),
        atol=1e-12,
    )


def test_elastic_distortion_is_smooth_bounded_and_repeats():
    points = torch.rand(500, 3, generator=generator()) * 4
    near = points + 0.001
    moved = elastic_distortion(points, 0.8, 1.6, generator(1)) - points
    moved_near = elastic_distortion(near, 0.8, 1.6, generator(1)) - near
    assert moved.abs().max() > 0.05
    assert (moved - moved_near).abs().max() < 0.02
    assert torch.equal(moved, elastic_distortion(points, 0.8, 1.6, generator(1)) - points)


def test_elastic_distortion_of_no_points_and_one():
    assert elastic_distortion(torch.zeros(0, 3), 0.2, 0.4, generator()).shape == (0, 3)
    assert torch.isfinite(elastic_distortion(torch.zeros(1, 3), 0.2, 0.4, generator())).all()


def test_scale_and_rotation_stay_in_their_ranges():
    config = AugmentConfig(**(NEUTRAL | {"rotate": 30.0, "scale": [0.9, 1.1]}))
    x = torch.tensor([[1.0, 0.0, 0.0]])
    angles = []
    for seed in range(50):
        moved = augment_points(x, config, generator(seed))[0]
        assert 0.9 <= moved.norm() <= 1.1
        angles.append(math.degrees(math.atan2(moved[1], moved[0])))
    assert max(angles) <= 35 and min(angles) >= -35 and max(angles) - min(angles) > 30


def test_views_have_the_size_asked_for():
    frame = marked_frame()
    for seed in range(10):
        image, camera = augment_view(
            frame.image,
            frame.color_camera,
            (60, 90),
            AugmentConfig(resize=[1.0, 2.0]),
            generator(seed),
        )
        assert image.shape == (3, 60, 90) and (camera.height, camera.width) == (60, 90)
    image, camera = fit_view(frame.image, frame.color_camera, (48, 64))
    assert image.shape == (3, 48, 64) and image.dtype == torch.uint8


def test_colors_are_dropped_to_grey_and_jitter_stays_in_range():
    colors = torch.rand(20, 3, generator=generator())
    assert (augment_colors(colors, AugmentConfig(color_drop=1.0), generator()) == 0.5).all()
    jittered = augment_colors(colors, AugmentConfig(color_jitter=0.5), generator())
    assert jittered.min() >= 0 and jittered.max() <= 1 and not torch.equal(jittered, colors)
    assert torch.equal(augment_colors(colors, AugmentConfig(), generator()), colors)
