"""Sparse layers against dense convolutions of the same grids in float64, forward and backward.

The dense ground truth is proved first: with one voxel lit and tap k weighing k + 1, the output must
show each tap's number where that tap's offset says.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.ops.kernel_map import kernel_offsets
from pcpt.sparse import Conv3d, ConvTranspose3d, KernelMaps, SparseTensor

HALF = 8  # dense grids reach from -8 to 7, so that even coordinates have even indices


def to_grid(features: Tensor, coordinates: Tensor, stride: int = 1) -> Tensor:
    """(N, C) at voxels of a stride -> (2, C, X, Y, Z)."""
    batch, x, y, z = (coordinates.long() + torch.tensor([0, HALF, HALF, HALF])).T
    size = 2 * HALF // stride
    grid = features.new_zeros(2, size, size, size, features.shape[1])
    grid = grid.index_put((batch, x // stride, y // stride, z // stride), features)
    return grid.permute(0, 4, 1, 2, 3)


def from_grid(grid: Tensor, coordinates: Tensor, stride: int = 1) -> Tensor:
    batch, x, y, z = (coordinates.long() + torch.tensor([0, HALF, HALF, HALF])).T
    return grid.permute(0, 2, 3, 4, 1)[batch, x // stride, y // stride, z // stride]


def dense_conv(grid: Tensor, weight: Tensor, size: int, stride: int, dilation: int) -> Tensor:
    kernel = weight.reshape(size, size, size, *weight.shape[1:]).permute(4, 3, 0, 1, 2)
    before = dilation * (size // 2) if size % 2 else 0
    after = dilation * (size - 1) - before
    return F.conv3d(F.pad(grid, (before, after) * 3), kernel, stride=stride, dilation=dilation)


def dense_transpose(grid: Tensor, weight: Tensor, size: int, stride: int) -> Tensor:
    kernel = weight.reshape(size, size, size, *weight.shape[1:]).permute(3, 4, 0, 1, 2)
    padding = size // 2 if size % 2 else 0
    rest = stride + 2 * padding - size
    return F.conv_transpose3d(grid, kernel, stride=stride, padding=padding, output_padding=rest)


def numbered_taps(size: int) -> Tensor:
    return torch.arange(1.0, size**3 + 1).double().reshape(-1, 1, 1)


@pytest.mark.parametrize("size,dilation", [(1, 1), (2, 1), (3, 1), (3, 2), (5, 1), (4, 1)])
def test_ground_truth_of_convolution(size: int, dilation: int) -> None:
    lit = torch.tensor([[1, 1, -2, 3]]).int()
    grid = dense_conv(
        to_grid(torch.ones(1, 1).double(), lit), numbered_taps(size), size, 1, dilation
    )
    seen_from = lit - F.pad(kernel_offsets(size, dilation), (1, 0))  # u + d = lit
    assert from_grid(grid, seen_from).flatten().tolist() == list(range(1, size**3 + 1))
    assert grid.count_nonzero() == size**3


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ground_truth_of_strided_convolution(size: int) -> None:
    shown = []
    for cell in torch.cartesian_prod(*[torch.tensor([-2, -1, 0, 1, 2, 3])] * 3).int():
        lit = F.pad(cell, (1, 0))[None]
        grid = dense_conv(to_grid(torch.ones(1, 1).double(), lit), numbered_taps(size), size, 2, 1)
        for tap, offset in enumerate(kernel_offsets(size)):
            out = lit - F.pad(offset, (1, 0))
            if bool((out[:, 1:] % 2 == 0).all()):
                assert from_grid(grid, out, 2).item() == tap + 1
                shown.append(tap)
    assert set(shown) == set(range(size**3))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ground_truth_of_transposed_convolution(size: int) -> None:
    lit = torch.tensor([[1, 2, -4, 6]]).int()
    grid = dense_transpose(to_grid(torch.ones(1, 1).double(), lit, 2), numbered_taps(size), size, 2)
    reached = lit + F.pad(kernel_offsets(size), (1, 0))
    assert grid.shape[2:] == (2 * HALF,) * 3
    assert from_grid(grid, reached).flatten().tolist() == list(range(1, size**3 + 1))
    assert grid.count_nonzero() == size**3


def assert_equal(layer: nn.Module, x: SparseTensor, dense: Callable[[Tensor, Tensor], Tensor]):
    """Outputs and all gradients of a layer equal those of ``dense(features, weight)``."""
    results = []
    grad = None
    for compute in (
        lambda features: layer(x.replace(features)).features,
        lambda features: dense(features, layer.weight) + layer.bias,
    ):
        features = x.features.clone().requires_grad_()
        layer.zero_grad()
        out = compute(features)
        grad = torch.randn_like(out) if grad is None else grad
        out.backward(grad)
        results.append([out, features.grad, layer.weight.grad.clone(), layer.bias.grad.clone()])
    for sparse, expected in zip(*[[value.detach() for value in values] for values in results]):
        assert (sparse - expected).abs().max() <= 1e-12 * max(1, float(expected.abs().max()))


CHANNELS = [(1, 3), (7, 13), (33, 7), (3, 96)]


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(
    "size,dilation", [(1, 1), (2, 1), (3, 1), (3, 2), (3, 4), (5, 1), (5, 2), (4, 1)]
)
def test_submanifold(engine, voxels, size: int, dilation: int, channels: tuple[int, int]) -> None:
    layer = Conv3d(*channels, size, dilation=dilation, bias=True).double()
    coordinates = voxels(150)
    x = SparseTensor(torch.randn(150, channels[0]).double(), coordinates)
    assert_equal(
        layer,
        x,
        lambda features, weight: from_grid(
            dense_conv(to_grid(features, coordinates), weight, size, 1, dilation), coordinates
        ),
    )


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_strided_and_transposed(engine, voxels, size: int, channels: tuple[int, int]) -> None:
    fine = voxels(150)
    maps = KernelMaps(fine)
    coarse = maps.coordinates(2)
    down = Conv3d(*channels, size, stride=2, bias=True).double()
    assert_equal(
        down,
        SparseTensor(torch.randn(150, channels[0]).double(), fine, 1, maps),
        lambda features, weight: from_grid(
            dense_conv(to_grid(features, fine), weight, size, 2, 1), coarse, 2
        ),
    )
    up = ConvTranspose3d(*channels, size, bias=True).double()
    assert_equal(
        up,
        SparseTensor(torch.randn(len(coarse), channels[0]).double(), coarse, 2, maps),
        lambda features, weight: from_grid(
            dense_transpose(to_grid(features, coarse, 2), weight, size, 2), fine
        ),
    )


def test_on_a_coarser_tensor(engine, voxels) -> None:
    coordinates = voxels(120, stride=2)
    layer = Conv3d(7, 5, 3, bias=True).double()
    assert_equal(
        layer,
        SparseTensor(torch.randn(120, 7).double(), coordinates, stride=2),
        lambda features, weight: from_grid(
            dense_conv(to_grid(features, coordinates, 2), weight, 3, 1, 1), coordinates, 2
        ),
    )


def test_float32_is_close_to_float64(engine, voxels) -> None:
    layer = Conv3d(96, 33, 3)
    x = SparseTensor(torch.randn(400, 96), voxels(400))
    wide = layer(x).features
    expected = layer.double()(x.replace(x.features.double())).features
    assert (wide - expected).abs().max() < 2e-6 * expected.abs().max()
