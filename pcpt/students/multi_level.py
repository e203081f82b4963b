"""Features of all levels of a U-Net side by side, for probes of what it knows anywhere in it."""

from typing import Any

import torch
from torch import Tensor

from pcpt.sparse import SparseTensor


def multi_level_features(student: Any, voxels: SparseTensor) -> Tensor:
    """Features of the bottleneck and of every decoder stage at each of the finest voxels.

    A voxel has the features of the coarser voxels that it lies in.

    Args:
        student: a network with ``levels(voxels) -> list of SparseTensor``, coarse to fine, such as
            :class:`pcpt.students.SparseUNet`.
        voxels: (N, C_in) input.

    Returns:
        (N, sum of C of the levels), coarse to fine.

    Raises:
        ValueError: a student without levels.
    """
    if not hasattr(student, "levels"):
        raise ValueError(
            f"multi-level features need a student with levels(), {type(student).__name__} has none"
        )
    levels: list[SparseTensor] = student.levels(voxels)
    rows = _rows_by_stride(voxels, {level.stride for level in levels})
    return torch.cat(
        [
            level.features if level.stride == voxels.stride else level.features[rows[level.stride]]
            for level in levels
        ],
        dim=1,
    )


def _rows_by_stride(voxels: SparseTensor, strides: set[int]) -> dict[int, Tensor]:
    """(N,) int64 row of each voxel among the voxels of each coarser stride, level by level: these
    are the parents that the network's own strided convolutions have made."""
    rows: dict[int, Tensor] = {}
    stride, row = voxels.stride, None
    for coarser in sorted(strides - {voxels.stride}):
        parent = voxels.maps.parent(stride, coarser).long()
        row = parent if row is None else parent[row]
        rows[coarser] = row
        stride = coarser
    return rows
