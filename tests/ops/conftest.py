"""Both ways of computing, for every operator's tests."""

import pytest

from pcpt.ops._library import COMPILED


@pytest.fixture(params=["kernel", "reference"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test through the compiled kernel and through the reference of the operator whose file
    the test module calls ``module``."""
    if request.param == "kernel" and not COMPILED:
        pytest.skip("csrc is not built")
    if request.param == "reference":
        monkeypatch.setattr(request.module.module, "has_kernel", lambda *_: False)
    return request.param
