"""Batches for the trainer: how long each was waited for, and which frames were skipped."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from pcpt.data.batch import Batch
from pcpt.data.skips import SkipLog


class Loader:
    """Iterates over ``(batch on the device, seconds waited for it)``.

    Args:
        dataset: samples by global sample number.
        collate: joins samples into a batch.
        sampler: yields the sample numbers of each batch.
        device: where batches go.
        skips: told of every frame that was skipped.
        workers: processes that load; 0 loads in this one.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        collate: Callable[[list[Any]], Batch],
        sampler: Sampler[list[int]],
        *,
        device: torch.device,
        skips: SkipLog,
        workers: int = 0,
    ) -> None:
        self._device = device
        self._skips = skips
        self._loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            worker_init_fn=_leave_signals_to_trainer,
        )

    def __iter__(self) -> Iterator[tuple[Batch, float]]:
        batches = iter(self._loader)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            batch_on_device = batch.to(self._device)
            seconds = time.perf_counter() - start
            for scan, reason in batch.skipped:
                self._skips.add(scan, reason)
            yield batch_on_device, seconds


def _leave_signals_to_trainer(worker: int) -> None:
    # Ctrl-C and batch systems signal the whole process group, but the trainer may still need
    # batches to finish its step; workers leave when it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
