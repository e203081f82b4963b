"""Features of all ranks of a distributed run, for losses that contrast across them."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def num_ranks() -> int:
    """Number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_with_grad(tensor: Tensor) -> tuple[Tensor, int]:
    """Rows of all ranks, in rank order, with gradients flowing back to the rank they came from.

    Each rank's gradient is the *sum* of what all ranks' losses ask of its rows. DistributedData-
    Parallel then averages over ranks, which gives the gradient of the mean of the ranks' losses.

    Args:
        tensor: (M, ...) rows of this rank; M may differ between ranks, the rest may not.

    Returns:
        (sum of M, ...) rows, and the row at which this rank's begin. Without a process group, the
        tensor itself and 0.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return tensor, 0
    size, rank = dist.get_world_size(), dist.get_rank()
    lengths = torch.zeros(size, dtype=torch.int64, device=tensor.device)
    lengths[rank] = tensor.shape[0]
    dist.all_reduce(lengths)
    lengths_list = lengths.tolist()
    return _Gather.apply(tensor, lengths_list, rank), sum(lengths_list[:rank])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, lengths: list[int], rank: int) -> Tensor:
        ctx.rows = slice(sum(lengths[:rank]), sum(lengths[: rank + 1]))
        # collectives want equal shapes: pad to the longest, cut after
        padded = tensor.new_zeros(max(lengths), *tensor.shape[1:])
        padded[: tensor.shape[0]] = tensor
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[ctx.rows], None, None
