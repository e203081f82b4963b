"""How the GPU walks a kernel map: rows with the same taps side by side, in tiles.

A tile of output rows multiplies only the taps that one of its rows has. In the map's own order
nearly every tile has every tap; sorted by the set of their taps (as in the library spconv; Tang et
al., TorchSparse++, MICRO 2023), rows share tiles with their like.

A plan is one int32 tensor, so that it passes through operators: ``order``, then ``table``,
``tile_taps`` and ``tap_tiles`` as in :class:`PlanParts`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

TILE = 128  # output rows
WORD = 31  # taps in one sorting key


class PlanParts(NamedTuple):
    """Views of a plan of K taps and T tiles."""

    order: Tensor  # (T * TILE,) output row of each place, -1 beyond the last
    table: Tensor  # (K, T * TILE) the kernel map in this order
    tile_taps: Tensor  # (T, 1 + K) number of the tile's taps, then the taps
    tap_tiles: Tensor  # (K, 1 + T) number of the tap's tiles, then the tiles


def parts(plan: Tensor, volume: int, num_out: int) -> PlanParts:
    """The four parts of a plan for a kernel map of ``volume`` taps and ``num_out`` rows."""
    tiles = -(-num_out // TILE)
    rows = tiles * TILE
    sizes = [rows, volume * rows, tiles * (1 + volume), volume * (1 + tiles)]
    order, table, tile_taps, tap_tiles = plan.split(sizes)
    return PlanParts(
        order,
        table.view(volume, rows),
        tile_taps.view(tiles, 1 + volume),
        tap_tiles.view(volume, 1 + tiles),
    )


def sparse_plan(neighbors: Tensor, num_in: int) -> Tensor:
    """The plan of a kernel map (K, N_out) of ``num_in`` input rows, for any K; waits for nothing.

    Entries outside the input count as absent. Tiles with the most taps come first, as a GPU starts
    them in this order and the last to finish should be short.
    """
    volume, num_out = neighbors.shape
    tiles = -(-num_out // TILE)
    present = (neighbors >= 0) & (neighbors < num_in)
    order = _sorted_rows(present)
    padding = (0, tiles * TILE - num_out)
    in_tiles = torch.nn.functional.pad(present[:, order], padding).view(volume, tiles, TILE).any(2)
    heaviest = in_tiles.sum(0).argsort(descending=True, stable=True)
    in_tiles = in_tiles[:, heaviest]
    order = torch.nn.functional.pad(order, padding, value=-1).view(tiles, TILE)[heaviest].flatten()
    table = torch.where(order >= 0, neighbors[:, order.clamp(min=0)], -1) if num_out else neighbors
    pieces = (order.int(), table, _lists(in_tiles.T), _lists(in_tiles))
    return torch.cat([piece.flatten() for piece in pieces])


def _sorted_rows(present: Tensor) -> Tensor:
    """(N,) int64 rows, sorted by their sets of taps; rows with equal sets keep their order."""
    order = torch.arange(present.shape[1], device=present.device)
    for first in range(0, len(present), WORD):  # radix sort by words of taps
        taps = present[first : first + WORD]
        shifts = torch.arange(len(taps), dtype=torch.int32, device=present.device)
        word = (taps.int() << shifts[:, None]).sum(0, dtype=torch.int32)
        order = order[word[order].argsort(stable=True)]
    return order


def _lists(member: Tensor) -> Tensor:
    """Each row of a (R, C) mask as the number of its members, then their columns in order."""
    columns = (~member).to(torch.uint8).argsort(dim=1, stable=True)
    return torch.cat((member.sum(1, keepdim=True), columns), 1).int()
