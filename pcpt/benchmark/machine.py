"""What a figure depends on: machine, versions, commit, and which kernels were compiled."""

import os
import platform
import subprocess
from datetime import datetime
from pathlib import Path

import torch

import pcpt
from pcpt.benchmark.settings import Settings
from pcpt.ops._library import _COVERED, COMPILED


def describe(settings: Settings) -> dict[str, object]:
    """Date, machine, versions, commit (with a + for uncommitted changes) and compiled kernels."""
    facts: dict[str, object] = {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "threads": settings.threads,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "pcpt": pcpt.__version__,
        "commit": commit(Path(pcpt.__file__).resolve().parents[1]),
        "csrc": COMPILED,
        "kernels": sorted(name for name, where in _COVERED if where == settings.device.type),
        "device": str(settings.device),
        "quick": settings.quick,
    }
    if settings.on_gpu:
        properties = torch.cuda.get_device_properties(settings.device)
        facts["gpu"] = properties.name
        facts["gpu_memory_gib"] = round(properties.total_memory / 2**30, 1)
        facts["cuda"] = torch.version.cuda
    return facts


def cpu_model() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit(folder: Path) -> str:
    """Commit of the checkout that runs, with a + where tracked files differ; "unknown" without."""
    try:
        name = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return name + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    return done.stdout.strip()
