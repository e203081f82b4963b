"""sparse_conv: a sum worked by hand, kernel against reference, gradients, threads, errors."""

import gc
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pcpt.ops import sparse_conv
from pcpt.ops._library import COMPILED
from pcpt.ops.kernel_map import invert_kernel_map

module = importlib.import_module("pcpt.ops.sparse_conv")
needs_kernel = pytest.mark.skipif(not COMPILED, reason="csrc is not built")


def random_map(volume: int, num_in: int, num_out: int, seed: int = 0) -> Tensor:
    """A table as kernel maps are: within a tap every voxel has at most one partner."""
    generator = torch.Generator().manual_seed(seed)
    neighbors = torch.full((volume, num_out), -1, dtype=torch.int32)
    for row in neighbors:
        pairs = int(torch.randint(min(num_in, num_out) + 1, (), generator=generator))
        outs = torch.randperm(num_out, generator=generator)[:pairs]
        row[outs] = torch.randperm(num_in, generator=generator)[:pairs].int()
    return neighbors


def random_problem(
    num_in: int, num_out: int, channels: tuple[int, int], dtype: torch.dtype, volume: int = 8
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(num_in, channels[0], dtype=dtype, generator=generator)
    weight = torch.randn(volume, *channels, dtype=dtype, generator=generator)
    return features, weight, random_map(volume, num_in, num_out)


def run(function, features: Tensor, weight: Tensor, neighbors: Tensor) -> list[Tensor]:
    """Output, and both gradients for one fixed gradient of the output."""
    features, weight = features.clone().requires_grad_(), weight.clone().requires_grad_()
    out = function(features, weight, neighbors)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    out.backward(grad.bfloat16().to(out))  # a value that every type holds
    return [out.detach(), features.grad, weight.grad]


def test_by_hand(device: torch.device) -> None:
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    weight = torch.tensor([[[1.0], [10.0]], [[100.0], [1000.0]]], device=device)
    neighbors = torch.tensor([[0, 1, -1], [1, -1, -1]], device=device).int()
    out = sparse_conv(features, weight, neighbors)
    assert out.tolist() == [[21 + 4300], [43], [0]]


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "channels",
    [(1, 1), (3, 32), (7, 13), (13, 7), (33, 3), (32, 64), (96, 33), (64, 96), (80, 48), (130, 16)],
)
def test_kernel_equals_reference(channels: tuple[int, int], dtype: torch.dtype) -> None:
    tolerance = 2e-6 if dtype == torch.float32 else 1e-14
    for num_in, num_out in [(0, 0), (0, 3), (3, 0), (1, 1), (37, 37), (1100, 700), (150, 5000)]:
        problem = random_problem(num_in, num_out, channels, dtype, volume=4)
        wide = [value.double() if value.is_floating_point() else value for value in problem]
        for name, got, expected in zip(
            ["output", "grad features", "grad weight"],
            run(sparse_conv, *problem),
            run(module._reference, *wide),
        ):
            assert got.shape == expected.shape and got.dtype == dtype
            error = (got - expected).abs().max() / expected.abs().max() if got.numel() else 0
            assert error <= tolerance or not expected.any(), (name, num_in, num_out, float(error))


