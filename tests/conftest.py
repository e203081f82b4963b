"""Fixtures shared by all tests."""

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Another build of csrc in the place of pcpt._C, before pcpt is imported: its CUDA kernels on a CPU
# by cuda_emulator/build.py, or a library such as the one that `make test-sanitized` builds.
_extension: Path | None = None
if os.environ.get("PCPT_EMULATE_CUDA") == "1":
    _build = _load("cuda_emulator_build", REPOSITORY / "tests" / "cuda_emulator" / "build.py")
    _extension = _build.build()
elif "PCPT_TEST_EXTENSION" in os.environ:
    _extension = Path(os.environ["PCPT_TEST_EXTENSION"]).resolve(strict=True)
if _extension is not None:
    if "pcpt._C" in sys.modules:
        raise RuntimeError("pcpt._C is already loaded")
    sys.modules["pcpt._C"] = _load("pcpt._C", _extension)


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(int(os.environ.get("PCPT_TEST_THREADS", "1")))


# Why a test may skip in .ci/run: for want of what `make test` does not set up, or where there is
# nothing to test. Kernels and packages it does set up.
KNOWN_SKIPS = re.compile(
    "no CUDA device|no kernel for cuda|shared data|no Chromium|'spconv.pytorch'|peak memory"
    "|triton's interpreter|a way to multiply|CPU's kernels count further"
)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With PCPT_KNOWN_SKIPS=1, skipping for any other reason is a failure, lest a test that has not
    run for months be taken for one that passes."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("PCPT_KNOWN_SKIPS") != "1" or reporter is None:
        return
    reasons = {report.longrepr[2] for report in reporter.stats.get("skipped", [])}
    unknown = sorted(reason for reason in reasons if not KNOWN_SKIPS.search(reason))
    if unknown:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nERROR: skipped for reasons outside KNOWN_SKIPS:", *unknown, sep="\n  ")


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
