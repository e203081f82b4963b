"""Views along the axes: the side that shows, z-buffer against sums, shapes without extent."""

import importlib

import pytest
import torch

from pcpt.geometry.axis_views import DIRECTIONS, axis_views, view_axes
from pcpt.ops import render_depth

module = importlib.import_module("pcpt.geometry.axis_views")


def cloud(count=200, shapes=2, seed=0):
    return torch.randn(shapes, count, 3, generator=torch.Generator().manual_seed(seed))


def loop(points, size, directions, *, upright, depth, radius, tolerance=0.05):
    """The same, point by point and pixel by pixel."""
    images, visible = [], []
    for shape in points:
        largest = float((shape.amax(0) - shape.amin(0)).max())
        for direction in directions:
            right, down, z = (shape @ view_axes(direction, upright=upright).T).unbind(1)
            plane = torch.stack((right, down), 1)
            low, high = plane.amin(0), plane.amax(0)
            scale = (size - 1 - 2 * radius) / (high - low).max()
            pixel = (plane - (low + high) / 2) * scale + (size - 1) / 2
            nearest = torch.full((size, size), torch.inf)
            total = torch.zeros(size, size)
            cells = (pixel + 0.5).floor().long().tolist()
            for (u, v), near in zip(cells, (z - z.min() + 1).tolist()):
                box = (slice(v - radius, v + radius + 1), slice(u - radius, u + radius + 1))
                nearest[box] = nearest[box].clamp(max=near)
                total[box] += near - 1 + float(z.min())
            if depth == "summed":
                grey = total.sigmoid()
            else:
                grey = (1 - 0.8 * (nearest - 1) / largest).clamp(0.2, 1)
                grey = torch.where(nearest.isinf(), 0, grey)
            images.append((255 * grey).round())
            drawn = torch.tensor([float(nearest[v, u]) for u, v in cells])
            visible.append(z - z.min() + 1 <= drawn + tolerance)
    shape = (len(points), len(directions))
    return torch.stack(images).view(*shape, size, size), torch.stack(visible).view(*shape, -1)


@pytest.mark.parametrize("depth", ["z_buffer", "summed"])
@pytest.mark.parametrize(("radius", "upright"), [(0, True), (1, False), (2, True)])
def test_they_equal_views_drawn_point_by_point(depth, radius, upright) -> None:
    points, directions = cloud(), ("x", "-y", "z", "-z")
    options = {"upright": upright, "depth": depth}
    views = axis_views(points, 32, directions=directions, radius_pixels=radius, **options)
    images, visible = loop(points, 32, directions, radius=radius, **options)
    difference = (views.images.float() - images).abs()
    assert (difference > 1).float().mean() < 1e-3, "but for points between two pixels"
    assert (views.visible == visible).float().mean() > 0.99
    assert 0.1 < views.visible.float().mean() < 0.9


def test_every_direction_looks_at_its_own_side() -> None:
    """Six points on the axes: the one nearest to the viewer is the one that is looked at first."""
    points = torch.cat([torch.eye(3), -torch.eye(3)])[None]
    for upright in (True, False):
        for direction in DIRECTIONS:
            axes = view_axes(direction, upright=upright)
            torch.testing.assert_close(axes @ axes.T, torch.eye(3))
            assert float(torch.linalg.det(axes)) == pytest.approx(1), "not mirrored"
            views = axis_views(
                points, 32, directions=[direction], upright=upright, radius_pixels=1, tolerance=0.5
            )
            axis = "xyz".index(direction[-1])
            near, far = (axis + 3, axis) if direction[0] != "-" else (axis, axis + 3)
            assert views.visible[0, 0, near] and not views.visible[0, 0, far]


def test_up_is_up_from_all_four_sides() -> None:
    tall = torch.tensor([[[0.0, 0, 1], [0.1, 0, -1], [0, 0.1, 0]]])
    for direction in ("x", "-x", "y", "-y"):
        top, bottom, _ = axis_views(tall, 32, directions=[direction]).pixel[0, 0].tolist()
        assert top[1] < bottom[1]
    released = axis_views(tall, 32, directions=["x"], upright=False).pixel[0, 0].tolist()
    assert released[0][1] > released[1][1], "z is down, as released"


def test_a_point_behind_another_is_hidden_but_summed_all_the_same() -> None:
    line = torch.tensor([[[0.0, 0, -1], [0, 0, 1], [1, 1, 0], [-1, -1, 0]]])
    views = axis_views(line, 31, directions=["z"], radius_pixels=0, upright=False)
    assert views.visible[0, 0].tolist() == [True, False, True, True]
    middle = views.images[0, 0, 15, 15]
    assert middle == 255, "the nearest is white"
    summed = axis_views(line, 31, directions=["z"], radius_pixels=0, upright=False, depth="summed")
    grey = round(255 * 0.5)
    assert summed.images[0, 0, 15, 15] == grey, "-1 + 1 is what nothing is, too"
    assert summed.images[0, 0, 0, 0] == grey
    torch.testing.assert_close(summed.visible, views.visible)


