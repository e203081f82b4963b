"""Pairs of pixels and points: the image and the cloud side by side, joined in matching colours."""

import torch
from torch import Tensor

from pcpt.geometry.camera import Camera
from pcpt.viz.cloud import disc_sizes, render_cloud, splat
from pcpt.viz.marks import dot, lines, place_colors, ring, spread_out
from pcpt.viz.picture import check_picture, from_array, side_by_side, title_height, to_array

RIGHT = (46, 204, 113)
WRONG = (235, 77, 75)
_GAP = 12


def correspondence_picture(
    image: Tensor,
    pixel: Tensor,
    pair_points: Tensor,
    points: Tensor,
    colors: Tensor,
    camera: Camera,
    *,
    num_pairs: int = 32,
    titles: tuple[str, str] | None = ("image", "point cloud"),
) -> Tensor:
    """Which pixel belongs to which point; shows some pairs that are visible in both pictures.

    Args:
        image: (3, H, W) uint8 RGB.
        pixel: (M, 2) float, (u, v) of each pair in the image.
        pair_points: (M, 3) float, metres, world frame: the point of each pair.
        points: (N, 3) float, metres, world frame: the cloud to draw.
        colors: (N, 3) uint8 or float in [0, 1], of the cloud.
        camera: where to see the cloud from (``overview_camera``); also the size of its picture, to
            whose height the image is scaled.
        num_pairs: how many to show at most; chosen far apart, the same on every call.
        titles: over the two pictures; None leaves out the title bar.

    Returns:
        (3, H', W') uint8; the image begins at the left, below the title bar if there is one.

    Raises:
        ValueError: if shapes disagree.
    """
    _check_pairs(image, pixel, pair_points)
    shown = torch.nonzero(_visible(pair_points, points, camera)).squeeze(1).cpu()
    pixel, pair_points = pixel.detach().cpu()[shown], pair_points.detach().cpu()[shown]
    chosen = spread_out(pixel, num_pairs)
    pixel, pair_points = pixel[chosen], pair_points[chosen]
    cloud = render_cloud(points, colors, camera)
    hidden = torch.zeros(len(pixel), dtype=torch.bool)
    ends = camera.project(pair_points.double())[0]
    return _joined(image, cloud, pixel, ends, place_colors(pixel), hidden, titles)


def match_picture(
    image: Tensor,
    pixel: Tensor,
    found_points: Tensor,
    is_right: Tensor,
    points: Tensor,
    colors: Tensor,
    camera: Camera,
    *,
    num_pairs: int = 48,
    titles: tuple[str, str] | None = ("image", "most similar points"),
) -> Tensor:
    """Where features led: for some pixels the point found most similar, green if right, red if not.

    Args:
        image: (3, H, W) uint8 RGB.
        pixel: (M, 2) float, the (u, v) that were looked up.
        found_points: (M, 3) float, metres, world frame: what was found. Rings mark those hidden
            from the camera.
        is_right: (M,) bool, whether that counts as right.
        points: (N, 3) float, metres: the cloud to draw.
        colors: (N, 3) uint8 or float in [0, 1], of the cloud.
        camera: as for ``correspondence_picture``.
        num_pairs: how many to show at most; chosen by place alone, right or not.
        titles: as for ``correspondence_picture``.

    Returns:
        (3, H', W') uint8.

    Raises:
        ValueError: if shapes disagree.
    """
    _check_pairs(image, pixel, found_points)
    if tuple(is_right.shape) != (len(pixel),) or is_right.dtype != torch.bool:
        raise ValueError(
            f"is_right is {tuple(is_right.shape)} {is_right.dtype}, expected ({len(pixel)},) bool"
        )
    chosen = spread_out(pixel.detach().cpu(), num_pairs)
    # wrong ones first, so that right ones are drawn on top of the tangle
    chosen = chosen[torch.argsort(is_right.cpu()[chosen].int(), stable=True)]
    pixel, found = pixel.detach().cpu()[chosen], found_points.detach().cpu()[chosen]
    palette = torch.tensor([WRONG, RIGHT], dtype=torch.uint8)
    hidden = ~_visible(found, points, camera)
    cloud = render_cloud(points, colors, camera)
    ends = camera.project(found.double())[0]
    pair_colors = palette[is_right.cpu()[chosen].long()]
    return _joined(image, cloud, pixel, ends, pair_colors, hidden, titles)


def _joined(
    image: Tensor,
    cloud: Tensor,
    pixel: Tensor,
    ends: Tensor,
    pair_colors: Tensor,
    hidden: Tensor,
    titles: tuple[str, str] | None,
) -> Tensor:
    """Both pictures with (M, 2) image pixels joined to (M, 2) pixels of the cloud's picture."""
    height = cloud.shape[1]
    width = max(1, round(image.shape[2] * height / image.shape[1]))
    top = 0 if titles is None else title_height(height)
    canvas = to_array(side_by_side([image, cloud], titles, height=height, gap=_GAP))
    scale = torch.tensor([width / image.shape[2], height / image.shape[1]], dtype=torch.float64)
    starts = (pixel.double() + 0.5) * scale - 0.5 + torch.tensor([0, top])
    ends = ends + torch.tensor([width + _GAP, top])
    lines(canvas, starts, ends, pair_colors, 0.45)
    radius = max(2.5, height / 110)
    for start, end, color, covered in zip(starts, ends, pair_colors.tolist(), hidden.tolist()):
        dot(canvas, start, radius, color)
        (ring if covered else dot)(canvas, end, radius, color)
    return from_array(canvas)


def _visible(pair_points: Tensor, points: Tensor, camera: Camera) -> Tensor:
    """(M,) bool on the CPU: inside the picture and not behind the drawn cloud."""
    size = disc_sizes(points)
    _, depth = splat(points, camera, size)
    uv, z = camera.project(pair_points.detach().cpu().double())
    u, v = uv.nan_to_num(-1).clamp(-1e6, 1e6).round().long().unbind(1)
    inside = (z > 0) & (u >= 0) & (v >= 0) & (u < camera.width) & (v < camera.height)
    surface = depth[v.clamp(0, camera.height - 1), u.clamp(0, camera.width - 1)].double()
    surface[surface == 0] = torch.inf  # a gap, nothing in front
    tolerance = 0.02 * z + (float(size.max()) if len(size) else 0.0)
    return inside & (z <= surface + tolerance)


def _check_pairs(image: Tensor, pixel: Tensor, pair_points: Tensor) -> None:
    check_picture(image)
    if pixel.ndim != 2 or pixel.shape[1] != 2 or tuple(pair_points.shape) != (len(pixel), 3):
        raise ValueError(
            f"pixels are {tuple(pixel.shape)} and their points {tuple(pair_points.shape)}, "
            "expected (M, 2) and (M, 3)"
        )
