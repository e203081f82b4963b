"""SparseTensor and KernelMaps: what they hold, and what they refuse."""

import pytest
import torch

from pcpt.sparse import KernelMaps, SparseTensor


def test_family(voxels) -> None:
    coordinates = voxels(30)
    x = SparseTensor(torch.randn(30, 4), coordinates)
    y = x.replace(torch.randn(30, 9))
    assert y.coordinates is coordinates and y.maps is x.maps and y.stride == 1
    coarse = x.at_stride(torch.randn(len(x.maps.coordinates(4)), 2), 4)
    assert coarse.maps is x.maps and coarse.coordinates is x.maps.coordinates(4)
    assert repr(y) == "SparseTensor(30 voxels, 9 channels, stride 1, torch.float32, cpu)"


def test_strides_agree_whichever_way_they_are_reached(voxels) -> None:
    coordinates = voxels(80)
    direct, stepwise = KernelMaps(coordinates), KernelMaps(coordinates)
    stepwise.coordinates(2)
    assert torch.equal(direct.coordinates(4), stepwise.coordinates(4))


def test_floor_of_negative_coordinates() -> None:
    line = torch.tensor([[0, x, 0, 0] for x in (-3, -2, -1, 0, 1, 2)]).int()
    assert KernelMaps(line).coordinates(2)[:, 1].tolist() == [-4, -2, 0, 2]


@pytest.mark.parametrize(
    "features,coordinates,stride,message",
    [
        (torch.zeros(3), torch.zeros(3, 4).int(), 1, r"features must be \(N, C\)"),
        (torch.zeros(2, 1), torch.zeros(3, 4).int(), 1, "for 3 coordinates"),
        (torch.zeros(3, 1), torch.zeros(3, 4), 1, r"int32, got torch.float32; use .*\.int\(\)"),
        (torch.zeros(3, 1), torch.zeros(3, 3).int(), 1, r"\(N, 4\) \[batch, x, y, z\]"),
        (torch.zeros(1, 1), torch.tensor([[0, 1, 2, 40000]]).int(), 1, "40000"),
        (torch.zeros(1, 1), torch.tensor([[-1, 1, 2, 3]]).int(), 1, "batch index"),
        (torch.zeros(1, 1), torch.tensor([[0, 2, 4, 3]]).int(), 2, "multiples"),
        (torch.zeros(1, 1), torch.zeros(1, 4).int(), 0, "stride must be >= 1"),
    ],
)
def test_errors(features, coordinates, stride, message) -> None:
    with pytest.raises(ValueError, match=message):
        SparseTensor(features, coordinates, stride)


def test_foreign_maps_are_refused(voxels) -> None:
    x = SparseTensor(torch.zeros(5, 1), voxels(5))
    with pytest.raises(ValueError, match="other coordinates"):
        SparseTensor(torch.zeros(5, 1), voxels(5, seed=1), maps=x.maps)
    with pytest.raises(ValueError, match="features must be"):
        x.replace(torch.zeros(4, 1))
