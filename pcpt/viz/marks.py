"""Marks drawn on arrays: dots, rings and lines at fractions of a pixel."""

import colorsys

import cv2
import numpy as np
import torch
from torch import Tensor

_SHIFT = 4  # OpenCV takes fixed-point coordinates
_OUTLINE = (255, 255, 255)
Color = tuple[int, int, int]


def dot(array: np.ndarray, uv: Tensor, radius: float, color: Color) -> None:
    """A filled disc with a white rim, centred at pixel (u, v), drawn in place."""
    _circle(array, uv, radius + max(1.0, 0.3 * radius), _OUTLINE, cv2.FILLED)
    _circle(array, uv, radius, color, cv2.FILLED)


def ring(array: np.ndarray, uv: Tensor, radius: float, color: Color) -> None:
    """An open circle with a white rim: something that is there but hidden."""
    thickness = max(1, round(0.5 * radius))
    _circle(array, uv, radius, _OUTLINE, thickness + 2)
    _circle(array, uv, radius, color, thickness)


def cross_hair(array: np.ndarray, uv: Tensor, radius: float, color: Color) -> None:
    """A ring with four ticks around pixel (u, v), whose inside stays as it was."""
    for shade, thickness in ((_OUTLINE, 4), (color, 2)):
        _circle(array, uv, radius, shade, thickness)
        for du, dv in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            tick = torch.tensor([du, dv]) * radius
            cv2.line(
                array, _fixed(uv + 1.1 * tick), _fixed(uv + 1.8 * tick), shade, thickness,
                cv2.LINE_AA, _SHIFT,
            )  # fmt: skip


def lines(array: np.ndarray, starts: Tensor, ends: Tensor, colors: Tensor, opacity: float) -> None:
    """Straight lines between (M, 2) pixels in (M, 3) colours, blended in place."""
    over = array.copy()
    for start, end, color in zip(starts, ends, colors.tolist()):
        cv2.line(over, _fixed(start), _fixed(end), color, 2, cv2.LINE_AA, _SHIFT)
    cv2.addWeighted(over, opacity, array, 1 - opacity, 0, dst=array)


def place_colors(pixel: Tensor) -> Tensor:
    """(M, 3) uint8 colours for (M, 2) pixels: hue from left to right, lightness from top to bottom.

    Neighbours look alike, so that a pair which strays from its neighbours stands out.
    """
    if len(pixel) == 0:
        return torch.empty(0, 3, dtype=torch.uint8)
    low, high = pixel.amin(0), pixel.amax(0)
    share = ((pixel - low) / (high - low).clamp(min=1e-6)).tolist()
    colors = [colorsys.hls_to_rgb(0.85 * u, 0.66 - 0.22 * v, 0.95) for u, v in share]
    return (torch.tensor(colors) * 255).round().to(torch.uint8)


def spread_out(pixel: Tensor, count: int) -> Tensor:
    """(min(count, M),) int64 indices of pixels far from each other, each the farthest from those
    before it; the first is the one nearest to the middle of all."""
    count = min(count, len(pixel))
    if count == 0:
        return torch.empty(0, dtype=torch.int64)
    pixel = pixel.double()
    chosen = [int((pixel - pixel.mean(0)).norm(dim=1).argmin())]
    distance = (pixel - pixel[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (pixel - pixel[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen)


def _circle(array: np.ndarray, uv: Tensor, radius: float, color: Color, thickness: int) -> None:
    fixed_radius = round(radius * (1 << _SHIFT))
    cv2.circle(array, _fixed(uv), fixed_radius, color, thickness, cv2.LINE_AA, _SHIFT)


def _fixed(uv: Tensor) -> tuple[int, int]:
    u, v = (uv.double().clamp(-1e5, 1e5) * (1 << _SHIFT)).round().long().tolist()
    return u, v
