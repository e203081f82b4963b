"""Both ways of computing, for every operator's tests."""

import os
from collections.abc import Callable
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
