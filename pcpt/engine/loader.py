"""Batches for the trainer: how long each was waited for, and which frames were skipped on the way."""

import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from pcpt.data.batch import Batch

_log = logging.getLogger(__name__)


class Loader:
    """Iterates over ``(batch, seconds waited for it)``, warning once of each skipped frame.

    Attributes:
        skipped: how often each skipped frame was met, by its message.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        collate: Callable[[list[Any]], Batch],
        sampler: Sampler[list[int]],
        *,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.skipped: Counter[str] = Counter()
        self._loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=pin_memory,
            worker_init_fn=_leave_signals_to_trainer,
        )

    def __iter__(self) -> Iterator[tuple[Batch, float]]:
        batches = iter(self._loader)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            seconds = time.perf_counter() - start
            for message in batch.skipped:
                if message not in self.skipped:
                    _log.warning("skipped broken frame %s", message)
                self.skipped[message] += 1
            yield batch, seconds

    def report_skipped(self) -> None:
        """Sums up the skipped frames in the log, if there were any."""
        if self.skipped:
            _log.warning(
                "%d broken frames were skipped, %d times in all; they are named above",
                len(self.skipped),
                self.skipped.total(),
            )


def _leave_signals_to_trainer(worker: int) -> None:
    # Ctrl-C and batch systems signal the whole process group, but the trainer may still need
    # batches to finish its step; workers leave when it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
