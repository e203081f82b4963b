"""Rows reduced by the segment they belong to: points to voxels, voxels to clouds, in any order."""

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import embedding

from pcpt.ops._clouds import check_count
from pcpt.ops._library import COMPILED, has_kernel

Reduction = Literal["sum", "mean", "max", "min"]


def segment_reduce(
    values: Tensor, segment_index: Tensor, num_segments: int, reduce: Reduction = "sum"
) -> Tensor:
    """Sum, mean, maximum or minimum of the rows of each segment; zeros where a segment has none.

    ``out[s] = reduce(values[i] for all i with segment_index[i] == s)``. Unlike ``index_add_`` and
    ``scatter_reduce_`` it adds in a fixed order, which neither threads nor the run change (the CPU
    adds in the order of the rows; CUDA in runs of 256 of them, so the devices may differ in the
    last bits). Differentiable, and twice. Rows that tie for the maximum or minimum of a channel:
    the first has the gradient. A nan makes its segment's result nan.

    Args:
        values: (N, ...) floating; half precision is added up in float32 and rounded once.
        segment_index: (N,) int32 or int64 in -1..S-1, in any order; -1 leaves a row out.
        num_segments: S.
        reduce: "sum", "mean", "max" or "min".

    Returns:
        (S, ...) in the dtype of ``values``.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, a segment outside -1..S-1, an unknown
            reduction, 2^31 or more numbers.

    Example:
        >>> values = torch.tensor([[1.0], [2.0], [4.0]])
        >>> segment_reduce(values, torch.tensor([2, 0, 2]), 3, "mean").squeeze(1)
        tensor([2.0000, 0.0000, 2.5000])
    """
    lowest = _check(values, segment_index, num_segments, reduce)
    index = segment_index.long().contiguous()
    shape = values.shape[1:]
    channels = math.prod(shape)
    rows = values.reshape(len(values), channels)
    if lowest < 0:
        kept = (index >= 0).nonzero().squeeze(1)
        rows, index = rows.index_select(0, kept), index[kept]
    if rows.dtype != torch.float64:
        rows = rows.float()
    rows = rows.contiguous()
    if reduce in ("sum", "mean"):
        kernel = has_kernel("segment_sum", rows)
        add_up = torch.ops.pcpt.segment_sum if kernel else _reference_sum
        out = add_up(rows, index, num_segments)
        if reduce == "mean":
            count = torch.bincount(index, minlength=num_segments).clamp(min=1)
            out = out / count[:, None].to(out.dtype)
    else:
        kernel = has_kernel("segment_extreme", rows)
        select = torch.ops.pcpt.segment_extreme if kernel else _reference_extreme
        out = select(rows, index, num_segments, reduce == "max")[0]
    return out.to(values.dtype).reshape(num_segments, *shape)


def _check(values: Tensor, segment_index: Tensor, num_segments: int, reduce: str) -> int:
    """Raises unless the arguments fit; the lowest segment index, 0 where there is none."""
    if values.dim() < 1 or not values.is_floating_point():
        raise ValueError(
            f"values are {values.dtype} {tuple(values.shape)}, expected floating (N, ...)"
        )
    integer = segment_index.dtype in (torch.int32, torch.int64)
    if not integer or tuple(segment_index.shape) != (len(values),):
        raise ValueError(
            f"segment_index is {segment_index.dtype} {tuple(segment_index.shape)}, expected int64 "
            f"({len(values)},): one for each row of values"
        )
    if values.device != segment_index.device:
        raise ValueError(
            f"values are on {values.device}, segment_index on {segment_index.device}; move them to "
            "one device"
        )
    if not isinstance(num_segments, int) or num_segments < 0:
        raise ValueError(f"num_segments is {num_segments}, expected a whole number >= 0")
    if reduce not in get_args(Reduction):
        raise ValueError(f"reduce is {reduce!r}, expected one of {', '.join(get_args(Reduction))}")
    check_count(values.numel(), f"values {tuple(values.shape)}")
    check_count(num_segments * math.prod(values.shape[1:]), f"{num_segments} segments")
    if len(values) == 0:
        return 0
    low, high = (int(bound) for bound in torch.stack(segment_index.aminmax()))
    if low < -1 or high >= num_segments:
        raise ValueError(
            f"segment_index reaches from {low} to {high}, expected -1..{num_segments - 1}"
        )
    return low


def _reference_sum(values: Tensor, segment_index: Tensor, num_segments: int) -> Tensor:
    if values.numel() == 0:
        return values.new_zeros(num_segments, values.shape[1]) + values.sum(dim=0)
    # What embedding does backward: unlike index_add and index_put it adds in a fixed order,
    # whatever the device and the number of threads.
    return torch.ops.aten.embedding_dense_backward(values, segment_index, num_segments, -1, False)


def _reference_extreme(
    values: Tensor, segment_index: Tensor, num_segments: int, largest: bool
) -> tuple[Tensor, Tensor]:
    """Extremes (S, C) and the first rows that hold them, (S, C) int32, -1 where there is none."""
    num_rows, channels = values.shape
    out = values.new_zeros(num_segments, channels)
    row = torch.full_like(out, -1, dtype=torch.int64)
    if values.numel() == 0:
        return out + values.sum(dim=0), row.int()  # zeros, with the history of the values
    target = segment_index[:, None].expand(-1, channels)
    constant = values.detach()
    extreme = out.scatter_reduce(
        0, target, constant, "amax" if largest else "amin", include_self=False
    )[segment_index]
    holds = (constant == extreme) | (constant.isnan() & extreme.isnan())
    number = torch.arange(num_rows, device=values.device)[:, None]
    number = torch.where(holds, number, num_rows)
    row = row.scatter_reduce(0, target, number, "amin", include_self=False)
    return torch.where(row < 0, out, values.gather(0, row.clamp(min=0))), row.int()


def _keep_holders(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    """What ``_to_holders`` needs, of an operator on values that yields extremes and their rows."""
    ctx.num_rows = inputs[0].shape[0]
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1])


def _to_holders(ctx: Any, grad: Tensor, scatter: Callable[..., Tensor]) -> Tensor:
    """The gradient of extremes at the values; ``scatter`` need not add where no row holds two."""
    (row,) = ctx.saved_tensors
    # What has no row goes to one beyond the last.
    target = torch.where(row < 0, ctx.num_rows, row).long()
    return scatter(grad.new_zeros(ctx.num_rows + 1, grad.shape[1]), 0, target, grad)[:-1]


if COMPILED:

    @torch.library.register_fake("pcpt::segment_sum")
    def _fake_sum(values: Tensor, segment_index: Tensor, num_segments: int) -> Tensor:
        return values.new_empty(num_segments, values.shape[1])

    @torch.library.register_fake("pcpt::segment_extreme")
    def _fake_extreme(
        values: Tensor, segment_index: Tensor, num_segments: int, largest: bool
    ) -> tuple[Tensor, Tensor]:
        shape = (num_segments, values.shape[1])
        return values.new_empty(shape), values.new_empty(shape, dtype=torch.int32)

    def _setup_sum(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    def _backward_sum(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # Embedding, because its own backward adds in a fixed order and indexing's does not.
        return embedding(ctx.saved_tensors[0], grad), None, None

    def _backward_extreme(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return _to_holders(ctx, grad, Tensor.scatter), None, None, None

    torch.library.register_autograd("pcpt::segment_sum", _backward_sum, setup_context=_setup_sum)
    torch.library.register_autograd(
        "pcpt::segment_extreme", _backward_extreme, setup_context=_keep_holders
    )
