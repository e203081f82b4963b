"""Several processes under ``torchrun``: who am I, and do we agree."""

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


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
