"""Samples as they are scored: each once, whole, and what could not be read is told."""

from collections.abc import Iterator
from typing import Any

import torch

from pcpt.data.skips import SkipLog


def whole_samples(dataset: Any, owner: Any, device: torch.device, skips: SkipLog) -> Iterator[Any]:
    """Every sample of a dataset once, one a batch, on the device.

    Args:
        dataset: in the order of its split, not augmented.
        owner: method or task that collates.
        device: to put batches on.
        skips: takes what was broken.
    """
    seen: set[str] = set()
    for number in range(len(dataset)):
        batch = owner.collate([dataset[number]])
        for scan, reason in batch.skipped:
            skips.add(scan, reason)
        if batch.names[0] not in seen:  # a broken one is replaced by one that comes again
            seen.add(batch.names[0])
            yield batch.to(device)
