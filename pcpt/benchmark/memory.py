"""Peak memory of a call: resident pages of this process on a CPU, torch's own count on CUDA."""

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets VmHWM back to what is resident now


def peak_bytes(call: Callable[[], object], device: torch.device) -> int | None:
    """Most memory held during a call beyond what was held before it.

    On a CPU this is physical memory, in pages, with whatever threads and libraries hold; freed
    memory that malloc kept is handed back first, so the call cannot hide in it.

    Returns:
        Bytes, or None where the system does not tell (a CPU without Linux's /proc).
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    _hand_back_freed_memory()
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
        before = _kibibytes("VmHWM")
        call()
        return max(0, _kibibytes("VmHWM") - before) * 1024
    except (OSError, KeyError):
        return None


def available_bytes(device: torch.device) -> int | None:
    """Memory that a new allocation can have, or None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return _kibibytes("MemAvailable", Path("/proc/meminfo")) * 1024
    except (OSError, KeyError):
        return None


def _kibibytes(field: str, path: Path = _STATUS) -> int:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if words[-1:] == ["kB"]}[field]


def _hand_back_freed_memory() -> None:
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
