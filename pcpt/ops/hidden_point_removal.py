"""Which points of a bare cloud a viewpoint sees, without a surface: the visibility of PointMCD."""

import math

import torch
from torch import Tensor

from pcpt.ops._library import COMPILED, has_kernel

# As csrc/supporting_plane.h explains them.
MAX_SLOPE_SQUARED = 1e12
ROUNDING = 4e-15
MAX_TILTS = 1000


def hidden_point_removal(
    points: Tensor,
    viewpoints: Tensor,
    radius_factor: float = 100.0,
    *,
    lengths: Tensor | None = None,
) -> Tensor:
    """True for the points of B clouds that V viewpoints each see, as if they sampled a surface.

    Points are flipped over a sphere around the viewpoint, from distance ``d`` to ``2 * R - d``
    along their ray with ``R = radius_factor * max(d)``; those that become corners of the convex
    hull of the flipped points and the viewpoint are visible (Katz, Tal and Basri, "Direct
    visibility of point sets", 2007). A larger radius sees more: too large looks through the
    gaps of a sparse cloud, too small hides hollows.

    Where the rule leaves a choice: points of equal coordinates are visible together; a point at
    the viewpoint is visible and hides nothing; of points exactly behind each other only the first
    is; where all points lie in one plane with the viewpoint, visibility is that within the plane.
    Points that are not finite are never visible, a viewpoint that is not finite sees nothing. The
    answer for a point does not depend on the order of the points. Not differentiable.

    Args:
        points: (B, N, 3) floating, metres; computed in float64.
        viewpoints: (B, V, 3) floating, in the frame of ``points``.
        radius_factor: at least 1; 100 is the usual value, of Open3D and the paper's code.
        lengths: (B,) int32 or int64, points of each cloud, the rest is padding and never visible.
            All N where not given.

    Returns:
        (B, V, N) bool, on the device of ``points``.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, a length outside 0..N, a radius
            factor below 1 or not finite, 2^31 results or more.

    Example:
        >>> wall, behind = [[1.0, 0, 0], [1, 0.2, 0], [1, 0, 0.2]], [2.0, 0.13, 0.13]
        >>> viewpoints = torch.tensor([[[0.0, 0, 0], [9, 0, 0]]])
        >>> hidden_point_removal(torch.tensor([[*wall, behind]]), viewpoints, 10).tolist()
        [[[True, True, True, False], [True, True, True, True]]]
    """
    _check(points, viewpoints, radius_factor)
    points = points.detach().double().contiguous()
    viewpoints = viewpoints.detach().double().contiguous()
    lengths = _checked_lengths(lengths, points)
    kernel = has_kernel("hidden_point_removal", points)
    operator = torch.ops.pcpt.hidden_point_removal if kernel else _reference
    return operator(points, viewpoints, lengths, float(radius_factor))


def _check(points: Tensor, viewpoints: Tensor, radius_factor: float) -> None:
    if points.dim() != 3 or points.shape[2] != 3 or not points.is_floating_point():
        raise ValueError(
            f"points are {points.dtype} {tuple(points.shape)}, expected floating (B, N, 3)"
        )
    shape = tuple(viewpoints.shape)
    fits = len(shape) == 3 and shape[0] == len(points) and shape[2] == 3
    if not fits or not viewpoints.is_floating_point():
        raise ValueError(
            f"viewpoints are {viewpoints.dtype} {shape}, expected floating ({len(points)}, V, 3): "
            "some for each cloud"
        )
    if points.device != viewpoints.device:
        raise ValueError(
            f"points are on {points.device}, viewpoints on {viewpoints.device}; "
            "move them to one device"
        )
    if not 1 <= radius_factor < math.inf:
        raise ValueError(f"radius_factor is {radius_factor}, expected a number from 1 up")
    if len(points) * shape[1] * points.shape[1] >= 2**31:
        raise ValueError(
            f"{len(points)} clouds of {points.shape[1]} points from {shape[1]} viewpoints have "
            "2^31 results or more; call it in parts"
        )


def _checked_lengths(lengths: Tensor | None, points: Tensor) -> Tensor:
    num_clouds, num_points = points.shape[:2]
    if lengths is None:
        return torch.full((num_clouds,), num_points, dtype=torch.int64, device=points.device)
    if tuple(lengths.shape) != (num_clouds,) or lengths.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"lengths are {lengths.dtype} {tuple(lengths.shape)}, expected int64 ({num_clouds},)"
        )
    if lengths.device != points.device:
        raise ValueError(
            f"points are on {points.device}, lengths on {lengths.device}; move them to one device"
        )
    if num_clouds > 0:
        low, high = (int(bound) for bound in torch.stack(lengths.aminmax()))
        if low < 0 or high > num_points:
            raise ValueError(
                f"lengths reach from {low} to {high}, but clouds have {num_points} points"
            )
    return lengths.long().contiguous()


