"""What batches of every kind do alike: they count their samples and move between devices."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor


class Movable:
    """Base of the dataclasses that hold a batch.

    Attributes:
        names: of its samples.
    """

    names: list[str]

    @property
    def num_samples(self) -> int:
        """Number of samples: clouds, scenes, shapes or images."""
        return len(self.names)

    def to(self, device: torch.device | str) -> Self:
        """A copy with every tensor on ``device``."""
        return _mapped(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """A copy in page-locked memory, for faster transfer to a GPU."""
        return _mapped(self, Tensor.pin_memory)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy in which every tensor is changed, those in lists and in dataclasses too."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list):
        return [_mapped(inner, change) for inner in value]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{f.name: _mapped(getattr(value, f.name), change) for f in fields(value)}
        )
    return value
