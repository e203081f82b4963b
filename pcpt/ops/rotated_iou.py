"""Overlap of oriented boxes, for detection: suppression, average precision, box losses."""

from typing import Any

import torch
from torch import Tensor

from pcpt.ops._library import COMPILED, has_kernel

PAIRS_AT_ONCE = 2**18  # of the reference, to bound its memory


def rotated_iou(
    boxes: Tensor, other_boxes: Tensor, *, aligned: bool = False, kind: str = "3d"
) -> Tensor:
    """Intersection over union of boxes turned about the vertical, exact: rectangles are clipped by
    rectangles, times the common height.

    Computed in float64 about the first box's centre, whatever the dtype and however far away.
    Identical boxes give 1, boxes that only touch 0, and so does a box of zero size with any other,
    itself included. Differentiable once, by both arguments; where edges coincide, as of identical
    boxes, the derivative is one-sided: that of the box becoming smaller.

    Args:
        boxes: (N, 7) floating ``[cx, cy, cz, dx, dy, dz, yaw]``: centre and full sizes in metres,
            yaw in radians about +z, counter-clockwise, any number of turns.
        other_boxes: (M, 7) of the same dtype; with ``aligned`` M is N.
        aligned: compare box i with other box i only.
        kind: ``"3d"``, or ``"bev"`` for the footprints alone.

    Returns:
        (N, M), or (N,) with ``aligned``, in the dtype of ``boxes``.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, a negative size, a value that is not
            finite, another kind, 2^31 pairs or more.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0], [1, 0, 0, 2, 2, 2, torch.pi / 2]])
        >>> rotated_iou(boxes, boxes)
        tensor([[1.0000, 0.3333],
                [0.3333, 1.0000]])
    """
    _check(boxes, other_boxes, aligned, kind)
    first, second = boxes.double().contiguous(), other_boxes.double().contiguous()
    bev = kind == "bev"
    if has_kernel("rotated_iou", boxes):
        iou = torch.ops.pcpt.rotated_iou(first, second, aligned, bev)
    else:
        iou = _reference(first, second, aligned, bev)
    return iou.to(boxes.dtype)


def _check(boxes: Tensor, other_boxes: Tensor, aligned: bool, kind: str) -> None:
    if kind not in ("3d", "bev"):
        raise ValueError(f'kind is {kind!r}, expected "3d" or "bev"')
    for name, part in (("boxes", boxes), ("other_boxes", other_boxes)):
        if part.dim() != 2 or part.shape[1] != 7 or not part.is_floating_point():
            raise ValueError(
                f"{name} are {part.dtype} {tuple(part.shape)}, expected floating (N, 7): "
                "cx, cy, cz, dx, dy, dz, yaw"
            )
    if boxes.dtype != other_boxes.dtype or boxes.device != other_boxes.device:
        raise ValueError(
            f"boxes are {boxes.dtype} on {boxes.device}, other_boxes {other_boxes.dtype} on "
            f"{other_boxes.device}; make them alike"
        )
    if aligned and len(boxes) != len(other_boxes):
        raise ValueError(
            f"{len(boxes)} boxes against {len(other_boxes)}, aligned needs as many of both"
        )
    if not aligned and len(boxes) * len(other_boxes) >= 2**31:
        raise ValueError(
            f"{len(boxes)} x {len(other_boxes)} boxes are 2^31 pairs or more; compare them in parts"
        )
    for name, part in (("boxes", boxes.detach()), ("other_boxes", other_boxes.detach())):
        broken = ~part.isfinite().all(1) | (part[:, 3:6] < 0).any(1)
        if bool(broken.any()):
            row = int(broken.nonzero()[0])
            raise ValueError(
                f"{name}[{row}] is {part[row].tolist()}, expected finite numbers and sizes that "
                "are not negative"
            )


