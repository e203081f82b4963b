"""Voxels for the sparse tests, and both ways of computing."""

import importlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pcpt.ops._library import COMPILED


@pytest.fixture(params=["kernel", "reference"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test on the compiled kernels and again on the PyTorch references."""
    if request.param == "reference":
        for name in ("kernel_map", "sparse_conv"):
            module = importlib.import_module(f"pcpt.ops.{name}")
            monkeypatch.setattr(module, "has_kernel", lambda *_: False)
    elif not COMPILED:
        pytest.skip("csrc is not built")
    return request.param


@pytest.fixture
def voxels() -> Callable[..., Tensor]:
    """Makes ``count`` unique voxels of two batches, shuffled, around the origin."""

    def make(count: int, extent: int = 6, seed: int = 0, stride: int = 1) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        cells = torch.randperm(2 * extent**3, generator=generator)[:count]
        axes = [cells // extent**2 % extent, cells // extent % extent, cells % extent]
        return torch.stack(
            [cells // extent**3, *[stride * (axis - extent // 2) for axis in axes]], dim=1
        ).int()

    return make
