"""The alternatives compute what pcpt computes, on small random input: proof that they are right."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from pcpt.benchmark.baselines import layers
from pcpt.benchmark.baselines.concerto import nearest_points
from pcpt.benchmark.baselines.gemms import ConvShape, Gemms
from pcpt.benchmark.baselines.openscene import project_view
from pcpt.benchmark.baselines.plain_conv import gather_multiply_scatter, tap_pairs
from pcpt.benchmark.baselines.references import references_only
from pcpt.benchmark.baselines.spconv_unet import SpconvUNet
from pcpt.benchmark.baselines.upsample_index import upsample_then_index, upsampled_bytes
from pcpt.benchmark.parts.sparse_conv import LAYERS, Problem
from pcpt.benchmark.parts.voxelize import (
    unique_of_keys,
    unique_of_keys_numpy,
    unique_of_rows,
)
from pcpt.benchmark.unet_layers import record_layers
from pcpt.ops import kernel_map, match_points_to_pixels, sample_pixels, sparse_conv, voxelize
from pcpt.ops._library import has_kernel
from pcpt.ops.kernel_map import kernel_offsets
from pcpt.sparse import SparseTensor
from pcpt.students import SparseUNet


def random_view(seed: int):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(500, 3, generator=generator) * 4 - torch.tensor([2.0, 2.0, 0.5])
    points = torch.cat((points, torch.zeros(1, 3)))  # in the camera's centre
    depth = torch.rand(1, 24, 32, generator=generator) * 3
    depth[depth < 0.5] = 0.0
    intrinsics = torch.tensor([[[30.0, 0.0, 15.3], [0.0, 28.0, 11.6], [0.0, 0.0, 1.0]]])
    return points, depth, intrinsics, torch.eye(4)[None]


@pytest.mark.parametrize("seed", range(10))
def test_openscene_finds_the_same_pairs_and_pixels(seed: int) -> None:
    points, depth, intrinsics, pose = random_view(seed)
    own = match_points_to_pixels(
        points, depth, intrinsics, pose, absolute_tolerance=0.0, relative_tolerance=0.25
    )
    arrays = (t.double().numpy() for t in (points, depth[0], intrinsics[0], pose[0]))
    mapping = torch.from_numpy(project_view(*arrays))
    assert mapping[:, 2].nonzero().squeeze(1).tolist() == own.point_index.tolist()
    assert len(own.point_index) > 10
    rounded = (own.pixel + 0.5).floor().long().flip(1)
    assert torch.equal(mapping[own.point_index, :2], rounded)
    assert (mapping[mapping[:, 2] == 0] == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_concerto_finds_the_nearest_point_of_every_pixel(seed: int) -> None:
    pytest.importorskip("scipy")
    points, depth, intrinsics, pose = random_view(seed)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)))[0]
    turn = turn * torch.linalg.det(turn).sign()
    pose[0, :3, :3], pose[0, :3, 3] = turn, torch.tensor([0.3, -0.2, 0.1])
    world = points.double() @ turn.double().T + pose[0, :3, 3].double()
    radius = 0.2
    arrays = (t.double().numpy() for t in (depth[0], intrinsics[0], pose[0]))
    pixel, index = nearest_points(world.numpy(), *arrays, radius=radius)

    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")
    z = depth[0].double()
    x, y = (columns - 15.3) / 30.0 * z, (rows - 11.6) / 28.0 * z
    seen = torch.stack((x, y, z), dim=-1)[z > 0]
    distance = torch.cdist(seen, points.double())
    near = distance.amin(1) < radius
    assert 0 < int(near.sum()) < len(near)
    assert torch.equal(torch.from_numpy(index), distance.argmin(1)[near])
    expected = torch.stack((columns, rows), dim=-1)[z > 0][near].long()
    assert torch.equal(torch.from_numpy(np.asarray(pixel)), expected)


def test_a_pixel_s_pairs_agree_with_pcpt_where_points_lie_on_the_surface() -> None:
    pytest.importorskip("scipy")
    depth = torch.full((1, 12, 16), 2.0)
    intrinsics = torch.tensor([[[20.0, 0.0, 7.5], [0.0, 20.0, 5.5], [0.0, 0.0, 1.0]]])
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    surface = torch.stack(((columns - 7.5) / 10, (rows - 5.5) / 10, torch.full_like(rows, 2.0)), -1)
    points = surface.reshape(-1, 3)
    own = match_points_to_pixels(points, depth, intrinsics, torch.eye(4)[None])
    arrays = (t.double().numpy() for t in (points, depth[0], intrinsics[0], torch.eye(4)))
    pixel, index = nearest_points(*arrays)
    assert index.tolist() == own.point_index.tolist() == list(range(192))
    assert torch.allclose(own.pixel, torch.from_numpy(pixel).float(), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 7, 13])
def test_upsampling_first_gives_the_same_features(channels: int) -> None:
    torch.manual_seed(channels)
    features = torch.randn(3, channels, 5, 7, requires_grad=True)
    view = torch.randint(3, (33,))
    pixel = (torch.rand(33, 2) * torch.tensor([112, 80])).floor()
    found = upsample_then_index(features, view, pixel, (80, 112))
    own = sample_pixels(features, view, pixel, (80, 112))
    assert torch.allclose(found, own, atol=1e-6)
    grad = torch.randn_like(own)
    theirs, ours = (torch.autograd.grad(out, features, grad)[0] for out in (found, own))
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert upsampled_bytes(features, (80, 112)) == 3 * channels * 80 * 112 * 4


@pytest.mark.parametrize("count", [1, 7, 33, 1023])
def test_unique_ways_give_the_same_voxels(count: int) -> None:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    expected = voxelize(points, 0.3)
    for way in (unique_of_keys, unique_of_keys_numpy, unique_of_rows):
        found = way(points, 0.3)
        assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1]), way


def some_voxels(count: int) -> torch.Tensor:
    torch.manual_seed(count)
    cells = torch.unique(torch.randint(0, 9, (count, 3)), dim=0).int()
    return torch.nn.functional.pad(cells, (1, 0))[torch.randperm(len(cells))].contiguous()


@pytest.mark.parametrize(("width_in", "width_out"), [(1, 3), (7, 13), (33, 8)])
@pytest.mark.parametrize("count", [1, 7, 300])
def test_plain_convolution_and_its_gradients(count: int, width_in: int, width_out: int) -> None:
    voxels = some_voxels(count)
    neighbors = kernel_map(voxels, voxels, kernel_offsets(3))
    features = torch.randn(len(voxels), width_in, requires_grad=True)
    weight = torch.randn(27, width_in, width_out, requires_grad=True)
    found = gather_multiply_scatter(features, weight, tap_pairs(neighbors), len(voxels))
    own = sparse_conv(features, weight, neighbors)
    assert torch.allclose(found, own, atol=1e-4)
    grad = torch.randn_like(own)
    theirs, ours = (torch.autograd.grad(out, (features, weight), grad) for out in (found, own))
    for a, b in zip(theirs, ours):
        assert torch.allclose(a, b, atol=1e-3)


def test_references_only_switches_kernels_off_and_on_again() -> None:
    before = has_kernel("voxelize", torch.zeros(1))
    with pytest.raises(KeyError), references_only():
        assert not has_kernel("voxelize", torch.zeros(1))
        raise KeyError
    assert has_kernel("voxelize", torch.zeros(1)) == before


def test_gemms_count_what_the_network_multiplies() -> None:
    student = SparseUNet(SparseUNet.Config(variant="small", planes=[4] * 8, stem_channels=4))
    voxels = some_voxels(200)
    x = SparseTensor(torch.randn(len(voxels), 3), voxels)
    records = record_layers(student, x)
    convs = [name for name, m in student.named_modules() if hasattr(m, "kernel_size")]
    assert [r.shape.name for r in records] != [] and len(records) == len(convs)
    stem = records[0].shape
    neighbors = kernel_map(voxels, voxels, kernel_offsets(3))
    assert stem.flops == 2 * int((neighbors >= 0).sum()) * 3 * 4
    up = next(r for r in records if r.shape.name == "decoder.3.up.conv")
    assert sum(up.shape.pairs) == len(voxels)  # a fine voxel lies in one coarse cell
    for record in records:  # the layer by itself gives what it gives in the network
        assert record.forward(record.random_input(torch.float32)).shape[0] == record.num_out
        assert record.moved_bytes(torch.float32) > record.moved_bytes(torch.bfloat16)


def test_gemms_leave_their_operands_alone() -> None:
    gemms = Gemms([ConvShape((3, 0, 5), 4, 6)], torch.float32, torch.device("cpu"), backward=True)
    assert len(gemms._taps) == 2
    weight, grad_weight, features, grad_features, out, grad_out = gemms._taps[1]
    before = features.clone()
    gemms(0)
    gemms(1)
    assert torch.equal(features, before)
    assert torch.allclose(out, features @ weight, atol=1e-5)
    assert torch.allclose(grad_features, grad_out @ weight.T, atol=1e-5)
    assert torch.allclose(grad_weight, features.T @ grad_out, atol=1e-5)


def test_rows_of_finds_voxels_and_refuses_others() -> None:
    voxels = some_voxels(50)
    order = torch.randperm(len(voxels))
    rows = layers.rows_of(voxels[order], voxels)
    assert torch.equal(voxels[order][rows], voxels)
    with pytest.raises(ValueError, match="expected the same"):
        layers.rows_of(voxels[1:], voxels)


def test_libraries_say_why_they_cannot_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    absent = layers.Library("x", "no_such_module_here", layers.spconv_layer)
    assert absent.absence(cpu) == "not installed"
    monkeypatch.setitem(sys.modules, "a_fake_library", ModuleType("a_fake_library"))
    known = layers.Library("x", "a_fake_library", layers.spconv_layer, forward_only_on_cpu=True)
    assert known.absence(cpu) == "" and "CUDA only" in known.absence(cpu, backward=True)
    only = layers.Library("x", "a_fake_library", layers.spconv_layer, cuda_only=True)
    assert only.absence(cpu) == "runs on CUDA only"


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_spconv_gives_pcpt_s_output(layer: tuple[str, int, int, int]) -> None:
    library = pytest.importorskip("spconv.pytorch")
    kind, width_in, width_out, _ = layer
    problem = Problem(some_voxels(200), kind, width_in, width_out, torch.float32)
    theirs = problem.call(layers.spconv_layer(library, problem.task), backward=False)
    ours = problem.call(problem.own, backward=False)
    assert torch.allclose(theirs[0], ours[0], atol=1e-4)


def test_spconv_s_network_gives_pcpt_s_features() -> None:
    library = pytest.importorskip("spconv.pytorch")
    student = SparseUNet(SparseUNet.Config(variant="small", planes=[4, 4, 8, 8, 8, 4, 4, 4]))
    voxels = some_voxels(300)
    features = torch.randn(len(voxels), 3)
    network = SpconvUNet(library, student).eval()
    with torch.no_grad():
        expected = student.eval()(SparseTensor(features, voxels)).features
        assert torch.allclose(network(features, voxels), expected, atol=1e-4)
