"""Which voxel lies under which tap of a sparse convolution: the table every sparse layer reads.

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
        ValueError: wrong shape or type, coordinates out of range, or repeated.
    """
    check_coordinates(coordinates)
    if out_coordinates is not coordinates:
        check_coordinates(out_coordinates, "out_coordinates")
    if offsets.ndim != 2 or offsets.shape[1] != 3 or offsets.dtype != torch.int32:
        raise ValueError(
            f"offsets must be (K, 3) int32, got {tuple(offsets.shape)} {offsets.dtype}"
        )
    offsets = offsets.to(coordinates.device)
    if has_kernel("kernel_map", coordinates):
        neighbors, duplicate = torch.ops.pcpt.kernel_map(coordinates, out_coordinates, offsets)
    else:
        neighbors, duplicate = _reference(coordinates, out_coordinates, offsets)
    row = int(duplicate)
    if row >= 0:
        raise ValueError(
            f"coordinates must be unique, but {coordinates[row].tolist()} occurs more than once; "
            "merge points into voxels with pcpt.ops.voxelize"
        )
    return neighbors


def _reference(
    coordinates: Tensor, out_coordinates: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """Neighbour table, and the smallest row that repeats an earlier one (-1: none)."""
    num_in, num_out, volume = len(coordinates), len(out_coordinates), len(offsets)
    none = torch.tensor(-1, device=coordinates.device)
    if num_in == 0 or num_out == 0:
        return offsets.new_full((volume, num_out), -1), none

    keys, order = pack_coordinates(coordinates).sort(stable=True)
    repeated = order[1:][keys[1:] == keys[:-1]]
    duplicate = repeated.min() if len(repeated) else none

    sought = out_coordinates.expand(volume, -1, -1).clone()  # (K, N_out, 4)
    sought[..., 1:] += offsets[:, None]
    inside = (sought[..., 1:] >= -COORDINATE_LIMIT) & (sought[..., 1:] < COORDINATE_LIMIT)
    sought_keys = pack_coordinates(sought)
    slot = torch.searchsorted(keys, sought_keys).clamp(max=num_in - 1)
    found = (keys[slot] == sought_keys) & inside.all(-1)
    return torch.where(found, order[slot], -1).int(), duplicate


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

    @torch.library.register_fake("pcpt::kernel_map")
    def _(coordinates: Tensor, out_coordinates: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        shape = (offsets.shape[0], out_coordinates.shape[0])
        return offsets.new_empty(shape), offsets.new_empty((), dtype=torch.int64)
