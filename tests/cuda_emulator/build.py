"""Builds csrc/cuda for the CPU emulator beside it; ../conftest.py loads it as ``pcpt._C``.

``PCPT_EMULATE_CUDA=1 pytest tests/ops`` then runs the operators' own tests, unchanged, on the CUDA
kernels: ``torch.ops.pcpt`` on CPU tensors is the emulated kernel, and operators without a ``.cu``
fall back to their references. ``PCPT_DEBUG=1`` builds with sanitizers.
"""

import fcntl
import os
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torch.utils.cpp_extension import TORCH_LIB_PATH, include_paths

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SANITIZE = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-O1", "-g"]


def build() -> Path:
    """Compiles what is out of date, and returns the library."""
    debug = os.environ.get("PCPT_DEBUG") == "1"
    folder = ROOT / "build" / ("cuda_emulator_debug" if debug else "cuda_emulator")
    folder.mkdir(parents=True, exist_ok=True)
    sources = [HERE / "emulator.cpp"]
    sources += [*(ROOT / "csrc").glob("*.cpp"), *(ROOT / "csrc/cuda").glob("*.cu")]
    headers = [path for place in (ROOT / "csrc", HERE) for path in place.rglob("*.h")]
    newest_header = max(path.stat().st_mtime for path in headers)
    flags = SANITIZE if debug else ["-O2"]
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test workers start together
        jobs = []
        for source in sources:
            target = folder / f"{source.stem}.o"
            newest = max(source.stat().st_mtime, newest_header)
            if not target.exists() or target.stat().st_mtime < newest:
                jobs.append((source, target))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda job: _compile(*job, flags), jobs))
        library = folder / "_C.abi3.so"
        if jobs or not library.exists():
            objects = [str(folder / f"{source.stem}.o") for source in sources]
            _call("g++", "-shared", *flags, *objects, f"-L{TORCH_LIB_PATH}",
                  "-ltorch_cpu", "-ltorch", "-lc10", "-o", str(library))  # fmt: skip
    return library


def _compile(source: Path, target: Path, flags: list[str]) -> None:
    includes = [str(HERE), str(ROOT / "csrc"), *include_paths(), sysconfig.get_paths()["include"]]
    _call(
        "g++", "-c", "-std=c++17", "-fPIC", "-ffp-contract=off", *flags,
        "-DPCPT_EMULATE_CUDA", "-DTORCH_TARGET_VERSION=0x020a000000000000",
        "-Wno-unknown-pragmas", *(f"-I{path}" for path in includes),
        "-x", "c++", str(source), "-o", str(target),
    )  # fmt: skip


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


if __name__ == "__main__":
    print(build())
