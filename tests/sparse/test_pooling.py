"""Pooling: cells worked by hand, gradients, empty inputs."""

import pytest
import torch

from pcpt.sparse import SparseTensor, avg_pool, global_avg_pool, max_pool, sum_pool

POOLS = [sum_pool, avg_pool, max_pool]


def three_voxels() -> SparseTensor:
    """Two voxels of one cell, one of another batch."""
    coordinates = torch.tensor([[1, 0, 0, 0], [0, -1, -1, -1], [0, -2, -2, -1]]).int()
    return SparseTensor(torch.tensor([[5.0, 1.0], [1.0, -4.0], [3.0, -2.0]]), coordinates)


@pytest.mark.parametrize("pool,row", zip(POOLS, [[4.0, -6.0], [2.0, -3.0], [3.0, -2.0]]))
def test_by_hand(engine, pool, row) -> None:
    out = pool(three_voxels())
    assert out.stride == 2
    assert out.coordinates.tolist() == [[0, -2, -2, -2], [1, 0, 0, 0]]
    assert out.features.tolist() == [row, [5.0, 1.0]]


@pytest.mark.parametrize("pool", POOLS)
def test_gradcheck(engine, pool, voxels) -> None:
    x = SparseTensor(torch.randn(25, 3).double(), voxels(25, extent=4))
    features = x.features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: pool(x.replace(f)).features, (features,))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("count", [0, 1])
def test_nearly_nothing(engine, pool, count: int, voxels) -> None:
    x = SparseTensor(torch.randn(count, 3), voxels(count))
    assert torch.equal(pool(x).features, x.features)


def test_pool_twice(engine, voxels) -> None:
    x = SparseTensor(torch.ones(60, 1), voxels(60))
    out = sum_pool(sum_pool(x))
    assert out.stride == 4 and out.features.sum() == 60


def test_global_average() -> None:
    x = three_voxels()
    assert global_avg_pool(x).tolist() == [[2.0, -3.0], [5.0, 1.0]]
    assert global_avg_pool(x, num_batches=3)[2].tolist() == [0.0, 0.0]
    assert global_avg_pool(SparseTensor(torch.zeros(0, 2), torch.zeros(0, 4).int())).shape == (0, 2)
