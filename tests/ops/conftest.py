"""Both ways of computing, for every operator's tests."""

import os
from pathlib import Path

import pytest

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
