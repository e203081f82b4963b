"""Convolution layers: rows, strides, shared maps, empty and single inputs, gradients, errors."""

import pytest
import torch
from torch import nn

from pcpt.sparse import BatchNorm, Conv3d, ConvTranspose3d, SparseTensor


class Hourglass(nn.Module):
    """Two strides down and up again, with every kind of layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Conv3d(channels, 7, 5),
            BatchNorm(7),
            Conv3d(7, 7, 2, stride=2),
            Conv3d(7, 9, 3, dilation=2),
            Conv3d(9, 9, 2, stride=2),
            Conv3d(9, 9, 3),
            ConvTranspose3d(9, 5, 2),
            ConvTranspose3d(5, 5, 2),
            Conv3d(5, 3, 1, bias=True),
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.layers(x)


def test_rows_and_strides(engine, voxels) -> None:
    coordinates = voxels(100)
    x = SparseTensor(torch.randn(100, 3), coordinates)
    same = Conv3d(3, 4, 3)(x)
    assert same.coordinates is coordinates and same.stride == 1 and same.maps is x.maps
    down = Conv3d(4, 5, 2, stride=2)(same)
    expected = torch.unique(torch.cat([coordinates[:, :1], coordinates[:, 1:] // 2 * 2], 1), dim=0)
    assert down.stride == 2 and torch.equal(down.coordinates, expected)
    assert down.coordinates[:, 1:].min() == -4, "floor, not truncation, of negative coordinates"
    up = ConvTranspose3d(5, 6, 2)(down)
    assert up.stride == 1 and up.coordinates is coordinates and up.features.shape == (100, 6)
    assert Conv3d(5, 5, 3, stride=4)(down).stride == 8


def test_maps_are_made_once_and_shared(voxels) -> None:
    x = SparseTensor(torch.randn(60, 3), voxels(60))
    y = Conv3d(3, 3, 3)(x)
    Conv3d(3, 3, 3)(y)
    assert list(x.maps._maps) == [(1, 1, 3, 1)]
    ConvTranspose3d(3, 3, 2)(Conv3d(3, 3, 2, stride=2)(y))
    Conv3d(3, 3, 1)(x)  # pointwise: needs none
    assert list(x.maps._maps) == [(1, 1, 3, 1), (1, 2, 2, 1)]


def test_order_of_rows_does_not_matter(engine, voxels) -> None:
    torch.manual_seed(0)
    network = Hourglass(3).double()
    coordinates, features = voxels(90), torch.randn(90, 3).double()
    order = torch.randperm(90)
    out = network(SparseTensor(features, coordinates)).features
    shuffled = network(SparseTensor(features[order], coordinates[order])).features
    assert torch.allclose(shuffled, out[order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_nearly_nothing(engine, count: int, voxels) -> None:
    network = Hourglass(3)
    features = torch.randn(count, 3, requires_grad=True)
    out = network(SparseTensor(features, voxels(count)))
    assert out.features.shape == (count, 3)
    out.features.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    assert features.grad.shape == (count, 3)


def test_single_voxel_meets_only_the_centre(engine) -> None:
    layer = Conv3d(2, 3, 3)
    x = SparseTensor(torch.randn(1, 2), torch.tensor([[4, -7, 0, 9]]).int())
    assert torch.allclose(layer(x).features, x.features @ layer.weight[13])


def test_batches_do_not_meet(engine) -> None:
    layer = Conv3d(1, 1, 3)
    coordinates = torch.tensor([[0, 0, 0, 0], [1, 0, 0, 1]]).int()
    out = layer(SparseTensor(torch.ones(2, 1), coordinates)).features
    assert torch.equal(out, layer.weight[13].expand(2, 1))


@pytest.mark.parametrize("make", [Conv3d, ConvTranspose3d])
def test_gradcheck(engine, make, voxels) -> None:
    fine = SparseTensor(torch.randn(12, 2).double(), voxels(12, extent=3))
    layer = make(2, 3, 3, stride=2, bias=True).double()
    x = fine if make is Conv3d else Conv3d(2, 2, 2, stride=2).double()(fine)

    def run(features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        parameters = {"weight": weight, "bias": bias}
        return torch.func.functional_call(layer, parameters, (x.replace(features),)).features

    inputs = (x.features.detach().requires_grad_(), layer.weight, layer.bias)
    assert torch.autograd.gradcheck(run, inputs)


def test_parameters() -> None:
    layer = Conv3d(4, 6, 3, bias=True)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    assert shapes == {"weight": (27, 4, 6), "bias": (6,)}
    assert layer.weight.abs().max() <= (27 * 4) ** -0.5
    assert "kernel_size=3" in repr(layer)


def test_errors(voxels) -> None:
    x = SparseTensor(torch.randn(20, 3), voxels(20))
    with pytest.raises(ValueError, match="expects 4 channels, got 3"):
        Conv3d(4, 4, 3)(x)
    with pytest.raises(ValueError, match="not a multiple"):
        ConvTranspose3d(3, 3, 2)(x)
    with pytest.raises(ValueError, match="returns only to a stride it came from"):
        ConvTranspose3d(3, 3, 2)(SparseTensor(torch.randn(20, 3), voxels(20, stride=2), stride=2))
    with pytest.raises(ValueError, match="kernel_size must be >= 1"):
        Conv3d(3, 3, 0)
    repeated = torch.tensor([[0, 1, 1, 1], [0, 1, 1, 1]]).int()
    with pytest.raises(ValueError, match="unique"):
        Conv3d(3, 3, 3)(SparseTensor(torch.randn(2, 3), repeated))
