"""kernel_map: a table worked by hand, kernel against reference, the edges of the grid, errors."""

import importlib
import re

import pytest
import torch
from torch import Tensor

from pcpt.ops import kernel_map
from pcpt.ops._library import COMPILED
from pcpt.ops.kernel_map import (
    coarsen_voxels,
    invert_kernel_map,
    kernel_offsets,
    pack_coordinates,
    search,
    stride_map,
    unpack_coordinates,
    voxel_table,
)

module = importlib.import_module("pcpt.ops.kernel_map")
needs_kernel = pytest.mark.skipif(not COMPILED, reason="csrc is not built")


def random_voxels(count: int, extent: int = 8, seed: int = 0) -> Tensor:
    """Unique voxels of two batches around the origin, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(2 * extent**3, generator=generator)[:count]
    axes = [cells // extent**2 % extent, cells // extent % extent, cells % extent]
    voxels = torch.stack([cells // extent**3, *axes], dim=1).int()
    voxels[:, 1:] -= extent // 2
    return voxels


def test_offsets_are_lexicographic() -> None:
    assert kernel_offsets(1).tolist() == [[0, 0, 0]]
    assert kernel_offsets(2)[:5].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert kernel_offsets(3, 2)[[0, 1, 3, 9, 13, 26]].tolist() == [
        [-2, -2, -2], [-2, -2, 0], [-2, 0, -2], [0, -2, -2], [0, 0, 0], [2, 2, 2]
    ]  # fmt: skip


def test_by_hand(device: torch.device) -> None:
    voxels = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 1]]).int().to(device)
    neighbors = kernel_map(voxels, voxels, kernel_offsets(3))
    expected = torch.full((27, 4), -1)
    expected[13] = torch.arange(4)  # the centre
    expected[14, 0], expected[12, 1] = 1, 0  # +-z between voxels 0 and 1
    expected[22, 0], expected[4, 2] = 2, 0  # +-x between voxels 0 and 2
    expected[21, 1], expected[5, 2] = 2, 1  # (1, 0, -1) from voxel 1 to 2; voxel 3 is another batch
    assert neighbors.dtype == torch.int32
    assert neighbors.tolist() == expected.tolist()


def test_strided_by_hand(device: torch.device) -> None:
    fine = torch.tensor([[0, -1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]]).int().to(device)
    coarse = torch.tensor([[0, -2, 0, 0], [0, 0, 0, 0]]).int().to(device)
    neighbors = kernel_map(fine, coarse, kernel_offsets(2))
    assert neighbors.T.tolist() == [[-1, -1, -1, -1, 0, -1, -1, -1], [1, -1, -1, -1, -1, -1, -1, 2]]
    assert invert_kernel_map(neighbors, 3).T.tolist() == [
        [-1, -1, -1, -1, 0, -1, -1, -1],
        [1, -1, -1, -1, -1, -1, -1, -1],
        [-1, -1, -1, -1, -1, -1, -1, 1],
    ]


@needs_kernel
@pytest.mark.parametrize("size,spacing", [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (5, 1), (4, 3)])
@pytest.mark.parametrize("num_in,num_out", [(0, 0), (1, 1), (0, 5), (5, 0), (300, 300), (300, 90)])
def test_kernel_equals_reference(size: int, spacing: int, num_in: int, num_out: int) -> None:
    voxels = random_voxels(num_in)
    offsets = kernel_offsets(size, spacing)
    for out in (voxels, voxels.clone(), random_voxels(num_out, seed=1)):
        # The second is not recognised as the input, so it takes the path of unequal voxels.
        expected, duplicate = module._reference(voxels, out, offsets)
        assert torch.equal(kernel_map(voxels, out, offsets), expected)
        assert int(duplicate) == -1


@pytest.mark.parametrize("count", [0, 1, 7, 33, 1023])
@pytest.mark.parametrize("seed", range(10))
def test_random_cases(count: int, seed: int, device: torch.device) -> None:
    """200 maps: one table, searched by four kernels, against the reference."""
    voxels = random_voxels(count, extent=4 + 2 * seed if count < 128 else 8 + seed, seed=seed)
    other = random_voxels(count // 2, extent=8, seed=seed + 100)
    table = voxel_table(voxels.to(device))
    for size, spacing, out in ((3, 1, voxels), (5, 1, voxels), (3, 2, other), (2, 1 + seed, other)):
        offsets = kernel_offsets(size, spacing)
        got = search(table, count, out.to(device), offsets, mirrored=out is voxels)
        expected, _ = module._reference(voxels, out, offsets)
        assert torch.equal(got.cpu(), expected)


@pytest.mark.parametrize("count", [0, 1, 7, 33, 1023])
@pytest.mark.parametrize("stride,ratio", [(1, 2), (2, 2), (1, 4), (4, 2), (3, 2), (1, 6)])
def test_stride_maps_are_what_a_search_finds(
    count: int, stride: int, ratio: int, device: torch.device
) -> None:
    for seed in range(4):
        voxels = random_voxels(count, extent=8 + seed, seed=seed)
        voxels[:, 1:] *= stride
        coarse, parent = coarsen_voxels(voxels.to(device), stride * ratio)
        cells = torch.cat([voxels[:, :1], voxels[:, 1:] // (stride * ratio) * stride * ratio], 1)
        expected = torch.unique(cells, dim=0) if count else cells
        assert torch.equal(coarse.cpu(), expected) and parent.dtype == torch.int32
        assert torch.equal(coarse.cpu()[parent.cpu().long()], cells)
        down, up = stride_map(voxels.to(device), parent, stride, ratio, len(coarse))
        searched, _ = module._reference(voxels, expected, kernel_offsets(ratio, stride))
        assert torch.equal(down.cpu(), searched)
        assert torch.equal(up.cpu(), invert_kernel_map(searched, count))


def test_inverse_names_the_same_pairs() -> None:
    voxels = random_voxels(200)
    for size in (2, 3):
        neighbors = kernel_map(voxels, voxels, kernel_offsets(size))
        inverse = invert_kernel_map(neighbors, 200)
        tap, row = (neighbors >= 0).nonzero().T
        assert torch.equal(inverse[tap, neighbors[tap, row].long()].long(), row)
        assert (inverse >= 0).sum() == len(row)
    assert torch.equal(inverse, neighbors.flip(0)), "centred taps come in opposite pairs"


def test_edges_of_the_grid_do_not_wrap(device: torch.device) -> None:
    end = 2**15
    corners = torch.cartesian_prod(*[torch.tensor([-end, end - 1])] * 3).int()
    batch = torch.tensor([0, end - 1]).int().repeat_interleave(8)[:, None]
    voxels = torch.cat([batch, corners.repeat(2, 1)], 1).to(device)
    assert torch.equal(unpack_coordinates(pack_coordinates(voxels)), voxels)
    offsets = torch.cat([kernel_offsets(3), kernel_offsets(3, 2**16), kernel_offsets(3, 2**16 - 1)])
    neighbors = kernel_map(voxels, voxels, offsets)
    met = (neighbors >= 0).sum(1)
    assert met[[13, 40]].tolist() == [16, 16]  # the two centres
    assert met[:54].sum() == 32, "a neighbour was found across the edge"
    assert met[54:].sum() == 16 * 8, "2^16 - 1 apart are the corners themselves"


@pytest.mark.parametrize("path", [pytest.param("kernel", marks=needs_kernel), "reference"])
@pytest.mark.parametrize(
    "row,message",
    [
        ([0, 2**15, 0, 0], "-32768..32767"),
        ([0, 0, -(2**15) - 1, 0], "larger voxels"),
        ([-1, 0, 0, 0], "batch index"),
        ([2**15, 0, 0, 0], "batch index"),
        ([0, 1, 2, 3], r"unique.*\[0, 1, 2, 3\].*voxelize"),
    ],
)
def test_bad_coordinates(
    row: list[int], message: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "reference":
        monkeypatch.setattr(module, "has_kernel", lambda *_: False)
    voxels = torch.tensor([[0, 5, 5, 5], [0, 1, 2, 3], [0, 4, 4, 4], row]).int()
    with pytest.raises(ValueError, match=message):
        kernel_map(voxels, voxels, kernel_offsets(3))


@pytest.mark.parametrize("path", [pytest.param("kernel", marks=needs_kernel), "reference"])
def test_the_first_repeated_row_is_named(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if path == "reference":
        monkeypatch.setattr(module, "has_kernel", lambda *_: False)
    voxels = random_voxels(4000, extent=16)
    voxels[3900], voxels[3000], voxels[3001] = voxels[5], voxels[3999], voxels[5]
    with pytest.raises(ValueError, match=re.escape(str(voxels[3001].tolist()))):
        voxel_table(voxels)  # row 3001 repeats row 5; 3999 repeats 3000, 3900 repeats 5


@pytest.mark.parametrize(
    "num_in,num_out,volume", [(2**27, 4, 27), (4, 2**27, 27), (2**31, 1, 1), (2**25, 1, 64)]
)
def test_too_many_entries(num_in: int, num_out: int, volume: int) -> None:
    """Refused before anything is read or allocated: meta tensors have no data."""
    fine, coarse = (torch.empty(n, 4, dtype=torch.int32, device="meta") for n in (num_in, num_out))
    offsets = torch.empty(volume, 3, dtype=torch.int32, device="meta")
    with pytest.raises(ValueError, match=r"limit is 2\^31 - 1"):
        kernel_map(fine, coarse, offsets)


def test_cells_beyond_the_grid(path: str) -> None:
    voxels = torch.tensor([[0, -(2**15), 0, 0]]).int()
    assert coarsen_voxels(voxels, 64)[0].tolist() == voxels.tolist()
    with pytest.raises(ValueError, match="cell of stride 6 begins beyond -32768"):
        coarsen_voxels(voxels, 6)


def test_bad_types() -> None:
    voxels = random_voxels(4)
    with pytest.raises(ValueError, match="int64"):
        kernel_map(voxels.long(), voxels, kernel_offsets(3))
    with pytest.raises(ValueError, match=r"\(N, 4\).*\(4, 3\)"):
        kernel_map(voxels[:, :3], voxels, kernel_offsets(3))
    with pytest.raises(ValueError, match="offsets"):
        kernel_map(voxels, voxels, kernel_offsets(3).long())
    with pytest.raises(ValueError, match="kernel_size"):
        kernel_offsets(0)


@needs_kernel
def test_result_does_not_depend_on_threads() -> None:
    voxels = random_voxels(30000, extent=32)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            coarse, parent = coarsen_voxels(voxels, 2)
            maps = (kernel_map(voxels, voxels, kernel_offsets(size)) for size in (2, 3))
            results.append([*maps, coarse, parent, *stride_map(voxels, parent, 1, 2, len(coarse))])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


@needs_kernel
def test_opcheck() -> None:
    voxels, other, ops = random_voxels(50), random_voxels(20, seed=1), torch.ops.pcpt
    table = voxel_table(voxels)
    _, parent = coarsen_voxels(voxels, 2)
    # Where threads race, equal tables may differ in their layout, not in what they answer.
    if module.has_kernel("voxel_table", voxels):
        checks = ("test_schema", "test_faketensor")
        torch.library.opcheck(ops.voxel_table.default, (voxels,), test_utils=checks)
    for op, arguments in (
        (ops.kernel_map, (table, 50, other, kernel_offsets(2), False)),
        (ops.coarsen_voxels, (voxels, 2)),
        (ops.stride_map, (voxels, parent, 1, 2, 50)),
    ):
        if module.has_kernel(op.default.name().removeprefix("pcpt::"), voxels):
            torch.library.opcheck(op.default, arguments)