def _reference(boxes: Tensor, other_boxes: Tensor, aligned: bool, bev: bool) -> Tensor:
    if aligned:
        return _iou(boxes, other_boxes, bev)
    rows = max(1, PAIRS_AT_ONCE // max(1, len(other_boxes)))
    parts = [_iou(part[:, None], other_boxes[None], bev) for part in boxes.split(rows)]
    return torch.cat(parts)


def _iou(first: Tensor, second: Tensor, bev: bool) -> Tensor:
    """(...) of boxes (..., 7) that broadcast against each other."""
    common, volumes = _area(first, second), [box[..., 3] * box[..., 4] for box in (first, second)]
    if not bev:
        apart = second[..., 2] - first[..., 2]
        half, other_half = first[..., 5] / 2, second[..., 5] / 2
        top = torch.minimum(half, apart + other_half)
        bottom = torch.maximum(-half, apart - other_half)
        common = common * (top - bottom).clamp(min=0)
        volumes = [volume * box[..., 5] for volume, box in zip(volumes, (first, second))]
    union = volumes[0] + volumes[1] - common
    some = (common > 0) & (union > 0)
    return torch.where(some, common / torch.where(some, union, 1.0), 0.0)


def _area(first: Tensor, second: Tensor) -> Tensor:
    """Area common to two rectangles: the second's outline, clipped to the first in its own frame.

    To clip by ``x <= limit``, crossings are put in as corners, and corners beyond the limit are
    moved straight back to it: what they then enclose on the line itself has no area.
    """
    x, y = (second[..., :2] - first[..., :2]).unbind(-1)
    cos, sin = first[..., 6].cos(), first[..., 6].sin()
    x, y = cos * x + sin * y, cos * y - sin * x
    turn = second[..., 6] - first[..., 6]
    cos, sin = turn.cos()[..., None], turn.sin()[..., None]
    along = second[..., 3:4] / 2 * second.new_tensor([-1.0, 1, 1, -1])
    across = second[..., 4:5] / 2 * second.new_tensor([-1.0, -1, 1, 1])
    corners = torch.stack(
        (x[..., None] + cos * along - sin * across, y[..., None] + sin * along + cos * across), -1
    )
    for axis in (0, 1):
        limit = (first[..., 3 + axis] / 2)[..., None]
        corners = -_clip(-_clip(corners, axis, limit), axis, limit)
    x, y = corners.unbind(-1)
    return ((x * y.roll(-1, -1) - x.roll(-1, -1) * y).sum(-1) / 2).clamp(min=0)


def _clip(corners: Tensor, axis: int, limit: Tensor) -> Tensor:
    """(..., 2 K, 2): polygons (..., K, 2) cut off beyond ``limit`` (..., 1) along an axis."""
    following = corners.roll(-1, -2)
    value, next_value = corners[..., axis], following[..., axis]
    crosses = (value > limit) != (next_value > limit)
    fraction = (limit - value) / torch.where(crosses, next_value - value, 1.0)
    fraction = torch.where(crosses, fraction, 0.0)[..., None]  # none: the corner once more
    crossing = corners + fraction * (following - corners)
    polygon = torch.stack((corners, crossing), dim=-2).flatten(-3, -2)
    held = torch.minimum(polygon[..., axis], limit)
    other = polygon[..., 1 - axis]
    return torch.stack((held, other) if axis == 0 else (other, held), dim=-1)


if COMPILED:

    @torch.library.register_fake("pcpt::rotated_iou")
    def _fake(boxes: Tensor, other_boxes: Tensor, aligned: bool, bev: bool) -> Tensor:
        shape = (boxes.shape[0],) if aligned else (boxes.shape[0], other_boxes.shape[0])
        return boxes.new_empty(shape)

    @torch.library.register_fake("pcpt::rotated_iou_backward")
    def _fake_backward(
        grad: Tensor, boxes: Tensor, other_boxes: Tensor, aligned: bool, bev: bool
    ) -> tuple[Tensor, Tensor]:
        return torch.empty_like(boxes), torch.empty_like(other_boxes)

    def _setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
        boxes, other_boxes, *ctx.options = inputs
        ctx.save_for_backward(boxes, other_boxes)

    def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        both = torch.ops.pcpt.rotated_iou_backward(
            grad.contiguous(), *ctx.saved_tensors, *ctx.options
        )
        return *both, None, None

    torch.library.register_autograd("pcpt::rotated_iou", _backward, setup_context=_setup)
