"""Marks sit on their pixels, in the colours of their pairs, and only where they can be seen."""

import pytest
import torch
from torch import Tensor

from pcpt.geometry.camera import Camera
from pcpt.viz.correspondences import RIGHT, WRONG, correspondence_picture, match_picture
from pcpt.viz.marks import place_colors, spread_out
from pcpt.viz.picture import title_height

CAMERA = Camera([[60.0, 0, 59.5], [0, 60.0, 39.5], [0, 0, 1]], 80, 120)
IMAGE = torch.full((3, 80, 120), 128, dtype=torch.uint8)
GAP = 12


def plane(z: float, half: float) -> Tensor:
    axis = torch.linspace(-half, half, 60)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    return torch.stack((x, y, torch.full_like(x, z)), dim=2).reshape(-1, 3)


def test_marks_are_at_the_pixel_and_at_the_point_in_matching_colors() -> None:
    points = plane(2.0, 2.0)
    pixel = torch.tensor([[20.0, 15.0], [100.0, 60.0]])
    pairs = torch.tensor([[-0.8, -0.9, 2.0], [0.9, 0.5, 2.0]])
    grey = torch.full_like(points, 0.5)
    picture = correspondence_picture(IMAGE, pixel, pairs, points, grey, CAMERA, titles=None)
    assert tuple(picture.shape) == (3, 80, 120 + GAP + 120)
    ends = CAMERA.project(pairs)[0].round().long()
    for (u, v), (x, y), color in zip(pixel.long().tolist(), ends.tolist(), place_colors(pixel)):
        assert torch.equal(picture[:, v, u], color)
        assert torch.equal(picture[:, y, 120 + GAP + x], color)


def test_image_of_another_size_is_scaled_with_its_marks() -> None:
    image = torch.full((3, 160, 200), 128, dtype=torch.uint8)
    points, pixel = plane(2.0, 2.0), torch.tensor([[150.5, 40.5]])
    picture = correspondence_picture(
        image, pixel, torch.tensor([[0.0, 0.0, 2.0]]), points, torch.zeros_like(points), CAMERA
    )
    top = title_height(80)
    assert tuple(picture.shape) == (3, 80 + top, 100 + GAP + 120)
    assert torch.equal(picture[:, 20 + top, 75], place_colors(pixel)[0])


def test_hidden_points_are_left_out_of_correspondences_but_not_of_matches() -> None:
    wall = plane(1.0, 1.5)
    pixel = torch.tensor([[30.0, 40.0]])
    behind = torch.tensor([[0.0, 0.0, 3.0]])
    grey = torch.full_like(wall, 0.5)
    bare = correspondence_picture(IMAGE, pixel[:0], behind[:0], wall, grey, CAMERA, titles=None)
    left_out = correspondence_picture(IMAGE, pixel, behind, wall, grey, CAMERA, titles=None)
    assert torch.equal(bare, left_out)
    match = match_picture(
        IMAGE, pixel, behind, torch.tensor([False]), wall, grey, CAMERA, titles=None
    )
    assert tuple(match[:, 40, 30].tolist()) == WRONG
    assert not torch.equal(match[:, :, 130:], bare[:, :, 130:])


def test_matches_are_green_where_right_and_red_where_not() -> None:
    points = plane(2.0, 2.0)
    pixel = torch.tensor([[20.0, 15.0], [100.0, 60.0], [20.0, 60.0]])
    found = torch.tensor([[-0.8, -0.9, 2.0], [0.9, 0.5, 2.0], [50.0, 0.0, 2.0]])  # one outside
    right = torch.tensor([True, False, True])
    picture = match_picture(
        IMAGE, pixel, found, right, points, torch.zeros_like(points), CAMERA, titles=None
    )
    for (u, v), is_right in zip(pixel.long().tolist(), right.tolist()):
        assert tuple(picture[:, v, u].tolist()) == (RIGHT if is_right else WRONG)


def test_spread_out_picks_far_pixels_without_repetition() -> None:
    pixel = torch.cat((torch.rand(200, 2), torch.tensor([[90.0, 0], [0, 90.0], [90.0, 90.0]])))
    chosen = spread_out(pixel, 5)
    assert {200, 201, 202} <= set(chosen.tolist())
    assert sorted(spread_out(pixel[:7], 99).tolist()) == list(range(7))
    assert len(spread_out(pixel[:0], 5)) == 0


def test_errors_say_what_was_expected() -> None:
    points = plane(2.0, 1.0)
    with pytest.raises(ValueError, match=r"\(2, 2\) and their points \(1, 3\)"):
        correspondence_picture(
            IMAGE, torch.zeros(2, 2), torch.zeros(1, 3), points, points.abs(), CAMERA
        )
    with pytest.raises(ValueError, match=r"is_right is \(1,\) torch.float32, expected \(1,\) bool"):
        match_picture(
            IMAGE, torch.zeros(1, 2), torch.zeros(1, 3), torch.ones(1), points, points, CAMERA
        )