# Of the largest element.
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-14, torch.bfloat16: 6e-3, torch.float16: 1e-3}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("count", [0, 1, 7, 33, 1023])
def test_random_cases(count: int, dtype: torch.dtype, device: torch.device) -> None:
    """180 problems at odd sizes against the reference in float64 on the same, rounded, values."""
    for case, channels in enumerate([(1, 3), (3, 33), (7, 7), (13, 1), (33, 96), (96, 13)]):
        for volume, num_out in ((1, count), (8, (count + 1) // 2), (27, count)):
            check_case((count, num_out), channels, dtype, volume, device, seed=case)


def check_case(
    rows: tuple[int, int],
    channels: tuple[int, int],
    dtype: torch.dtype,
    volume: int,
    device: torch.device,
    seed: int = 0,
) -> None:
    """Output and both gradients of one problem against the reference in float64."""
    features, weight, _ = random_problem(*rows, channels, dtype, volume)
    neighbors = random_map(volume, *rows, seed=seed)
    expected = run(module._reference, features.double(), weight.double(), neighbors)
    got = run(sparse_conv, features.to(device), weight.to(device), neighbors.to(device))
    for name, ours, theirs in zip(["output", "grad features", "grad weight"], got, expected):
        assert ours.shape == theirs.shape and ours.dtype == dtype
        if theirs.any():
            error = (ours.cpu() - theirs).abs().max() / theirs.abs().max()
            assert error <= TOLERANCE[dtype], (name, rows, channels, volume, float(error))
        else:
            assert not ours.any()


@pytest.mark.parametrize("path", [pytest.param("kernel", marks=needs_kernel), "reference"])
def test_gradcheck(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if path == "reference":
        monkeypatch.setattr(module, "has_kernel", lambda *_: False)
    features, weight, neighbors = random_problem(6, 5, (3, 2), torch.float64, volume=3)
    inputs = (features.requires_grad_(), weight.requires_grad_())
    inverse = invert_kernel_map(neighbors, 6)
    assert torch.autograd.gradcheck(lambda *x: sparse_conv(*x, neighbors, inverse), inputs)
    assert torch.autograd.gradgradcheck(lambda *x: sparse_conv(*x, neighbors), inputs)


@needs_kernel
def test_opcheck() -> None:
    features, weight, neighbors = random_problem(20, 15, (3, 5), torch.float32)
    inverse = invert_kernel_map(neighbors, 20)
    inputs = (features.requires_grad_(), weight.requires_grad_(), neighbors, inverse)
    torch.library.opcheck(torch.ops.pcpt.sparse_conv.default, inputs)
    inputs = (features, torch.randn(15, 5, requires_grad=True), neighbors, inverse)
    torch.library.opcheck(torch.ops.pcpt.sparse_conv_grad_weight.default, inputs)


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [(32, 64), (65, 17)])
def test_result_does_not_depend_on_threads(channels: tuple[int, int], dtype: torch.dtype) -> None:
    problem = random_problem(6000, 5000, channels, dtype)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(run(sparse_conv, *problem))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


@needs_kernel
@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_every_instruction_set(capability: str) -> None:
    """The machine that runs the tests would otherwise exercise only its best one."""
    script = (
        "import test_sparse_conv as t\n"
        "for dtype in (t.torch.float32, t.torch.float64):\n"
        "    for channels in ((7, 13), (64, 96), (33, 48)):\n"
        "        t.test_kernel_equals_reference(channels, dtype)\n"
        "t.test_random_cases(33, t.torch.bfloat16, t.torch.device('cpu'))\n"
        "t.test_random_cases(1023, t.torch.bfloat16, t.torch.device('cpu'))\n"
        "t.test_wrong_tables_read_nothing_foreign((16, 32), t.torch.bfloat16, 'cpu')\n"
    )
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_any_strides() -> None:
    features, weight, neighbors = random_problem(40, 30, (16, 32), torch.float64)
    expected = run(module._reference, features, weight, neighbors)
    strided = features.T.contiguous().T
    transposed = weight.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    table = neighbors.T.contiguous().T
    for got, want in zip(run(sparse_conv, strided, transposed, table), expected):
        assert torch.allclose(got, want, rtol=1e-13, atol=1e-13)
    features.requires_grad_()
    sparse_conv(features, weight, neighbors).sum().backward()  # an expanded gradient
    got = features.grad.clone()
    features.grad = None
    module._reference(features, weight, neighbors).sum().backward()
    assert torch.allclose(got, features.grad, rtol=1e-13, atol=1e-13)


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [(3, 5), (16, 32)])
def test_wrong_tables_read_nothing_foreign(
    channels: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> None:
    features, weight, _ = random_problem(4, 4, channels, dtype, volume=2)
    features, weight = features.to(device), weight.to(device)
    table = torch.tensor([[4, 2**31 - 1, -(2**31), 3], [-1, 100, 5, -7]]).int()
    clean = torch.where((table >= 0) & (table < 4), table, -1)  # the one pair that exists
    for op, other in (("sparse_conv", weight), ("sparse_conv_grad_weight", features @ weight[0])):
        function = getattr(torch.ops.pcpt, op)
        got = function(features, other, *[table.to(device)] * 2)
        assert torch.equal(got, function(features, other, *[clean.to(device)] * 2))
    out = torch.ops.pcpt.sparse_conv(features, weight, *[table.to(device)] * 2)
    assert not out[:3].any() and torch.allclose(out[3], features[3] @ weight[0], rtol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_hundred_steps_leave_no_memory_behind(dtype: torch.dtype, device: torch.device) -> None:
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("the address sanitizer keeps freed memory")
    features, weight, neighbors = random_problem(2000, 2000, (32, 48), dtype)
    weight = weight.to(device).requires_grad_()

    def resident() -> int:
        gc.collect()
        if device.type == "cuda":
            return torch.cuda.memory_allocated(device)
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = 0
    for step in range(100):
        x = features.to(device).requires_grad_()
        sparse_conv(x, weight, neighbors.to(device)).sum().backward()
        weight.grad = None
        del x
        if step == 19:  # by now allocators have what they need
            before = resident()
    one_result = 2000 * 48 * features.element_size()
    assert resident() - before < 10 * one_result, "80 steps that each kept one would hold 80"


def test_half_precision_sums_in_single() -> None:
    features, weight, neighbors = random_problem(50, 40, (16, 8), torch.float64)
    half = sparse_conv(features.bfloat16(), weight.bfloat16(), neighbors)
    assert half.dtype == torch.bfloat16
    wide = sparse_conv(features.bfloat16().double(), weight.bfloat16().double(), neighbors)
    assert (half - wide).abs().max() < 0.02 * wide.abs().max()


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_the_reference_rounds_half_types_once(half: torch.dtype) -> None:
    """Outputs and gradients are those of float32, rounded: all 27 taps add up before."""
    features, weight, neighbors = random_problem(60, 50, (16, 8), half, volume=27)
    wide = run(module._reference, features.float(), weight.float(), neighbors)
    for got, expected in zip(run(module._reference, features, weight, neighbors), wide):
        assert torch.equal(got, expected.to(half))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_the_reference_under_autocast(half: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_kernel", lambda *_: False)
    features, weight, neighbors = random_problem(50, 40, (16, 32), torch.float32)
    monkeypatch.setattr(module, "CPU_BFLOAT16", True)
    with torch.autocast("cpu", half):
        got = run(sparse_conv, features, weight, neighbors)
    for ours, expected in zip(got, run(sparse_conv, features, weight, neighbors)):
        assert (ours - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_takes_the_fast_type(half: torch.dtype) -> None:
    features, weight, neighbors = random_problem(50, 40, (16, 32), torch.float32)
    fast = half == torch.bfloat16 and module.CPU_BFLOAT16
    with torch.autocast("cpu", half):
        out = sparse_conv(features.to(half), weight.requires_grad_(), neighbors)
        assert out.dtype == (half if fast else torch.float32)
        out.sum().backward()
        assert weight.grad.dtype == torch.float32
        wide = sparse_conv(features.double(), weight.double(), neighbors)
        assert wide.dtype == torch.float64, "float64 is left alone"
    assert (out - wide).abs().max() < 0.02 * wide.abs().max()


def test_errors() -> None:
    features, weight, neighbors = random_problem(5, 4, (3, 2), torch.float32)
    with pytest.raises(ValueError, match=r"\(5, 2\).*do not fit"):
        sparse_conv(features[:, :2], weight, neighbors)
    with pytest.raises(ValueError, match=r"neighbors must be \(8, N_out\)"):
        sparse_conv(features, weight, neighbors[:3])
    with pytest.raises(ValueError, match="int64"):
        sparse_conv(features, weight, neighbors.long())
    with pytest.raises(ValueError, match=r"inverse must be \(8, 5\)"):
        sparse_conv(features, weight, neighbors, neighbors)
    with pytest.raises(ValueError, match="share a floating type"):
        sparse_conv(features.double(), weight, neighbors)
