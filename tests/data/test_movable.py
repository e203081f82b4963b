"""Batches that move: every tensor, wherever it lies, and nothing else."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pcpt.data.movable import Movable


@dataclass
class Inner:
    centers: Tensor


@dataclass
class Some(Movable):
    points: Tensor
    boxes: list[Inner]
    normals: Tensor | None = None
    names: list[str] = field(default_factory=list)


def test_every_tensor_moves() -> None:
    batch = Some(torch.ones(3), [Inner(torch.ones(2)), Inner(torch.ones(0))], None, ["a", "b"])
    moved = batch.to("meta")
    assert isinstance(moved, Some) and moved.num_samples == 2
    tensors = [moved.points, *(inner.centers for inner in moved.boxes)]
    assert [tensor.device.type for tensor in tensors] == ["meta"] * 3
    assert [len(tensor) for tensor in tensors] == [3, 2, 0]
    assert moved.normals is None and moved.names == ["a", "b"]
    assert batch.points.device.type == "cpu" and batch.boxes[0].centers.device.type == "cpu"
