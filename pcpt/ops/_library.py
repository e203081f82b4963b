"""Loads the compiled kernels, when they were built, and says which devices they cover."""

import warnings

import torch
from torch import Tensor

try:
    from pcpt import _C  # type: ignore[attr-defined]  # noqa: F401  registers torch.ops.pcpt

    COMPILED = True
except ImportError as error:
    COMPILED = False
    warnings.warn(
        f"pcpt runs on its PyTorch references, which are slower: csrc is not built ({error}). "
        "Install a C++ compiler and run `pip install --no-build-isolation .` again.",
        stacklevel=2,
    )


@torch.compiler.assume_constant_result
def _covers(name: str, device_type: str) -> bool:
    key = {"cpu": "CPU", "cuda": "CUDA", "meta": "Meta"}.get(device_type)
    return (
        COMPILED
        and key is not None
        and torch._C._dispatch_has_kernel_for_dispatch_key(f"pcpt::{name}", key)
    )


def has_kernel(name: str, tensor: Tensor) -> bool:
    """Whether ``torch.ops.pcpt.<name>`` has a compiled kernel for the device of ``tensor``.

    Where it has none, the caller runs its PyTorch reference instead.
    """
    return _covers(name, tensor.device.type)
