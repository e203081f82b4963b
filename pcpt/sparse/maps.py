"""The coordinates and kernel maps of a family of sparse tensors, made once for all layers.

Layers at the same stride ask for the same map and search the same hash; the decoder's transposed
layers reuse the encoder's strided maps with the roles of input and output swapped.

How many voxels a level has depends on the data, so ``torch.compile`` cannot make maps without a
break in its graph. A forward pass over a family whose maps are there already, from a pass before
with gradients on or off as now, is one graph; it is compiled anew for every family of another size,
which rarely pays.
"""

import torch
from torch import Tensor

from pcpt.ops._sparse_plan import sparse_plan
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
from pcpt.ops.sparse_conv import needs_plan


def _kept() -> torch.inference_mode:
    """For what is made once and kept: what inference mode makes, no training step can use later."""
    return torch.inference_mode(False)


class KernelMap:
    """A kernel map seen from both sides; see :func:`pcpt.ops.kernel_map`.

    What only gradients, transposed convolutions or CUDA need is made when it is first read.

    Args:
        neighbors: (K, N_out) int32 input rows.
        num_in: N_in.
        inverse: (K, N_in) int32 output rows, where they are known already.
        centred: the map of a centred kernel from voxels to the same voxels.
    """

    def __init__(
        self,
        neighbors: Tensor,
        num_in: int,
        inverse: Tensor | None = None,
        *,
        centred: bool = False,
    ) -> None:
        # Of both sides, shared with the swapped map: this one's side is 0 there.
        self._tables: list[Tensor | None] = [neighbors, inverse]
        self._plans: list[Tensor | None] = [None, None]
        self._rows = (num_in, neighbors.shape[1])
        self._centred = centred
        self._side = 0

    @property
    def neighbors(self) -> Tensor:
        """(K, N_out) int32 input rows."""
        return self._table(self._side)

    @property
    def inverse(self) -> Tensor:
        """(K, N_in) int32 output rows."""
        return self._table(1 - self._side)

    @property
    def plan(self) -> Tensor | None:
        """How the kernel walks ``neighbors`` (:func:`pcpt.ops._sparse_plan.sparse_plan`), or None
        where it does not need to know."""
        return self._plan(self._side)

    @property
    def inverse_plan(self) -> Tensor | None:
        """``plan`` of ``inverse``."""
        return self._plan(1 - self._side)

    def swapped(self) -> "KernelMap":
        """The map of the transposed convolution."""
        other = KernelMap.__new__(KernelMap)
        other._tables, other._plans = self._tables, self._plans
        other._rows, other._centred = self._rows, self._centred
        other._side = 1 - self._side
        return other

    def _table(self, side: int) -> Tensor:
        table = self._tables[side]
        if table is None:
            neighbors = self._tables[0]
            assert neighbors is not None
            with _kept():
                if self._centred:
                    # Taps come in opposite pairs: K-1-k is -k, so nothing is looked up.
                    table = neighbors.flip(0)
                else:
                    table = invert_kernel_map(neighbors, self._rows[0])
            self._tables[side] = table
        return table

    def _plan(self, side: int) -> Tensor | None:
        table = self._table(side)
        if self._plans[side] is None and needs_plan(table):
            with _kept():
                self._plans[side] = sparse_plan(table, self._rows[side])
        return self._plans[side]


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
            with _kept():
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
            with _kept():
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
        neighbors, inverse = stride_map(fine, parent, stride, ratio, num_out)
        return KernelMap(neighbors, len(fine), inverse)

    def _searched(self, stride: int, out_stride: int, size: int, dilation: int) -> KernelMap:
        fine, coarse = self.coordinates(stride), self.coordinates(out_stride)
        check_size(size**3, len(fine), len(coarse))
        centred = stride == out_stride and size % 2 == 1
        offsets = kernel_offsets(size, dilation * stride)
        neighbors = search(self._table(stride), len(fine), coarse, offsets, mirrored=centred)
        return KernelMap(neighbors, len(fine), centred=centred)
