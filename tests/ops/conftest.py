"""Both ways of computing, for every operator's tests."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pcpt.ops._library import COMPILED

if os.environ.get("PCPT_EMULATE_CUDA") == "1":  # only operators with a CUDA kernel can be emulated
    _HERE = Path(__file__).parent
    _CUDA = {path.stem for path in (_HERE.parents[1] / "csrc" / "cuda").glob("*.cu")}
    collect_ignore = [
        path.name
        for path in _HERE.glob("test_*.py")
        if path.stem.removeprefix("test_") not in _CUDA
    ]


@pytest.fixture(params=["kernel", "reference"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test through the compiled kernel and through the reference of the operator whose file
    the test module calls ``module``."""
    if request.param == "kernel" and not COMPILED:
        pytest.skip("csrc is not built")
    if request.param == "reference":
        monkeypatch.setattr(request.module.module, "has_kernel", lambda *_: False)
    return request.param


@pytest.fixture
def clamps(device: torch.device) -> bool:
    """Whether the kernels are CUDA's: what a direct call of torch.ops.pcpt names beyond its tensors
    they pass over, where those of the CPU, for which looking is cheap, refuse it."""
    return device.type == "cuda" or os.environ.get("PCPT_EMULATE_CUDA") == "1"


@pytest.fixture
def reference(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The operator of the test module's ``module``, by its reference whatever was built."""
    module = request.module.module

    def call(*arguments: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "has_kernel", lambda *_: False)
            return getattr(module, module.__name__.rpartition(".")[2])(*arguments, **options)

    return call


@pytest.fixture
def odd_clouds() -> Callable[..., Tensor]:
    """Batches (B, N, C) that searches get wrong: on a grid (ties), repeated, flat, not finite, so
    far apart that squares overflow, or plain."""

    def make(draw: random.Random, num_clouds: int, num_points: int, channels: int) -> Tensor:
        generator = torch.Generator().manual_seed(draw.randrange(2**31))
        dtype = draw.choice([torch.float32, torch.float64])
        points = torch.randn(num_clouds, num_points, channels, generator=generator, dtype=dtype)
        kind = draw.choice(["plain", "grid", "repeated", "flat", "not finite", "far"])
        if kind == "grid":
            points = (2 * points).round()
        elif kind == "repeated" and num_points:
            points = points[
                :, torch.randint(num_points // 4 + 1, (num_points,), generator=generator)
            ]
        elif kind == "flat":
            points[..., 1:] = 0
        elif kind == "not finite":
            hit = torch.rand(points.shape, generator=generator) < 0.05
            points[hit] = draw.choice([torch.nan, torch.inf, -torch.inf])
        elif kind == "far":
            points *= 2e19 if dtype == torch.float32 else 1e154
        return points

    return make


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def check_leaks() -> Callable[[Callable[[], object]], None]:
    """Runs a call of some megabytes 100 times, and fails where resident memory grows with it."""
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("the address sanitizer keeps freed memory")
    if os.environ.get("PCPT_EMULATE_CUDA") == "1":
        pytest.skip("a hundred calls take the emulator minutes")
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")

    def check(call: Callable[[], object]) -> None:
        for _ in range(20):
            call()
        before = _resident_bytes()
        for _ in range(100):
            call()
        grown = _resident_bytes() - before
        assert grown < 8 * 2**20, f"resident memory grew by {grown} bytes in 100 calls"

    return check
