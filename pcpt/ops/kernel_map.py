"""Which voxel lies under which tap of a sparse convolution: the table every sparse layer reads.

A level's voxels are hashed once (:func:`voxel_table`), for all kernels that search it. The map
between a level and the next coarser one is not searched: a voxel's parent gives it
(:func:`stride_map`).

A kernel map is dense, ``(K, N_out) int32`` with -1 where a tap meets no voxel, rather than a list
of pairs: its shape is known without looking at the data, its inverse is a scatter, and a
submanifold map's inverse is the same table read backwards.
"""

import itertools

import torch
from torch import Tensor

from pcpt.ops._library import COMPILED, has_kernel

COORDINATE_LIMIT = 2**15  # a packed coordinate has 16 bits per axis


def kernel_offsets(kernel_size: int, spacing: int = 1) -> Tensor:
    """Taps of a cubic kernel in lexicographic order, x slowest: ``(K, 3) int32``, K = size ** 3.

    Odd kernels are centred, even ones reach from 0 to ``kernel_size - 1``. ``spacing`` is dilation
    times tensor stride.

    >>> kernel_offsets(2)[:3].tolist()
    [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    """
    if kernel_size < 1 or spacing < 1:
        raise ValueError(f"kernel_size and spacing must be >= 1, got {kernel_size} and {spacing}")
    first = -(kernel_size // 2) if kernel_size % 2 else 0
    taps = range(first, first + kernel_size)
    return spacing * torch.tensor(list(itertools.product(taps, repeat=3)), dtype=torch.int32)


def check_size(volume: int, num_in: int, num_out: int) -> None:
    """Checks that rows and entries of a kernel map can be counted in 31 bits.

    Raises:
        ValueError: 2^31 or more voxels, or entries of the table or of its inverse.
    """
    entries = max(volume, 1) * max(num_in, num_out)
    if entries >= 2**31:
        raise ValueError(
            f"a kernel map of {volume} taps from {num_in} to {num_out} voxels would have {entries} "
            "entries, the limit is 2^31 - 1; use fewer clouds in a batch, larger voxels or a "
            "smaller kernel"
        )


def check_coordinates(coordinates: Tensor, name: str = "coordinates") -> None:
    """Checks shape, type and range of voxel coordinates.

    Raises:
        ValueError: not ``(N, 4) int32``, x, y, z outside +-2^15, or batch index outside 0..2^15-1.
    """
    if coordinates.ndim != 2 or coordinates.shape[1] != 4:
        raise ValueError(
            f"{name} must be (N, 4) [batch, x, y, z], got shape {tuple(coordinates.shape)}"
        )
    if coordinates.dtype != torch.int32:
        raise ValueError(f"{name} must be int32, got {coordinates.dtype}; use {name}.int()")
    if len(coordinates) == 0:
        return
    low, high = coordinates.amin(0).tolist(), coordinates.amax(0).tolist()
    if min(low[1:]) < -COORDINATE_LIMIT or max(high[1:]) >= COORDINATE_LIMIT:
        raise ValueError(
            f"{name} reach from {low[1:]} to {high[1:]}, but x, y, z must lie in "
            f"{-COORDINATE_LIMIT}..{COORDINATE_LIMIT - 1}; use larger voxels or centre the cloud"
        )
    if low[0] < 0 or high[0] >= COORDINATE_LIMIT:
        raise ValueError(
            f"{name}: batch index must lie in 0..{COORDINATE_LIMIT - 1}, got {low[0]}..{high[0]}"
        )


def pack_coordinates(coordinates: Tensor) -> Tensor:
    """``(..., 4)`` coordinates in range as int64 keys whose order is lexicographic."""
    batch, x, y, z = coordinates.long().unbind(-1)
    limit = COORDINATE_LIMIT
    return (((batch << 16 | x + limit) << 16) | y + limit) << 16 | z + limit


def unpack_coordinates(keys: Tensor) -> Tensor:
    """Inverse of :func:`pack_coordinates`, int32."""
    axes = [(keys >> shift & 0xFFFF) - COORDINATE_LIMIT for shift in (32, 16, 0)]
    return torch.stack([keys >> 48, *axes], dim=-1).int()


def kernel_map(coordinates: Tensor, out_coordinates: Tensor, offsets: Tensor) -> Tensor:
    """For each tap and output voxel the row of the input voxel at ``output + offset``.

    Args:
        coordinates: input voxels, (N_in, 4) int32 [batch, x, y, z], unique, in +-2^15.
        out_coordinates: output voxels, (N_out, 4) int32.
        offsets: (K, 3) int32, in the same units; see :func:`kernel_offsets`.

    Returns:
        (K, N_out) int32 rows of ``coordinates``, -1 where there is no voxel.

    Raises:
        ValueError: wrong shape, type or device, coordinates out of range, or repeated, or a table
            of 2^31 entries or more.
    """
    if offsets.ndim != 2 or offsets.shape[1] != 3 or offsets.dtype != torch.int32:
        raise ValueError(
            f"offsets must be (K, 3) int32, got {tuple(offsets.shape)} {offsets.dtype}"
        )
    if coordinates.device != out_coordinates.device:
        raise ValueError(
            f"coordinates are on {coordinates.device}, out_coordinates on {out_coordinates.device}"
        )
    check_size(len(offsets), len(coordinates), len(out_coordinates))
    check_coordinates(coordinates)
    if out_coordinates is not coordinates:
        check_coordinates(out_coordinates, "out_coordinates")
    table = voxel_table(coordinates)
    mirrored = out_coordinates is coordinates and torch.equal(offsets, -offsets.flip(0))
    return search(table, len(coordinates), out_coordinates, offsets, mirrored=mirrored)


def voxel_table(coordinates: Tensor) -> Tensor:
    """The voxels of a level made ready for :func:`search`, once for all kernels.

    Args:
        coordinates: (N, 4) int32, as :func:`check_coordinates` wants them.

    Returns:
        (S, 2) int64 pairs of a packed voxel and its row. Their order is a matter of the kernels: a
        hash table there, sorted in the reference.

    Raises:
        ValueError: repeated coordinates.
    """
    if has_kernel("voxel_table", coordinates):
        table, duplicate = torch.ops.pcpt.voxel_table(coordinates)
    else:
        table, duplicate = _reference_table(coordinates)
    row = int(duplicate)
    if row >= 0:
        raise ValueError(
            f"coordinates must be unique, but {coordinates[row].tolist()} occurs more than once; "
            "merge points into voxels with pcpt.ops.voxelize"
        )
    return table


def search(
    table: Tensor, num_in: int, out_coordinates: Tensor, offsets: Tensor, *, mirrored: bool = False
) -> Tensor:
    """:func:`kernel_map` in a table made before; checks nothing again.

    Args:
        table: of :func:`voxel_table`.
        num_in: voxels in the table.
        out_coordinates: (N_out, 4) int32.
        offsets: (K, 3) int32.
        mirrored: the output voxels are those of the table, in the same order, and tap k is minus
            tap K-1-k. Then half the taps give the rest.
    """
    offsets = offsets.to(out_coordinates.device)
    if has_kernel("kernel_map", out_coordinates):
        return torch.ops.pcpt.kernel_map(table, num_in, out_coordinates, offsets, mirrored)
    return _reference_search(table, out_coordinates, offsets)


def coarsen_voxels(coordinates: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """The voxels ``floor(c / stride) * stride``, each once, and where each voxel went.

    Args:
        coordinates: (N, 4) int32, in range.
        stride: tensor stride of the result.

    Returns:
        coarse: (M, 4) int32 in lexicographic order.
        parent: (N,) int32 row of each voxel's own.

    Raises:
        ValueError: a coarse voxel would begin beyond -2^15.
    """
    if COORDINATE_LIMIT % stride and len(coordinates) > 0:  # else no cell crosses the edge
        low = int(coordinates[:, 1:].min())
        if low // stride * stride < -COORDINATE_LIMIT:
            raise ValueError(
                f"coordinates reach {low}, whose cell of stride {stride} begins beyond "
                f"{-COORDINATE_LIMIT}; centre the cloud"
            )
    if has_kernel("coarsen_voxels", coordinates):  # CUDA sorts, in the reference
        return torch.ops.pcpt.coarsen_voxels(coordinates, stride)
    return _reference_coarsen(coordinates, stride)


def stride_map(
    coordinates: Tensor, parent: Tensor, stride: int, ratio: int, num_out: int
) -> tuple[Tensor, Tensor]:
    """The map of a convolution whose even kernel equals its stride, and its inverse.

    Args:
        coordinates: (N, 4) int32, multiples of ``stride``, unique.
        parent: (N,) int32 row of each among the voxels of stride ``stride * ratio``.
        stride: tensor stride of ``coordinates``.
        ratio: stride and kernel size of the convolution; K is its cube.
        num_out: M, number of the coarse voxels.

    Returns:
        neighbors: (K, M) int32, as :func:`kernel_map` would find them.
        inverse: (K, N) int32.
    """
    if has_kernel("stride_map", coordinates):
        return torch.ops.pcpt.stride_map(coordinates, parent, stride, ratio, num_out)
    return _reference_stride_map(coordinates, parent, stride, ratio, num_out)


def _reference(
    coordinates: Tensor, out_coordinates: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """Neighbour table, and the smallest row that repeats an earlier one (-1: none)."""
    table, duplicate = _reference_table(coordinates)
    return _reference_search(table, out_coordinates, offsets), duplicate


def _reference_table(coordinates: Tensor) -> tuple[Tensor, Tensor]:
    keys, order = pack_coordinates(coordinates).sort(stable=True)
    repeated = order[1:][keys[1:] == keys[:-1]]
    none = torch.tensor(-1, device=coordinates.device)
    return torch.stack((keys, order), 1), repeated.min() if len(repeated) else none


def _reference_search(table: Tensor, out_coordinates: Tensor, offsets: Tensor) -> Tensor:
    num_in, num_out, volume = len(table), len(out_coordinates), len(offsets)
    if num_in == 0 or num_out == 0:
        return offsets.new_full((volume, num_out), -1)
    keys, order = table.T.contiguous()
    sought = out_coordinates.expand(volume, -1, -1).clone()  # (K, N_out, 4)
    sought[..., 1:] += offsets[:, None]
    inside = (sought[..., 1:] >= -COORDINATE_LIMIT) & (sought[..., 1:] < COORDINATE_LIMIT)
    sought_keys = pack_coordinates(sought)
    slot = torch.searchsorted(keys, sought_keys).clamp(max=num_in - 1)
    found = (keys[slot] == sought_keys) & inside.all(-1)
    return torch.where(found, order[slot], -1).int()


def _reference_coarsen(coordinates: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    cells = coordinates.clone()
    cells[:, 1:] = torch.div(cells[:, 1:], stride, rounding_mode="floor") * stride
    keys, parent = torch.unique(pack_coordinates(cells), return_inverse=True)
    return unpack_coordinates(keys), parent.int()


def _reference_stride_map(
    coordinates: Tensor, parent: Tensor, stride: int, ratio: int, num_out: int
) -> tuple[Tensor, Tensor]:
    x, y, z = (coordinates[:, 1:].long() % (stride * ratio) // stride).unbind(1)
    tap = (x * ratio + y) * ratio + z
    rows = torch.arange(len(coordinates), dtype=torch.int32, device=coordinates.device)
    neighbors = parent.new_full((ratio**3, num_out), -1)
    inverse = parent.new_full((ratio**3, len(coordinates)), -1)
    neighbors[tap, parent.long()] = rows
    inverse[tap, rows.long()] = parent
    return neighbors, inverse


def invert_kernel_map(neighbors: Tensor, num_in: int) -> Tensor:
    """The same pairs read from the input side: (K, N_in) int32 rows of the output, -1 for none.

    ``inverse[k, i] = o`` exactly where ``neighbors[k, o] = i``; within a tap each voxel has at most
    one partner.
    """
    volume, num_out = neighbors.shape
    inverse = neighbors.new_full((volume, num_in + 1), -1)
    rows = torch.arange(num_out, dtype=torch.int32, device=neighbors.device)
    slot = torch.where(neighbors < 0, num_in, neighbors).long()  # the last column takes the misses
    inverse.scatter_(1, slot, rows.expand(volume, -1))
    return inverse[:, :num_in].contiguous()


if COMPILED:

    @torch.library.register_fake("pcpt::voxel_table")
    def _fake_table(coordinates: Tensor) -> tuple[Tensor, Tensor]:
        size = torch.library.get_ctx().new_dynamic_size()
        table = coordinates.new_empty(size, 2, dtype=torch.int64)
        return table, table.new_empty(())

    @torch.library.register_fake("pcpt::kernel_map")
    def _fake_map(
        table: Tensor, num_in: int, out_coordinates: Tensor, offsets: Tensor, mirrored: bool
    ) -> Tensor:
        return offsets.new_empty(offsets.shape[0], out_coordinates.shape[0])

    @torch.library.register_fake("pcpt::coarsen_voxels")
    def _fake_coarsen(coordinates: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        num_coarse = torch.library.get_ctx().new_dynamic_size()
        return coordinates.new_empty(num_coarse, 4), coordinates.new_empty(coordinates.shape[0])

    @torch.library.register_fake("pcpt::stride_map")
    def _fake_stride_map(
        coordinates: Tensor, parent: Tensor, stride: int, ratio: int, num_out: int
    ) -> tuple[Tensor, Tensor]:
        shape = (ratio**3, coordinates.shape[0])
        return coordinates.new_empty(ratio**3, num_out), coordinates.new_empty(shape)
