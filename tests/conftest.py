"""Fixtures shared by all tests."""

import importlib.util
import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]

if os.environ.get("PCPT_EMULATE_CUDA") == "1":  # see cuda_emulator/build.py
    _spec = importlib.util.spec_from_file_location(
        "cuda_emulator_build", Path(__file__).with_name("cuda_emulator") / "build.py"
    )
    assert _spec is not None and _spec.loader is not None
    _build = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_build)
    _build.load()


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(int(os.environ.get("PCPT_TEST_THREADS", "1")))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device an operator runs on; CUDA skips where there is none."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the scans, shapes and weights used for development; not part of the repository."""
    folder = Path(os.environ.get("PCPT_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"shared data not found at {folder}; set PCPT_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def office() -> Path:
    """The scan that ships with the repository."""
    return REPOSITORY / "examples" / "office"
