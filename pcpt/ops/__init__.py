"""Operators: PyTorch references, and compiled kernels where csrc was built."""

from pcpt.ops.kernel_map import kernel_map
from pcpt.ops.sparse_conv import sparse_conv

__all__ = ["kernel_map", "sparse_conv"]
