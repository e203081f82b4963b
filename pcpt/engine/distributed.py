"""Several processes under ``torchrun``: who am I, do we agree, a gather that gradients cross."""

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx


@dataclass(frozen=True)
class World:
    """This process among its peers.

    Attributes:
        device: where this process computes.
        rank: 0 writes files.
        size: number of processes; 1 without ``torchrun``.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    def max(self, value: int) -> int:
        """The largest ``value`` of all ranks."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return int(shared.item())

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over ranks, value by value."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared)
        return shared.tolist()

    def barrier(self) -> None:
        """Waits for every rank."""
        if self.size > 1:
            dist.barrier()


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ValueError: a CUDA device that is not there.
    """
    available = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and available == 0):
        return torch.device("cpu")
    device = torch.device("cuda", local_rank) if name in ("auto", "cuda") else torch.device(name)
    if (device.index or 0) >= available:
        raise ValueError(
            f"device {device} asked for, {available} CUDA devices found; pass device=cpu"
        )
    return device


@contextmanager
def connect(device: str) -> Iterator[World]:
    """Joins the group that ``torchrun`` started (nccl on CUDA, gloo on CPU); alone without it.

    Let go of every DistributedDataParallel before the context ends.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    where = pick_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if size == 1:
        yield World(where)
        return
    dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield World(where, dist.get_rank(), size)
    finally:
        # A DistributedDataParallel that outlives the group deadlocks when it goes: freeing the
        # group's threads from there holds the lock that they wait for (seen in torch 2.13).
        gc.collect()
        dist.destroy_process_group()


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
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[ctx.rows], None, None  # type: ignore[attr-defined]
