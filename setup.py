"""Builds csrc into pcpt._C: CPU kernels whenever a C++ compiler is there, CUDA when nvcc and a CUDA
torch are. Without torch or a compiler the install still succeeds and pcpt runs on its PyTorch
references.

PCPT_CPU=0   skip the extension          PCPT_CUDA=0|1   forbid or demand CUDA kernels
PCPT_DEBUG=1 -O1 with address and undefined-behaviour sanitizers
"""

import os
import shutil
import sys
from glob import glob

from setuptools import setup

# Stable ABI: one binary for every torch >= 2.10 and every Python >= 3.11.
DEFINES = ["-DTORCH_TARGET_VERSION=0x020a000000000000"]


def extension():
    """The keyword arguments that make setup() build csrc, or {} when it cannot be built."""
    if os.environ.get("PCPT_CPU") == "0":
        return {}
    try:
        import torch
        from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension
    except ImportError:
        print(
            "pcpt: torch is not importable while building; installing without csrc "
            "(use pip install --no-build-isolation)",
            file=sys.stderr,
        )
        return {}
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        print("pcpt: no C++ compiler found; installing without csrc", file=sys.stderr)
        return {}

    sources = sorted(glob("csrc/*.cpp") + glob("csrc/cpu/*.cpp"))
    cuda_sources = sorted(glob("csrc/cuda/*.cu"))
    possible = torch.version.cuda is not None and CUDA_HOME is not None
    cuda = os.environ.get("PCPT_CUDA", "1" if possible and cuda_sources else "0") == "1"
    if cuda and not possible:
        raise SystemExit("PCPT_CUDA=1, but torch was built without CUDA or nvcc was not found")

    # No -ffast-math and no contraction: kernels equal their references bit for bit where they can.
    # -fopenmp links the runtime that torch itself uses.
    cxx = ["-std=c++17", "-fopenmp", "-ffp-contract=off", *DEFINES]
    link = ["-fopenmp"]
    if os.environ.get("PCPT_DEBUG") == "1":
        sanitize = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
        cxx += ["-O1", "-g", *sanitize]
        link += sanitize
    else:
        cxx += ["-O3"]
    args = {"cxx": cxx}
    if cuda:
        if not torch.cuda.is_available():  # with one, torch compiles for that one
            os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "8.0;9.0+PTX")
        args["cxx"].append("-DUSE_CUDA")
        # Without contraction as well; a kernel whose sums nothing else repeats calls fmaf itself.
        args["nvcc"] = ["-O3", "-std=c++17", "-fmad=false", "-DUSE_CUDA", *DEFINES]
        sources += cuda_sources
    build = (CUDAExtension if cuda else CppExtension)(
        "pcpt._C",
        sources,
        include_dirs=[os.path.abspath("csrc")],
        extra_compile_args=args,
        extra_link_args=link,
        py_limited_api=True,
        optional=os.environ.get("PCPT_CUDA") != "1",
    )
    return {
        "ext_modules": [build],
        "cmdclass": {
            "build_ext": BuildExtension.with_options(use_ninja=shutil.which("ninja") is not None)
        },
        "options": {"bdist_wheel": {"py_limited_api": "cp311"}},
    }


setup(**extension())
