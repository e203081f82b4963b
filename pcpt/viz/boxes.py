"""Boxes drawn over pictures of clouds: their twelve edges, projected."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from pcpt.data.scene import Boxes
from pcpt.data.transforms import rotation_to_z
from pcpt.geometry.camera import Camera
from pcpt.viz.cloud import NEAREST
from pcpt.viz.picture import from_array, to_array

# Corner i is at -1 or +1 of x, y, z by the bits 1, 2, 4 of i; an edge joins corners one bit apart.
EDGES = tuple((i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit)
_DASH = 7.0  # pixels
_SHIFT = 4  # OpenCV takes fixed-point coordinates
_RIM = (12, 14, 18)


def box_corners(boxes: Boxes, up: Tensor | None = None) -> Tensor:
    """Corners of boxes, each turned by its heading counter-clockwise as seen from above.

    Args:
        boxes: upright along ``up``.
        up: (3,) unit vector; None is z. Where it is not z, headings count from where the smallest
            rotation from z to up takes x.

    Returns:
        (B, 8, 3) float64, metres; corner i at the low or high end of the box's x, y, z by the bits
        1, 2, 4 of i.
    """
    signs = torch.tensor([[(i >> axis & 1) - 0.5 for axis in range(3)] for i in range(8)])
    local = signs.double() * boxes.sizes.double()[:, None]
    cos, sin = boxes.headings.double().cos()[:, None], boxes.headings.double().sin()[:, None]
    turned = torch.stack(
        (
            local[..., 0] * cos - local[..., 1] * sin,
            local[..., 0] * sin + local[..., 1] * cos,
            local[..., 2],
        ),
        dim=-1,
    )
    if up is not None:
        turned = turned @ rotation_to_z(up)
    return boxes.centers.double()[:, None] + turned


def box_segments(corners: Tensor, camera: Camera) -> Tensor:
    """Edges of boxes in a picture, cut where they pass behind the camera.

    Args:
        corners: (B, 8, 3), of ``box_corners``.
        camera: where to look from.

    Returns:
        (B, 12, 2, 2) float64 pixels (u, v) of both ends; nan for an edge wholly behind the camera.
    """
    ends = corners.double()[:, torch.tensor(EDGES)]
    pose = camera.camera_to_world.double()
    seen = (ends - pose[:3, 3]) @ pose[:3, :3]
    z = seen[..., 2]
    rise = (z - z.flip(-1)).abs().clamp(min=1e-12)
    # the share of the way to the other end at which an end behind the camera comes into sight
    share = ((NEAREST - z) / rise).clamp(min=0.0, max=1.0)[..., None]
    seen = torch.where(z[..., None] < NEAREST, seen + share * (seen.flip(-2) - seen), seen)
    uv = seen @ camera.intrinsics.double().T
    uv = uv[..., :2] / uv[..., 2:].clamp(min=0.5 * NEAREST)
    hidden = (z < NEAREST).all(dim=-1)
    return torch.where(hidden[..., None, None], torch.nan, uv)


def draw_boxes(
    picture: Tensor,
    camera: Camera,
    corners: Tensor,
    colors: Tensor,
    *,
    dashed: bool = False,
    thickness: int = 2,
) -> Tensor:
    """The picture with the edges of boxes on it, whole ones, also where the cloud is before them.

    Args:
        picture: (3, H, W) uint8, seen from ``camera``.
        camera: where the picture was taken from.
        corners: (B, 8, 3), of ``box_corners``.
        colors: (B, 3) uint8.
        dashed: broken lines.
        thickness: of the lines, pixels; they have a dark rim besides.

    Returns:
        (3, H, W) uint8.
    """
    array = to_array(picture)
    segments = box_segments(corners, camera)
    for rim in (True, False):  # all rims first, so that none crosses a line
        for lines, color in zip(segments.numpy(), colors.tolist()):
            shade = _RIM if rim else color
            for start, end in lines:
                if np.isfinite(start).all() and np.isfinite(end).all():
                    _draw_edge(array, start, end, shade, thickness + 2 * rim, dashed)
    return from_array(array)


def _draw_edge(
    array: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    color: Sequence[int],
    thickness: int,
    dashed: bool,
) -> None:
    far = 16 * max(array.shape[:2])  # OpenCV's fixed-point coordinates end somewhere
    whole, first, last = cv2.clipLine((-far, -far, 3 * far, 3 * far), _whole(start), _whole(end))
    if not whole:
        return
    if max(np.abs(start).max(), np.abs(end).max()) > far:
        start, end = np.array(first, dtype=float), np.array(last, dtype=float)
    count = 1
    if dashed:
        length = float(np.linalg.norm(end - start))
        count = max(1, 2 * math.ceil(length / _DASH / 2) - 1)  # begins and ends with a dash
    stops = start + np.linspace(0.0, 1.0, count + 1)[:, None] * (end - start)
    for i in range(0, count, 2):
        a, b = ((stops[j] * (1 << _SHIFT)).round().astype(int).tolist() for j in (i, i + 1))
        cv2.line(array, a, b, color, thickness, cv2.LINE_AA, _SHIFT)


def _whole(place: np.ndarray) -> tuple[int, int]:
    u, v = place.clip(-1e8, 1e8).round().astype(int).tolist()
    return u, v
