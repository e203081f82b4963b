"""The plan of a kernel map: a reordering that loses nothing, with tiles of few taps."""

import pytest
import torch
from torch import Tensor

from pcpt.ops._sparse_plan import TILE, parts, sparse_plan
from pcpt.ops.kernel_map import kernel_map, kernel_offsets


def random_table(volume: int, num_in: int, num_out: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(-num_in - 5, num_in + 5, (volume, num_out), generator=generator)
    return table.int()


@pytest.mark.parametrize("num_out", [0, 1, 7, 33, 127, 128, 129, 1023])
@pytest.mark.parametrize("volume", [1, 8, 27, 31, 32, 125])
def test_parts_describe_the_map(volume: int, num_out: int, device: torch.device) -> None:
    table = random_table(volume, 50, num_out).to(device)
    plan = sparse_plan(table, 50)
    assert plan.dtype == torch.int32 and plan.ndim == 1
    order, sorted_table, tile_taps, tap_tiles = parts(plan, volume, num_out)
    tiles = -(-num_out // TILE)
    assert sorted_table.shape == (volume, tiles * TILE)
    assert torch.equal(order[order >= 0].sort().values.cpu(), torch.arange(num_out).int())
    rows = order.clamp(min=0).long()
    expected = torch.where(order >= 0, table[:, rows], -1) if num_out else table
    assert torch.equal(sorted_table, expected.int())
    present = ((sorted_table >= 0) & (sorted_table < 50)).view(volume, tiles, TILE).any(2)
    for tile in range(tiles):
        count = int(tile_taps[tile, 0])
        assert tile_taps[tile, 1 : 1 + count].tolist() == present[:, tile].nonzero()[:, 0].tolist()
    for tap in range(volume):
        count = int(tap_tiles[tap, 0])
        assert tap_tiles[tap, 1 : 1 + count].tolist() == present[tap].nonzero()[:, 0].tolist()


@pytest.mark.parametrize("size", [2, 3, 5])
def test_sorting_saves_products(size: int) -> None:
    """Of a curved surface: taps of the tiles, against those of rows as they come."""
    cells = torch.cartesian_prod(torch.arange(120), torch.arange(120)).int()
    height = (8 * torch.sin(cells[:, 0] / 9.0) * torch.cos(cells[:, 1] / 7.0)).int()
    voxels = torch.stack([torch.zeros_like(height), cells[:, 0], cells[:, 1], height], 1)
    neighbors = kernel_map(voxels, voxels, kernel_offsets(size))
    _, _, tile_taps, _ = parts(sparse_plan(neighbors, len(voxels)), size**3, len(voxels))
    unsorted = torch.nn.functional.pad(neighbors >= 0, (0, len(tile_taps) * TILE - len(voxels)))
    as_they_come = unsorted.view(size**3, -1, TILE).any(2).sum()
    assert tile_taps[:, 0].sum() < (0.9 if size == 5 else 0.75) * as_they_come
    assert tile_taps[:, 0].diff().max() <= 0, "the heaviest tiles come first"
