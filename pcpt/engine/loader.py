"""Batches for the trainer: how long each was waited for, and which frames were skipped."""

import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from pcpt.data.batch import Batch

_log = logging.getLogger(__name__)


class SkippedFrames:
    """Names each skipped frame once in the log, counts all, and sums up at the end."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, messages: list[str]) -> None:
        """Takes the messages that came with a batch."""
        for message in messages:
            if message not in self.counts:
                _log.warning("skipped broken frame %s", message)
            self.counts[message] += 1

    def report(self) -> None:
        """Sums up in the log, if there was anything."""
        if self.counts:
            number, times = len(self.counts), self.counts.total()
            _log.warning("skipped %d broken frames, %d times in all (named above)", number, times)


class Loader:
    """Iterates over ``(batch on the device, seconds waited for it)``.

    Args:
        dataset: samples by global sample number.
        collate: joins samples into a batch.
        sampler: yields the sample numbers of each batch.
        device: where batches go.
        skipped: told of every frame that was skipped.
        workers: processes that load; 0 loads in this one.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        collate: Callable[[list[Any]], Batch],
        sampler: Sampler[list[int]],
        *,
        device: torch.device,
        skipped: SkippedFrames,
        workers: int = 0,
    ) -> None:
        self._device = device
        self._skipped = skipped
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
            self._skipped.note(batch.skipped)
            yield batch_on_device, seconds


def _leave_signals_to_trainer(worker: int) -> None:
    # Ctrl-C and batch systems signal the whole process group, but the trainer may still need
    # batches to finish its step; workers leave when it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
