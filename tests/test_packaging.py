"""Installing: what is refused, what goes on without kernels, and what a source archive holds."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]
SETTINGS = ("PCPT_CPU", "PCPT_CUDA", "PCPT_DEBUG", "CXX", "MAX_JOBS")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What setup.py needs to know of pcpt, and one source in csrc."""
    folder = tmp_path / "project"
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "pcpt/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, folder / name)
    (folder / "csrc" / "cpu").mkdir(parents=True)
    (folder / "csrc" / "ops.cpp").write_text("int main() { return 0; }\n")
    return folder


def setup(
    project: Path, *arguments: str, **settings: str | Path
) -> subprocess.CompletedProcess[str]:
    """``python setup.py`` in a process of its own, with these environment variables."""
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    return subprocess.run(
        [sys.executable, "setup.py", "-q", *arguments],
        cwd=project,
        env={**environment, **{key: str(value) for key, value in settings.items()}},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def without_torch(tmp_path: Path) -> Path:
    """A folder on whose account torch cannot be imported, as in an isolated build."""
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "torch.py").write_text("raise ImportError('no torch here')\n")
    return tmp_path / "absent"


def test_a_build_without_torch_is_refused_with_both_remedies(
    project: Path, without_torch: Path
) -> None:
    built = setup(project, "build", PYTHONPATH=without_torch)
    assert built.returncode != 0
    assert "pip install --no-build-isolation -e ." in built.stderr
    assert "PCPT_CPU=0 pip install ." in built.stderr
    assert "Traceback" not in built.stderr


def test_plain_pytorch_metadata_and_archives_need_no_torch(
    project: Path, without_torch: Path
) -> None:
    plain = setup(project, "build", PYTHONPATH=without_torch, PCPT_CPU="0")
    assert plain.returncode == 0, plain.stderr
    assert (project / "build" / "lib" / "pcpt" / "__init__.py").is_file()  # a pure Python package
    for command in ("sdist", "dist_info"):
        made = setup(project, command, PYTHONPATH=without_torch)
        assert made.returncode == 0, made.stderr
    assert list((project / "dist").iterdir()) and list(project.glob("pcpt*.dist-info"))


def compiler(folder: Path) -> Path:
    """A compiler that answers questions, but rejects OpenMP, as Apple's does."""
    path = folder / "c++"
    path.write_text(
        "#!/bin/sh\n"
        'case "$*" in *-fopenmp*) echo "unsupported option -fopenmp" >&2; exit 1;; esac\n'
        'exec g++ "$@"\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_a_compiler_that_fails_costs_the_kernels_unless_they_are_demanded(
    project: Path, tmp_path: Path
) -> None:
    failing = compiler(tmp_path)
    arguments = ("build_ext", "--inplace")
    lenient = setup(project, *arguments, CXX=failing, PCPT_CUDA="0", MAX_JOBS="1")
    assert lenient.returncode == 0, lenient.stderr
    assert "csrc WAS NOT BUILT" in lenient.stderr and "plain PyTorch, slower" in lenient.stderr
    assert not list(project.glob("pcpt/*.so"))
    strict = setup(project, *arguments, CXX=failing, PCPT_CPU="1", PCPT_CUDA="0", MAX_JOBS="1")
    assert strict.returncode != 0 and "unsupported option" in strict.stdout + strict.stderr


def test_kernels_that_are_demanded_need_a_compiler(project: Path) -> None:
    absent = setup(project, "build_ext", CXX="no-such-compiler", PCPT_CPU="1")
    assert absent.returncode != 0 and "no C++ compiler" in absent.stderr


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files that a source archive of this checkout would hold."""
    folder = tmp_path_factory.mktemp("egg")
    made = setup(REPOSITORY, "egg_info", "--egg-base", str(folder), PCPT_CPU="0")
    assert made.returncode == 0, made.stderr
    return set((folder / "pcpt.egg-info" / "SOURCES.txt").read_text().splitlines())


def tracked(*folders: str) -> set[str]:
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("not a checkout with git")
    command = ["git", "-C", str(REPOSITORY), "ls-files", "-z", *folders]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return {name for name in names if name and (REPOSITORY / name).exists()}


def test_a_source_archive_holds_what_is_tracked(archived: set[str]) -> None:
    expected = {name for name in tracked() if name != ".gitignore"}
    assert not expected - archived
    assert any(name.endswith(".cu") for name in archived & expected)


def test_a_source_archive_holds_nothing_built(archived: set[str]) -> None:
    ends = (".so", ".o", ".pyc")
    assert not [name for name in archived if name.endswith(ends)]
    assert not [name for name in archived if name.startswith(("runs/", "build/", ".venv/"))]


def test_skips_for_reasons_that_nobody_knows_fail_in_ci(tmp_path: Path) -> None:
    shutil.copyfile(REPOSITORY / "tests" / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "test_it.py").write_text(
        "import os, pytest\ndef test_it():\n    pytest.skip(os.environ['WHY'])\n"
    )
    (tmp_path / "torch.py").write_text("set_num_threads, device = print, object\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "1", str(tmp_path)]
    for reason, strict, status in (
        ("no CUDA device", "1", 0),
        ("csrc is not built", "1", 1),
        ("csrc is not built", "0", 0),
    ):
        done = subprocess.run(
            [*command, "--rootdir", str(tmp_path)],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(tmp_path),
                "WHY": reason,
                "PCPT_KNOWN_SKIPS": strict,
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert (f"outside KNOWN_SKIPS:\n  Skipped: {reason}" in done.stdout) is bool(status)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_stages_for_a_gpu_do_not_pass_without_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(REPOSITORY / ".ci" / "gpu"), str(tmp_path), "test"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and "no torch that finds a GPU" in done.stdout, done.stdout
    assert not (tmp_path / "test.log").exists()


def test_types_are_part_of_the_package() -> None:
    assert (REPOSITORY / "pcpt" / "py.typed").is_file()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["pcpt"]


def test_the_extra_of_rooms_is_what_their_code_imports() -> None:
    code = "".join(path.read_text() for path in (REPOSITORY / "pcpt/data/rooms").glob("*.py"))
    extra = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = " ".join(extra["optional-dependencies"]["rooms"])
    modules = {"embreex": "embreex", "sklearn": "scikit-learn", "trimesh": "trimesh"}
    for module, package in modules.items():
        assert (f"from {module}" in code or f"import {module}" in code) is (package in wanted)


def test_documented_installs_find_torch() -> None:
    """pip builds in isolation unless told otherwise, and there torch is missing."""
    pages = [REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md")]
    lines = [line for page in pages for line in page.read_text().splitlines()]
    installs = [line for line in lines if "pip install" in line and ".[" in line]
    assert len(installs) >= 5
    assert [x for x in installs if "pip install --no-build-isolation -e '.[" not in x] == []
