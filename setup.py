"""Builds csrc into pcpt._C: CPU kernels whenever a C++ compiler is there, CUDA when nvcc and a CUDA
torch are. Without a compiler, or with one that fails, the install still succeeds and pcpt runs on
its PyTorch references. Without torch it is refused: kernels are built against it.

PCPT_CPU=0|1   skip the extension, or demand it: what keeps it from being built is an error
PCPT_CUDA=0|1  forbid or demand CUDA kernels
PCPT_DEBUG=1   -O1 with address and undefined-behaviour sanitizers
"""

import os
import shutil
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Stable ABI: one binary for every torch >= 2.10 and every Python >= 3.11.
DEFINES = ["-DTORCH_TARGET_VERSION=0x020a000000000000"]


DEMANDED = "1" in (os.environ.get("PCPT_CPU"), os.environ.get("PCPT_CUDA"))

NO_TORCH = """
pcpt: torch cannot be imported where pcpt is built, so its kernels cannot be compiled. Either
    pip install torch "setuptools>=77" wheel ninja
    pip install --no-build-isolation -e .
or go without kernels, on plain PyTorch, slower:
    PCPT_CPU=0 pip install .
"""
FAILED = """
********************************************************************************
pcpt: csrc WAS NOT BUILT: {error}
Installing without it: pcpt runs on plain PyTorch, slower. What the compiler said
is above (pip shows it with -v). PCPT_CPU=1 makes this an error{without_cuda}.
********************************************************************************
"""


def extension():
    """The keyword arguments that make setup() build csrc, or {} when it cannot be built."""
    if os.environ.get("PCPT_CPU") == "0":
        return {}
    try:
        import torch
        from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension
    except ImportError:
        return refusal(NO_TORCH)
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        if DEMANDED:
            return refusal("pcpt: kernels are demanded, but no C++ compiler was found")
        print(FAILED.format(error="no C++ compiler found", without_cuda=""), file=sys.stderr)
        return {}

    sources = sorted(glob("csrc/*.cpp") + glob("csrc/cpu/*.cpp"))
    cuda_sources = sorted(glob("csrc/cuda/*.cu"))
    possible = torch.version.cuda is not None and CUDA_HOME is not None
    cuda = os.environ.get("PCPT_CUDA", "1" if possible and cuda_sources else "0") == "1"
    if cuda and not possible:
        return refusal("PCPT_CUDA=1, but torch was built without CUDA or nvcc was not found")

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
    )

    class BuildKernels(BuildExtension):
        """Goes on without kernels when they cannot be compiled, unless they are demanded."""

        def build_extensions(self):
            try:
                super().build_extensions()
            except Exception as error:  # torch raises RuntimeError, setuptools its own
                if DEMANDED:
                    raise
                without_cuda = ", PCPT_CUDA=0 builds those for the CPU alone" if cuda else ""
                print(FAILED.format(error=error, without_cuda=without_cuda), file=sys.stderr)
                self.extensions = []  # nothing to copy or to list

    return {
        "ext_modules": [build],
        "cmdclass": {
            "build_ext": BuildKernels.with_options(use_ninja=shutil.which("ninja") is not None)
        },
        "options": {"bdist_wheel": {"py_limited_api": "cp311"}},
    }


def refusal(message):
    """The keyword arguments that let sdist and metadata be made, but nothing be built."""

    class Refuse(build_ext):
        def run(self):
            raise SystemExit(message)

    return {"ext_modules": [Extension("pcpt._C", [])], "cmdclass": {"build_ext": Refuse}}


setup(**extension())
