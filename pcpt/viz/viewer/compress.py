"""Clouds and features made small enough to travel inside a page."""

import base64

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_FIT_ROWS = 50_000  # rows that the components are fitted to
_TYPES = {"uint8": "u8", "int8": "i8", "uint16": "u16", "int16": "i16", "int32": "i32"}


def chosen_rows(num_points: int, max_points: int) -> Tensor:
    """(min(num_points, max_points),) int64 rows in an order drawn once and for all, so that the
    first k of them are an even sample for every k."""
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(num_points, generator=generator)[:max_points]


def quantize_positions(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points as 16-bit steps of their bounding box.

    Args:
        points: (N, 3) float, metres, N > 0.

    Returns:
        steps: (N, 3) uint16.
        low: (3,) float64, metres, place of step 0.
        step: (3,) float64, metres a step; at most half of it is lost.
    """
    points = points.detach().cpu().double()
    low = points.amin(0)
    step = (points.amax(0) - low) / 65535
    steps = ((points - low) / step.clamp(min=1e-300)).round().clamp(0, 65535)
    return torch.from_numpy(steps.numpy().astype(np.uint16)), low, step


def compress_features(features: Tensor, dims: int) -> Tensor:
    """Features in few bytes, such that cosines between them stay about what they were.

    Unit features are turned onto the ``dims`` directions that hold most of their second moment
    (not of their variance: cosines are about the origin), then every row is scaled to the range of
    a byte, which changes no cosine.

    Args:
        features: (N, C) float, finite.
        dims: of the result; at most C are used.

    Returns:
        (N, min(dims, C)) int8; a row of zeros stays zero.

    Raises:
        ValueError: dims below 1, or another shape.
    """
    if features.ndim != 2 or dims < 1:
        raise ValueError(
            f"features are {tuple(features.shape)} to become {dims} channels, expected (N, C) and "
            "at least 1"
        )
    rows = F.normalize(features.detach().cpu().float(), dim=1)
    sample = rows[:: max(1, len(rows) // _FIT_ROWS)].double()
    _, vectors = torch.linalg.eigh(sample.T @ sample)  # ascending
    turned = rows @ vectors[:, -min(dims, rows.shape[1]) :].flip(1).float()
    largest = turned.abs().amax(1, keepdim=True).clamp(min=1e-12)
    return (127 * turned / largest).round().to(torch.int8)


def block(values: Tensor) -> dict[str, str]:
    """Values as the page's script takes them: name of the type, and little-endian bytes in base64.

    Raises:
        ValueError: a dtype other than u/int8, u/int16 and int32.
    """
    array = np.ascontiguousarray(values.detach().cpu().numpy())
    if array.dtype.name not in _TYPES:
        raise ValueError(f"block of {array.dtype.name}, expected one of {sorted(_TYPES)}")
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return {"type": _TYPES[array.dtype.name], "data": base64.b64encode(data).decode("ascii")}