def test_order_of_points_and_other_shapes_of_the_batch_do_not_matter() -> None:
    points = cloud(shapes=3)
    views = axis_views(points, 48)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    shuffled = axis_views(points[:, order], 48)
    assert torch.equal(views.images, shuffled.images)
    assert torch.equal(views.visible[:, :, order], shuffled.visible)
    assert torch.equal(axis_views(points[1:2], 48).images[0], views.images[1])
    assert torch.equal(axis_views(points * 7 + 3, 48).pixel.round(), views.pixel.round())


def test_all_points_lie_in_the_image_and_fill_it() -> None:
    for radius in (0, 2):
        views = axis_views(cloud(), 40, radius_pixels=radius)
        low, high = views.pixel.amin((2, 3)), views.pixel.amax((2, 3))
        assert low.min() >= radius and high.max() <= 39 - radius
        torch.testing.assert_close(high - low, torch.full((2, 3), 39.0 - 2 * radius))


@pytest.mark.parametrize("extent", [(0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 1, 0), (1e-30, 0, 0)])
@pytest.mark.parametrize("depth", ["z_buffer", "summed"])
def test_shapes_without_extent_in_some_axes_have_views(extent, depth) -> None:
    flat = cloud(shapes=1) * torch.tensor(extent, dtype=torch.float32) + 0.3
    views = axis_views(flat, 24, depth=depth)
    assert views.pixel.isfinite().all() and views.visible.any(1).all(), "nothing hides all of them"
    assert (views.images != views.images[0, 0, 0, 0]).any()


def test_a_cloud_alone_agrees_with_render_depth() -> None:
    """The images drawn as one are those of a camera for each."""
    points = cloud(shapes=1)[0]
    views = axis_views(points[None], 32, directions=["z"], upright=False, radius_pixels=1)
    pixel = (views.pixel[0, 0] + 0.5).floor()
    z = points[:, 2] - points[:, 2].min() + 1
    spread = torch.cat([pixel * z[:, None], z[:, None]], 1)
    depth = render_depth(spread, torch.eye(3)[None], torch.eye(4)[None], (32, 32), 1)[0]
    largest = float((points.amax(0) - points.amin(0)).max())
    grey = (1 - 0.8 * (depth - 1) / largest).clamp(0.2, 1)
    expected = torch.where(depth > 0, 255 * grey, 0).round().to(torch.uint8)
    assert torch.equal(views.images[0, 0], expected)


def test_many_views_drawn_as_one_stay_in_their_rows(monkeypatch) -> None:
    """float32 holds whole rows up to 2^24, but not their products with a depth."""
    count = 3 * 2**19  # views of four rows: half as many again as came out right when drawn at once
    pixel = torch.tensor([[0.0, 0.0], [3.0, 3.0]]).expand(count, 1, 2, 2)
    drawn = module._draw_nearest(pixel, torch.tensor([0.0, 0.37]).expand(count, 1, 2), 4, 0)
    expected = torch.zeros(4, 4)
    expected[0, 0], expected[3, 3] = 1, 1.37
    assert (drawn == expected).all()

    at_once = axis_views(cloud(shapes=3), 16)
    for rows in (1, 16, 33, 64):
        monkeypatch.setattr(module, "_MOST_ROWS", rows)
        views = axis_views(cloud(shapes=3), 16)
        assert torch.equal(views.images, at_once.images)
        assert torch.equal(views.visible, at_once.visible)


def test_neither_default_dtype_nor_default_device_matter() -> None:
    points = cloud()
    options = [{}, {"upright": False, "depth": "summed", "directions": DIRECTIONS}]
    expected = [axis_views(points, 32, **each) for each in options]
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            results = [axis_views(points, 32, **each) for each in options]
    finally:
        torch.set_default_dtype(torch.float32)
    for result, other in zip(results, expected):
        assert result.pixel.dtype == torch.float32
        for name in ("images", "pixel", "visible"):
            assert torch.equal(getattr(result, name), getattr(other, name))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"expected floating \(B, N, 3\)"):
        axis_views(torch.zeros(5, 3), 32)
    with pytest.raises(ValueError, match="finite"):
        axis_views(torch.full((1, 4, 3), torch.nan), 32)
    with pytest.raises(ValueError, match="finite"):
        axis_views(torch.zeros(1, 0, 3), 32)
    with pytest.raises(ValueError, match=r"direction is 'up'"):
        axis_views(cloud(), 32, directions=["up"])
    with pytest.raises(ValueError, match="at least one"):
        axis_views(cloud(), 32, directions=[])
    with pytest.raises(ValueError, match="squares of 9"):
        axis_views(cloud(), 9, radius_pixels=4)


def test_a_margin_stays_empty() -> None:
    views = axis_views(cloud(), 50, margin=0.2, radius_pixels=1)
    rows = views.images.amax((0, 1, 3))
    assert rows[:9].max() == 0 and rows[-9:].max() == 0 and rows[11] > 0
    with pytest.raises(ValueError, match=r"margin is 0\.5"):
        axis_views(cloud(), 50, margin=0.5)