def _reference(points: Tensor, viewpoints: Tensor, lengths: Tensor, radius_factor: float) -> Tensor:
    visible = torch.zeros(
        len(points), viewpoints.shape[1], points.shape[1], dtype=torch.bool, device=points.device
    )
    for cloud, length in enumerate(lengths.tolist()):
        for view, viewpoint in enumerate(viewpoints[cloud]):
            visible[cloud, view, :length] = _visible(
                points[cloud, :length], viewpoint, radius_factor
            )
    return visible


def _visible(points: Tensor, viewpoint: Tensor, radius_factor: float) -> Tensor:
    """(N,) bool for (N, 3) points seen from one (3,) viewpoint."""
    x, y, z = (points - viewpoint).unbind(1)
    distance = (x * x + y * y + z * z).sqrt()
    visible = distance == 0
    flips = (distance > 0) & distance.isfinite()
    if not bool(flips.any()):
        return visible
    radius = radius_factor * distance[flips].max()
    scale = 1 / distance - 0.5 / radius  # so that 2 * R is 1: the hull does not care
    flipped = torch.stack((x, y, z), dim=1)[flips] * scale[flips, None]
    unique, inverse = torch.unique(flipped, dim=0, return_inverse=True)
    visible[flips] = _corners(unique)[inverse]
    return visible


def _corners(points: Tensor) -> Tensor:
    """Which of (P, 3) different points are corners of the hull of all of them and the origin.

    A corner has a plane through it that leaves all others on the origin's side. Each point starts
    with the plane square to its direction, and tilts it as little as it must, time after time, to
    put the point farthest beyond it on it; the two points that hold the tilt are kept.
    """
    start = points / (points * points).sum(1, keepdim=True)
    axis = torch.eye(3, dtype=points.dtype, device=points.device)[points.abs().argmin(1)]
    u = torch.linalg.cross(axis, points)
    v = torch.linalg.cross(points, u)
    slope = torch.zeros_like(points[:, :2])
    kept = points.new_zeros(len(points), 2, 3)  # bounds a, b, c: a * s + b * t <= c
    corner = torch.ones(len(points), dtype=torch.bool, device=points.device)
    todo = torch.arange(len(points), device=points.device)
    for _ in range(MAX_TILTS):
        normal = start[todo] + slope[todo, :1] * u[todo] + slope[todo, 1:] * v[todo]
        value, farthest = (normal @ points.T).max(1)
        beyond = value > 1 + ROUNDING * (1 + slope[todo].abs().sum(1))
        todo, point = todo[beyond], points[farthest[beyond]]
        if len(todo) == 0:
            break
        a, b = (u[todo] * point).sum(1), (v[todo] * point).sum(1)
        bound = torch.stack((a, b, 1 - (start[todo] * point).sum(1)), dim=1)
        slope[todo], kept[todo], possible = _tilt(bound, kept[todo])
        corner[todo[~possible]] = False
        todo = todo[possible]
    return corner


def _tilt(bound: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The least slopes (P, 2) on new bounds (P, 3) that meet the (P, 2, 3) kept ones, the bounds
    that hold them, and where there are any."""
    a, b, c = bound.unbind(1)
    nearest = bound[:, :2] * (c / (a * a + b * b))[:, None]  # on the line a * s + b * t = c
    along = torch.stack((-b, a), dim=1)  # the line's other places are nearest + tau * along
    rate = (kept[:, :, :2] * along[:, None]).sum(2)
    room = kept[:, :, 2] - (kept[:, :, :2] * nearest[:, None]).sum(2)
    tau = room / rate
    high, high_index = torch.where(rate > 0, tau, torch.inf).min(1)
    low, low_index = torch.where(rate < 0, tau, -torch.inf).max(1)
    possible = (low <= high) & ~((rate == 0) & (room < 0)).any(1)
    held_low, held_high = low > 0, high < 0
    tau = torch.where(held_low, low, torch.where(held_high, high, 0.0))
    slope = nearest + tau[:, None] * along
    possible &= (slope * slope).sum(1) <= MAX_SLOPE_SQUARED  # nan where it lies right before
    index = torch.where(held_low, low_index, high_index)
    other = kept[torch.arange(len(kept), device=kept.device), index]
    other = torch.where((held_low | held_high)[:, None], other, 0.0)
    return slope, torch.stack((bound, other), dim=1), possible


if COMPILED:

    @torch.library.register_fake("pcpt::hidden_point_removal")
    def _fake(points: Tensor, viewpoints: Tensor, lengths: Tensor, radius_factor: float) -> Tensor:
        shape = (points.shape[0], viewpoints.shape[1], points.shape[1])
        return points.new_empty(shape, dtype=torch.bool)
