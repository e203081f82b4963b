"""The coordinates and kernel maps of a family of sparse tensors, made once for all layers.

Layers at the same stride ask for the same map and search the same hash; the decoder's transposed
layers reuse the encoder's strided maps with the roles of input and output swapped.

Making a map depends on the data, so ``torch.compile`` cannot trace it without a break. A forward pass
over a family whose maps are there already (from a pass before, or :meth:`KernelMaps.get`) is one
graph.
"""

import torch
from torch import Tensor

from pcpt.ops.kernel_map import (
    check_coordinates,
    check_size,
    coarsen_voxels,
    invert_kernel_map,
    kernel_offsets,
    search,
    stride_map,
    voxel_table,
)


class KernelMap:
    """A kernel map seen from both sides; see :func:`pcpt.ops.kernel_map`.

    Args:
        neighbors: (K, N_out) int32 input rows.
        inverse: (K, N_in) int32 output rows; by default made when first read, as only gradients
            and transposed convolutions need it.
        num_in: N_in.
        centred: the map of a centred kernel from voxels to the same voxels.
    """

    def __init__(
        self,
        neighbors: Tensor,
        inverse: Tensor | None = None,
        *,
        num_in: int = 0,
        centred: bool = False,
    ) -> None:
        self.neighbors = neighbors
        self._inverse = inverse
        self._num_in = num_in
        self._centred = centred

    @property
    def inverse(self) -> Tensor:
        """(K, N_in) int32 output rows."""
        if self._inverse is None:
            if self._centred:
                # Taps come in opposite pairs: K-1-k is -k, so nothing is looked up.
                self._inverse = self.neighbors.flip(0)
            else:
                self._inverse = invert_kernel_map(self.neighbors, self._num_in)
        return self._inverse

    def swapped(self) -> "KernelMap":
        """The map of the transposed convolution."""
        return KernelMap(self.inverse, self.neighbors)


class KernelMaps:
    """Cache of coordinates and hashes by stride, and of kernel maps by (strides, size, dilation).

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
        self._finest = stride
        self._coordinates = {stride: coordinates}
        self._tables: dict[int, Tensor] = {}
        self._parents: dict[tuple[int, int], Tensor] = {}
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
            self.parent(finer, stride)
        return self._coordinates[stride]

    def parent(self, stride: int, out_stride: int) -> Tensor:
        """(N,) int32 row of each voxel of ``stride`` among those of a multiple ``out_stride``."""
        key = (stride, out_stride)
        if key not in self._parents:
            if stride == self._finest:
                self._table(stride)  # reports repeated voxels; coarser ones cannot repeat
            coarse, self._parents[key] = coarsen_voxels(self.coordinates(stride), out_stride)
            self._coordinates.setdefault(out_stride, coarse)
        return self._parents[key]

    def get(self, stride: int, out_stride: int, kernel_size: int, dilation: int = 1) -> KernelMap:
        """The map of a convolution from ``stride`` to ``out_stride``, a multiple of it."""
        key = (stride, out_stride, kernel_size, dilation)
        if key not in self._maps:
            ratio = out_stride // stride
            if kernel_size == ratio and ratio % 2 == 0 and dilation == 1:
                self._maps[key] = self._derived(stride, ratio)
            else:
                self._maps[key] = self._searched(stride, out_stride, kernel_size, dilation)
        return self._maps[key]

    def _table(self, stride: int) -> Tensor:
        if stride not in self._tables:
            self._tables[stride] = voxel_table(self.coordinates(stride))
        return self._tables[stride]

    def _derived(self, stride: int, ratio: int) -> KernelMap:
        """The kernel covers each cell exactly: the voxels' parents say it all."""
        parent = self.parent(stride, stride * ratio)
        fine, num_out = self.coordinates(stride), len(self.coordinates(stride * ratio))
        check_size(ratio**3, len(fine), num_out)
        return KernelMap(*stride_map(fine, parent, stride, ratio, num_out))

    def _searched(self, stride: int, out_stride: int, size: int, dilation: int) -> KernelMap:
        fine, coarse = self.coordinates(stride), self.coordinates(out_stride)
        check_size(size**3, len(fine), len(coarse))
        centred = stride == out_stride and size % 2 == 1
        offsets = kernel_offsets(size, dilation * stride)
        neighbors = search(self._table(stride), len(fine), coarse, offsets, mirrored=centred)
        return KernelMap(neighbors, num_in=len(fine), centred=centred)
