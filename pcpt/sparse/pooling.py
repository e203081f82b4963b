"""Pooling of voxels: 2 x 2 x 2 cells to the next coarser grid, and whole grids to one vector."""

import torch
from torch import Tensor

from pcpt.sparse.tensor import SparseTensor


def sum_pool(x: SparseTensor) -> SparseTensor:
    """Sum over the voxels present in each 2 x 2 x 2 cell; the stride doubles."""
    parent, num_out = _parents(x)
    out = x.features.new_zeros(num_out, x.features.shape[1])
    return x.at_stride(out.index_add(0, parent, x.features), 2 * x.stride)


def avg_pool(x: SparseTensor) -> SparseTensor:
    """Mean over the voxels present in each 2 x 2 x 2 cell; the stride doubles."""
    parent, num_out = _parents(x)
    count = torch.bincount(parent, minlength=num_out).to(x.features.dtype)
    total = sum_pool(x)
    return total.replace(total.features / count[:, None])


def max_pool(x: SparseTensor) -> SparseTensor:
    """Maximum over the voxels present in each 2 x 2 x 2 cell; the stride doubles.

    Voxels that tie share the gradient equally.
    """
    parent, num_out = _parents(x)
    out = x.features.new_zeros(num_out, x.features.shape[1])
    index = parent[:, None].expand_as(x.features)
    out = out.scatter_reduce(0, index, x.features, "amax", include_self=False)
    return x.at_stride(out, 2 * x.stride)


def global_avg_pool(x: SparseTensor, num_batches: int | None = None) -> Tensor:
    """Mean over all voxels of each batch index, (B, C); zeros where a batch index has none.

    Args:
        x: (N, C) voxels.
        num_batches: B; by default the largest batch index + 1.
    """
    batch = x.coordinates[:, 0].long()
    if num_batches is None:
        num_batches = int(batch.max()) + 1 if len(batch) else 0
    count = torch.bincount(batch, minlength=num_batches).clamp(min=1).to(x.features.dtype)
    out = x.features.new_zeros(num_batches, x.features.shape[1])
    return out.index_add(0, batch, x.features) / count[:, None]


def _parents(x: SparseTensor) -> tuple[Tensor, int]:
    """(N,) int64 row of each voxel's cell at twice the stride, and the number of cells."""
    parent = x.maps.parent(x.stride, 2 * x.stride)
    return parent.long(), len(x.maps.coordinates(2 * x.stride))
