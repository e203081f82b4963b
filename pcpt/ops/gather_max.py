"""The maximum over rows gathered by index: neighbours of a point, points that a view sees."""

from typing import Any

import torch
from torch import Tensor

from pcpt.ops._clouds import check_count
from pcpt.ops._library import COMPILED, has_kernel
from pcpt.ops.segment_reduce import _keep_holders, _reference_extreme, _to_holders


def gather_max(values: Tensor, index: Tensor, starts: Tensor | None = None) -> Tensor:
    """Channel by channel the maximum of ``values`` over the rows of each bag; zeros where a bag has
    none.

    ``out[s] = max(values[i] for i in index[s])``, without ever holding ``values[index]``. The same
    as ``embedding_bag(mode="max")``, but for rows left out, empty bags, and speed on a CPU.
    Differentiable, and twice: of the rows of a bag that tie in a channel the first has the
    gradient. On CUDA it adds the gradients of a row that several bags hold in no fixed order,
    unless ``torch.use_deterministic_algorithms`` asks for one. A nan makes its bag's result nan.

    Args:
        values: (N, C) floating; half precision is compared in float32.
        index: (S, k) rows of ``values``, or (M,) with ``starts``; int32 or int64, each in -1..N-1;
            -1 leaves a place out. A row may be in any number of bags.
        starts: (S,) int32 or int64, ascending in 0..M: bag s is ``index[starts[s]:starts[s + 1]]``,
            the last one goes to the end.

    Returns:
        (S, C) in the dtype of ``values``.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, 2^31 or more numbers; and on a CPU,
            where looking costs nothing, a row or start out of range. CUDA passes over such rows.

    Example:
        >>> values = torch.tensor([[1.0, 8.0], [2.0, 4.0], [4.0, 2.0]])
        >>> gather_max(values, torch.tensor([[0, 1], [2, -1]]))
        tensor([[2., 8.],
                [4., 2.]])
    """
    borders = _check(values, index, starts)
    rows = values if values.dtype == torch.float64 else values.float()
    arguments = rows.contiguous(), index.long().reshape(-1).contiguous(), borders
    if not has_kernel("gather_max", rows):
        _check_ranges(*arguments)
        return _reference(*arguments)[0].to(values.dtype)
    try:
        return torch.ops.pcpt.gather_max(*arguments)[0].to(values.dtype)
    except RuntimeError:
        _check_ranges(*arguments)  # the kernel's word, explained
        raise


def _check(values: Tensor, index: Tensor, starts: Tensor | None) -> Tensor:
    """Raises unless the arguments fit; where each bag begins, and the last one ends: (S + 1,)."""
    if values.dim() != 2 or not values.is_floating_point():
        raise ValueError(
            f"values are {values.dtype} {tuple(values.shape)}, expected floating (N, C)"
        )
    whole = (torch.int32, torch.int64)
    if index.dtype not in whole or index.dim() != (2 if starts is None else 1):
        wanted = "(S, k)" if starts is None else "(M,) with starts"
        raise ValueError(f"index is {index.dtype} {tuple(index.shape)}, expected int64 {wanted}")
    if starts is not None and (starts.dtype not in whole or starts.dim() != 1):
        raise ValueError(f"starts are {starts.dtype} {tuple(starts.shape)}, expected int64 (S,)")
    for name, tensor in (("index", index), ("starts", starts)):
        if tensor is not None and tensor.device != values.device:
            raise ValueError(
                f"values are on {values.device}, {name} on {tensor.device}; move them to one device"
            )
    num_bags = len(index if starts is None else starts)
    check_count(values.numel(), f"values {tuple(values.shape)}")
    check_count(num_bags * values.shape[1], f"{num_bags} bags")
    if starts is None:
        return torch.arange(num_bags + 1, device=index.device) * index.shape[1]
    return torch.cat([starts.long(), starts.new_full((1,), len(index), dtype=torch.int64)])


def _check_ranges(values: Tensor, index: Tensor, borders: Tensor) -> None:
    """Raises unless rows and starts are in range."""
    if int(borders[0]) < 0 or bool((borders.diff() < 0).any()):
        raise ValueError(f"starts must ascend in 0..{len(index)}, the length of index")
    places = index[int(borders[0]) :]
    if len(places):
        low, high = (int(bound) for bound in places.aminmax())
        if low < -1 or high >= len(values):
            raise ValueError(f"index reaches from {low} to {high}, expected -1..{len(values) - 1}")


def _reference(values: Tensor, index: Tensor, borders: Tensor) -> tuple[Tensor, Tensor]:
    """The maxima (S, C), and the rows that hold them, (S, C) int32, -1 where there is none."""
    num_bags = len(borders) - 1
    bags = torch.arange(num_bags, device=index.device).repeat_interleave(borders.diff())
    index = index[len(index) - len(bags) :]
    there = index >= 0
    rows = index[there]
    out, place = _reference_extreme(values.index_select(0, rows), bags[there], num_bags, True)
    if len(rows) == 0:
        return out, place
    return out, torch.where(place < 0, -1, rows[place.clamp(min=0)]).int()


if COMPILED:

    @torch.library.register_fake("pcpt::gather_max")
    def _fake(values: Tensor, index: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        shape = (starts.shape[0] - 1, values.shape[1])
        return values.new_empty(shape), values.new_empty(shape, dtype=torch.int32)

    def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return _to_holders(ctx, grad, Tensor.scatter_add), None, None

    torch.library.register_autograd("pcpt::gather_max", _backward, setup_context=_keep_holders)
