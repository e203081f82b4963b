"""Pooling of voxels: 2 x 2 x 2 cells to the next coarser grid, and whole grids to one vector."""

from torch import Tensor

from pcpt.ops.segment_reduce import Reduction, segment_reduce
from pcpt.sparse.tensor import SparseTensor


def sum_pool(x: SparseTensor) -> SparseTensor:
    """Sum over the voxels present in each 2 x 2 x 2 cell; the stride doubles."""
    return _pool(x, "sum")


def avg_pool(x: SparseTensor) -> SparseTensor:
    """Mean over the voxels present in each 2 x 2 x 2 cell; the stride doubles."""
    return _pool(x, "mean")


def max_pool(x: SparseTensor) -> SparseTensor:
    """Maximum over the voxels present in each 2 x 2 x 2 cell; the stride doubles.

    Of voxels that tie the first has the gradient.
    """
    return _pool(x, "max")


def global_avg_pool(x: SparseTensor, num_batches: int | None = None) -> Tensor:
    """Mean over all voxels of each batch index, (B, C); zeros where a batch index has none.

    Args:
        x: (N, C) voxels.
        num_batches: B; by default the largest batch index + 1.
    """
    batch = x.coordinates[:, 0]
    if num_batches is None:
        num_batches = int(batch.max()) + 1 if len(batch) else 0
    return segment_reduce(x.features, batch, num_batches, "mean")


def _pool(x: SparseTensor, reduce: Reduction) -> SparseTensor:
    parent = x.maps.parent(x.stride, 2 * x.stride)
    num_cells = len(x.maps.coordinates(2 * x.stride))
    return x.at_stride(segment_reduce(x.features, parent, num_cells, reduce), 2 * x.stride)
