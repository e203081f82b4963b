"""From any point cloud to what a voxel network takes: checks, grid alignment, mean colours."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from pcpt.ops.kernel_map import COORDINATE_LIMIT

# Colours are summed as integers of this unit: sums are then the same in any order, on any device.
_COLOR_UNIT = 2.0**-24
_COLOR_SLACK = 1e-2  # what resampling and jitter may overshoot [0, 1] by


def as_points(points: Tensor | np.ndarray) -> Tensor:
    """(N, 3) float64 tensor of a cloud given as tensor or array of any real dtype.

    Raises:
        ValueError: another shape, or a coordinate that is nan or inf.
    """
    points = as_tensor(points, "points")
    if points.ndim != 2 or points.shape[1] != 3 or points.is_complex():
        raise ValueError(f"points are {points.dtype} {tuple(points.shape)}, expected (N, 3)")
    points = points.double()
    finite = torch.isfinite(points).all(dim=1)
    if not bool(finite.all()):
        row = int(torch.nonzero(~finite)[0])
        raise ValueError(
            f"points[{row}] is {points[row].tolist()}; {int((~finite).sum())} of {len(points)} "
            "points are not finite: drop them first"
        )
    return points


def as_colors(colors: Tensor | np.ndarray, num_points: int) -> Tensor:
    """(N, 3) float32 colours in [0, 1] of uint8 or floating point ones.

    Raises:
        ValueError: another shape or dtype than these, or not as many colours as points.
    """
    colors = as_tensor(colors, "colors")
    if tuple(colors.shape) != (num_points, 3):
        raise ValueError(
            f"colors are {tuple(colors.shape)}, expected {(num_points, 3)}: one for each point"
        )
    if colors.dtype == torch.uint8:
        return colors.float() / 255
    if not colors.is_floating_point():
        raise ValueError(f"colors are {colors.dtype}, expected uint8, or floating point in [0, 1]")
    return colors.float()


def centre_on_grid(points: Tensor, voxel_size: float) -> Tensor:
    """The centres of the voxels that hold the points, in a frame whose origin is mid-cloud.

    The origin is moved by whole voxels and in float64, so clouds in map coordinates keep their
    detail, and a cloud moved by any whole number of voxels gives the same result.

    Args:
        points: (N, 3) float64, metres, N >= 1.
        voxel_size: metres.

    Returns:
        (N, 3) float32, metres.

    Raises:
        ValueError: the cloud is wider than the voxel hash reaches.
    """
    index = torch.floor(points / voxel_size)
    low, high = index.amin(dim=0), index.amax(dim=0)
    widest = int((high - low).max()) + 1
    if widest > 2 * COORDINATE_LIMIT:
        raise ValueError(
            f"the cloud spans {widest} voxels of {voxel_size} m ({widest * voxel_size:.0f} m), at "
            f"most {2 * COORDINATE_LIMIT} fit; remove outliers or pass it in pieces"
        )
    middle = torch.ceil((low + high) / 2)
    return ((index - middle + 0.5) * voxel_size).float()


def mean_colors(colors: Tensor, point_to_voxel: Tensor, num_voxels: int) -> Tensor:
    """Mean colour of each voxel, mapped from [0, 1] to [-1, 1].

    Sums are taken in fixed point, so the result does not depend on the order of the points, the
    number of threads or the device. Not differentiable.

    Args:
        colors: (N, 3) floating point in [0, 1].
        point_to_voxel: (N,) int64.
        num_voxels: U; every voxel holds a point.

    Returns:
        (U, 3) float32.

    Raises:
        ValueError: colours outside [0, 1].
    """
    if len(colors) == 0:
        return colors.new_zeros((num_voxels, 3), dtype=torch.float32)
    low, high = (float(v) for v in torch.aminmax(colors.detach()))
    if not (low >= -_COLOR_SLACK and high <= 1 + _COLOR_SLACK):  # false for nan as well
        raise ValueError(
            f"colors range over [{low:.4g}, {high:.4g}], expected [0, 1]; divide 8-bit colours "
            "by 255"
        )
    units = torch.round(colors.detach().double() / _COLOR_UNIT).long()
    total = units.new_zeros(num_voxels, 3).index_add_(0, point_to_voxel, units)
    count = torch.bincount(point_to_voxel, minlength=num_voxels)
    mean = total.double() * _COLOR_UNIT / count[:, None]
    return (2 * mean - 1).float()


@contextmanager
def inference(module: nn.Module) -> Iterator[None]:
    """Runs a block in eval mode, full precision and without gradients; each submodule's own
    training flag is restored afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    device = next(module.parameters()).device.type
    module.eval()
    try:
        with torch.no_grad(), torch.autocast(device, enabled=False):
            yield
    finally:
        for part, training in modes:
            part.training = training


def as_tensor(values: Tensor | np.ndarray, name: str) -> Tensor:
    """The values as tensor, without gradients; raises ``ValueError`` for what is no array."""
    if isinstance(values, Tensor):
        return values.detach()
    try:
        # a copy: arrays from files are often read-only or byte-swapped, which torch cannot share
        array = np.array(values)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as an array of numbers: {error}") from error
