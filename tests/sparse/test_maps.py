"""KernelMaps: one hash a level, strided maps without a search, both sides of a map."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from pcpt.ops.kernel_map import invert_kernel_map, kernel_map, kernel_offsets
from pcpt.sparse import (
    Conv3d,
    ConvTranspose3d,
    KernelMaps,
    SparseTensor,
    global_avg_pool,
    max_pool,
    sum_pool,
)

module = importlib.import_module("pcpt.sparse.maps")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the functions that maps were made by, in order."""
    names: list[str] = []

    def recorded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **options: Any) -> Any:
            names.append(name)
            return function(*args, **options)

        return record

    for name in ("voxel_table", "search", "coarsen_voxels", "stride_map", "invert_kernel_map"):
        monkeypatch.setattr(module, name, recorded(name, getattr(module, name)))
    return names


def test_a_level_is_hashed_once(engine, voxels, calls: list[str]) -> None:
    maps = KernelMaps(voxels(200))
    maps.get(1, 1, 3)
    maps.get(1, 1, 5)
    maps.get(1, 1, 3, dilation=2)
    maps.get(1, 2, 3)
    assert calls == ["voxel_table", "search", "search", "search", "coarsen_voxels", "search"]


def test_strided_maps_are_not_searched(engine, voxels, calls: list[str]) -> None:
    maps = KernelMaps(voxels(200))
    down = maps.get(1, 2, 2)
    up = down.swapped()
    assert calls == ["voxel_table", "coarsen_voxels", "stride_map"]  # the hash reports repeats
    assert up.neighbors is down.inverse and up.inverse is down.neighbors
    expected = kernel_map(maps.coordinates(1), maps.coordinates(2), kernel_offsets(2))
    assert torch.equal(down.neighbors, expected)
    assert torch.equal(down.inverse, invert_kernel_map(expected, 200))


def test_inverses_are_made_when_a_gradient_needs_them(voxels, calls: list[str]) -> None:
    x = SparseTensor(torch.randn(100, 4), voxels(100))
    layer = Conv3d(4, 4, 3, stride=2)
    with torch.no_grad():
        layer(x)
    assert "invert_kernel_map" not in calls
    layer(x).features.sum().backward()
    layer(x)
    assert calls.count("invert_kernel_map") == 1
    assert calls.count("search") == 1


@pytest.mark.parametrize("inside", [False, True])
def test_maps_made_in_inference_mode_serve_training(engine, voxels, inside: bool) -> None:
    """A validation pass, then a step on the same tensor."""
    with torch.inference_mode(inside):
        coordinates = voxels(100)
    x = SparseTensor(torch.randn(100, 4), coordinates)
    down, up, strided, back = (
        Conv3d(4, 4, 2, stride=2),
        ConvTranspose3d(4, 4, 2),
        Conv3d(4, 4, 3, stride=2),
        ConvTranspose3d(4, 4, 3),
    )

    def total() -> torch.Tensor:
        outputs = (up(down(x)), back(strided(x)), Conv3d(4, 4, 3)(x), sum_pool(x), max_pool(x))
        return sum(out.features.sum() for out in outputs) + global_avg_pool(down(x), 2).sum()

    with torch.inference_mode():
        total()
    total().backward()
    assert all(layer.weight.grad is not None for layer in (down, up, strided, back))


def test_plans_made_in_inference_mode_serve_training(voxels, monkeypatch) -> None:
    monkeypatch.setattr(module, "needs_plan", lambda _: True)
    with torch.inference_mode():
        kernel_map = KernelMaps(voxels(100)).get(1, 2, 3)
        kept = (kernel_map.neighbors, kernel_map.inverse, kernel_map.plan, kernel_map.inverse_plan)
    assert not any(tensor.is_inference() for tensor in kept)


@pytest.mark.parametrize("size,dilation", [(3, 1), (5, 1), (3, 2)])
def test_inverse_of_a_centred_map(engine, voxels, size: int, dilation: int) -> None:
    centred = KernelMaps(voxels(150)).get(1, 1, size, dilation)
    assert torch.equal(centred.inverse, invert_kernel_map(centred.neighbors, 150))


def test_repeated_voxels_are_reported_by_strided_layers_too(engine) -> None:
    repeated = torch.tensor([[0, 1, 1, 1], [0, 2, 2, 2], [0, 1, 1, 1]]).int()
    x = SparseTensor(torch.randn(3, 2), repeated)
    for layer in (Conv3d(2, 2, 2, stride=2), sum_pool):
        with pytest.raises(ValueError, match=r"unique.*\[0, 1, 1, 1\]"):
            layer(x)
