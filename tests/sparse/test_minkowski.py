"""Numbers of MinkowskiEngine (tests/golden/minkowski): outputs and all gradients, kernel orders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pcpt.ops.kernel_map import kernel_offsets
from pcpt.sparse import (
    BatchNorm,
    Conv3d,
    ConvTranspose3d,
    KernelMaps,
    SparseTensor,
    avg_pool,
    from_minkowski_kernel,
    global_avg_pool,
    max_pool,
    sum_pool,
)

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "minkowski"
TOLERANCE = 1e-5  # of an array's largest magnitude


class Arrays:
    """The arrays of one file, read by name."""

    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / name, allow_pickle=False) as file:
            self.arrays = {key: torch.from_numpy(file[key]) for key in file.files}

    def __getitem__(self, key: str) -> Tensor:
        return self.arrays[key].clone()


@pytest.fixture(scope="module")
def ops() -> Arrays:
    return Arrays("ops.npz")


@pytest.fixture(scope="module")
def order() -> Arrays:
    return Arrays("order.npz")


def assert_close(got: Tensor, expected: Tensor, name: str) -> None:
    assert got.shape == expected.shape, name
    error = float((got.detach() - expected).abs().max() / expected.abs().max())
    assert error <= TOLERANCE, (name, error)


def rows_of(coordinates: Tensor, sought: Tensor) -> Tensor:
    """Row of ``coordinates`` that equals each row of ``sought``; the same set of voxels."""
    assert len(coordinates) == len(sought)
    row = {tuple(voxel): index for index, voxel in enumerate(coordinates.tolist())}
    return torch.tensor([row[tuple(voxel)] for voxel in sought.tolist()])


def load(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    layer.load_state_dict({"weight": from_minkowski_kernel(weight), "bias": bias[0]})


def compare(ops: Arrays, op: str, x: SparseTensor, features: Tensor, out: SparseTensor) -> None:
    """Compares output and input gradient, after backward with the recorded gradient."""
    result = out.features[rows_of(out.coordinates, ops[f"{op}.out_coords"])]
    assert_close(result, ops[f"{op}.out_feats"], "output")
    assert out.stride == ops[f"{op}.out_stride"][0]
    result.backward(ops[f"{op}.grad_out"])
    assert_close(features.grad, ops[f"{op}.grad_in"], "grad_in")


@pytest.mark.parametrize(
    "name,reads",
    [
        ("conv_k3", kernel_offsets(3)),
        ("conv_k5", kernel_offsets(5)),
        ("conv_k4_stride1", kernel_offsets(4)),
        ("conv_k2_stride2", kernel_offsets(2)),
        ("conv_k3_dilation2", kernel_offsets(3, 2)),
        ("conv_k3_on_tensor_stride2", kernel_offsets(3, 2)),
        ("convtr_k2_stride2", kernel_offsets(2)),
        ("convtr_k3_stride2", kernel_offsets(3)),
        ("me043_conv_k5", kernel_offsets(5)),
    ],
)
def test_kernel_order(order: Arrays, name: str, reads: Tensor) -> None:
    """The table of measured offsets, itself converted like a kernel, is our table."""
    assert torch.equal(from_minkowski_kernel(order[name][:, None])[:, 0], reads)


@pytest.mark.parametrize("size", [3, 5])
def test_hybrid_kernel_order(order: Arrays, size: int) -> None:
    table = order[f"me043_hybrid_conv_k{size}"][:, None]
    assert torch.equal(from_minkowski_kernel(table, hybrid=True)[:, 0], kernel_offsets(size))
    kernel = torch.randn(size**3, 2, 3)
    cube = kernel[order[f"perm_hybrid{size}_to_cube{size}"].long()]
    assert torch.equal(from_minkowski_kernel(kernel, hybrid=True), from_minkowski_kernel(cube))


def test_kernel_errors() -> None:
    assert from_minkowski_kernel(torch.randn(4, 5)).shape == (1, 4, 5)
    with pytest.raises(ValueError, match=r"\(26, 4, 5\)"):
        from_minkowski_kernel(torch.zeros(26, 4, 5))
    with pytest.raises(ValueError, match="odd size"):
        from_minkowski_kernel(torch.zeros(8, 4, 5), hybrid=True)


@pytest.mark.parametrize(
    "op,layer,size,stride,dilation",
    [
        ("conv_k3s1", Conv3d, 3, 1, 1),
        ("conv_k5s1", Conv3d, 5, 1, 1),
        ("conv_k1", Conv3d, 1, 1, 1),
        ("conv_k3d2", Conv3d, 3, 1, 2),
        ("conv_k2s1", Conv3d, 2, 1, 1),
        ("conv_k2s2", Conv3d, 2, 2, 1),
        ("conv_k3s2", Conv3d, 3, 2, 1),
        ("conv_k1s2", Conv3d, 1, 2, 1),
        ("conv_k3s1_on_stride2", Conv3d, 3, 1, 1),
        ("convtr_k2s2", ConvTranspose3d, 2, 2, 1),
        ("convtr_k3s2", ConvTranspose3d, 3, 2, 1),
    ],
)
def test_convolution(
    engine, ops: Arrays, op: str, layer: type, size: int, stride: int, dilation: int
) -> None:
    weight, bias = ops[f"{op}.weight"], ops[f"{op}.bias"]
    module = layer(*weight.shape[-2:], size, stride=stride, dilation=dilation, bias=True)
    load(module, weight, bias)
    in_stride = int(ops[f"{op}.in_stride"][0])
    if layer is ConvTranspose3d:  # the finer voxels exist before the coarser ones
        maps = KernelMaps(ops[f"{op}.out_coords"])
    else:
        maps = KernelMaps(ops[f"{op}.in_coords"], in_stride)
    coordinates = maps.coordinates(in_stride)
    features = ops[f"{op}.in_feats"].requires_grad_()
    rows = rows_of(ops[f"{op}.in_coords"], coordinates)
    x = SparseTensor(features[rows], coordinates, in_stride, maps)
    out = module(x)
    if stride == 1 or layer is ConvTranspose3d:
        assert torch.equal(out.coordinates, ops[f"{op}.out_coords"]), "rows keep their order"
    compare(ops, op, x, features, out)
    assert_close(module.weight.grad, from_minkowski_kernel(ops[f"{op}.grad_weight"]), "grad_weight")
    assert_close(module.bias.grad, ops[f"{op}.grad_bias"][0], "grad_bias")


def test_chain_down_and_up(engine, ops: Arrays) -> None:
    op = "chain_d2_d2_u2_u2"
    features = ops[f"{op}.in_feats"].requires_grad_()
    x = out = SparseTensor(features, ops[f"{op}.in_coords"])
    layers = []
    for i, kind in enumerate([Conv3d, Conv3d, ConvTranspose3d, ConvTranspose3d]):
        weight = ops[f"{op}.weight{i}"]
        layers.append(kind(*weight.shape[1:], 2, stride=2, bias=True))
        load(layers[i], weight, ops[f"{op}.bias{i}"])
        out = layers[i](out)
        rows = rows_of(out.coordinates, ops[f"{op}.coords{i}"])
        assert_close(out.features[rows], ops[f"{op}.feats{i}"], f"layer {i}")
    compare(ops, op, x, features, out)
    for i, layer in enumerate(layers):
        grad = from_minkowski_kernel(ops[f"{op}.grad_weight{i}"])
        assert_close(layer.weight.grad, grad, f"grad_weight{i}")
        assert_close(layer.bias.grad, ops[f"{op}.grad_bias{i}"][0], f"grad_bias{i}")


@pytest.mark.parametrize(
    "op,pool",
    [("pool_sum_k2s2", sum_pool), ("pool_avg_k2s2", avg_pool), ("pool_max_k2s2", max_pool)],
)
def test_pooling(engine, ops: Arrays, op: str, pool) -> None:
    features = ops[f"{op}.in_feats"].requires_grad_()
    x = SparseTensor(features, ops[f"{op}.in_coords"])
    compare(ops, op, x, features, pool(x))


def test_global_pooling(ops: Arrays) -> None:
    op = "pool_global_avg"
    features = ops[f"{op}.in_feats"].requires_grad_()
    out = global_avg_pool(SparseTensor(features, ops[f"{op}.in_coords"]))
    batch = ops[f"{op}.out_coords"][:, 0].long()
    assert_close(out[batch], ops[f"{op}.out_feats"], "output")
    out[batch].backward(ops[f"{op}.grad_out"])
    assert_close(features.grad, ops[f"{op}.grad_in"], "grad_in")


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_batch_norm(ops: Arrays, mode: str) -> None:
    op = f"bn_{mode}"
    norm = BatchNorm(5, momentum=0.05).train(mode == "train")
    with torch.no_grad():
        norm.weight.copy_(ops[f"{op}.weight"].flatten())
        norm.bias.copy_(ops[f"{op}.bias"].flatten())
        norm.running_mean.copy_(ops[f"{op}.running_mean_before"].flatten())
        norm.running_var.copy_(ops[f"{op}.running_var_before"].flatten())
    features = ops[f"{op}.in_feats"].requires_grad_()
    x = SparseTensor(features, ops[f"{op}.in_coords"])
    compare(ops, op, x, features, norm(x))
    assert_close(norm.weight.grad, ops[f"{op}.grad_weight"].flatten(), "grad_weight")
    assert_close(norm.bias.grad, ops[f"{op}.grad_bias"].flatten(), "grad_bias")
    assert_close(norm.running_mean, ops[f"{op}.running_mean_after"].flatten(), "running_mean")
    assert_close(norm.running_var, ops[f"{op}.running_var_after"].flatten(), "running_var")
