"""The coordinates and kernel maps of a family of sparse tensors, made once for all layers.

Layers at the same stride ask for the same map; the decoder's transposed layers reuse the encoder's
strided maps with the roles of input and output swapped.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pcpt.ops.kernel_map import (
    check_coordinates,
    invert_kernel_map,
    kernel_map,
    kernel_offsets,
    pack_coordinates,
    unpack_coordinates,
)


class KernelMap(NamedTuple):
    """A kernel map seen from both sides; see :func:`pcpt.ops.kernel_map`."""

    neighbors: Tensor  # (K, N_out) int32 input rows
    inverse: Tensor  # (K, N_in) int32 output rows

    def swapped(self) -> "KernelMap":
        """The map of the transposed convolution."""
        return KernelMap(self.inverse, self.neighbors)


class KernelMaps:
    """Cache of coordinates by stride, and of kernel maps by (strides, kernel size, dilation).

    Coordinates stay in units of the finest grid, so those of stride s are multiples of s.

    Args:
        coordinates: (N, 4) int32 [batch, x, y, z], unique, x, y, z in +-2^15.
        stride: tensor stride of these coordinates.

    Raises:
        ValueError: wrong shape or type, values out of range or not multiples of the stride.
    """

    def __init__(self, coordinates: Tensor, stride: int = 1) -> None:
        check_coordinates(coordinates)
        if stride < 1:
            raise ValueError(f"stride must be >= 1, got {stride}")
        if stride > 1 and bool((coordinates[:, 1:] % stride != 0).any()):
            raise ValueError(f"coordinates of a tensor of stride {stride} must be multiples of it")
        self._coordinates = {stride: coordinates}
        self._maps: dict[tuple[int, int, int, int], KernelMap] = {}

    def coordinates(self, stride: int) -> Tensor:
        """(N, 4) int32 voxels of a stride; coarser ones are made of the next finer at first use.

        A voxel c goes to ``floor(c / stride) * stride``; new rows are in lexicographic order.

        Raises:
            ValueError: no finer coordinates to make them of.
        """
        if stride not in self._coordinates:
            finer = max((s for s in self._coordinates if stride % s == 0), default=None)
            if finer is None:
                raise ValueError(
                    f"no coordinates of stride {stride} here (known: {sorted(self._coordinates)}); "
                    "a transposed convolution returns only to a stride it came from"
                )
            cells = self._coordinates[finer].clone()
            cells[:, 1:] = torch.div(cells[:, 1:], stride, rounding_mode="floor") * stride
            self._coordinates[stride] = unpack_coordinates(torch.unique(pack_coordinates(cells)))
        return self._coordinates[stride]

    def get(self, stride: int, out_stride: int, kernel_size: int, dilation: int = 1) -> KernelMap:
        """The map of a convolution from ``stride`` to ``out_stride``, a multiple of it."""
        key = (stride, out_stride, kernel_size, dilation)
        if key not in self._maps:
            fine, coarse = self.coordinates(stride), self.coordinates(out_stride)
            neighbors = kernel_map(fine, coarse, kernel_offsets(kernel_size, dilation * stride))
            if stride == out_stride and kernel_size % 2:
                # Centred taps come in opposite pairs: k reversed is -k, so nothing is looked up.
                inverse = neighbors.flip(0)
            else:
                inverse = invert_kernel_map(neighbors, len(fine))
            self._maps[key] = KernelMap(neighbors, inverse)
        return self._maps[key]
