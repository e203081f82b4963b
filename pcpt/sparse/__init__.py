"""Sparse 3D convolution on voxels: tensors, layers and the kernel maps they share."""

from pcpt.sparse.conv import Conv3d, ConvTranspose3d
from pcpt.sparse.maps import KernelMap, KernelMaps
from pcpt.sparse.minkowski import from_minkowski_kernel
from pcpt.sparse.norm import BatchNorm
from pcpt.sparse.pooling import avg_pool, global_avg_pool, max_pool, sum_pool
from pcpt.sparse.tensor import SparseTensor

__all__ = [
    "BatchNorm",
    "Conv3d",
    "ConvTranspose3d",
    "KernelMap",
    "KernelMaps",
    "SparseTensor",
    "avg_pool",
    "from_minkowski_kernel",
    "global_avg_pool",
    "max_pool",
    "sum_pool",
]
