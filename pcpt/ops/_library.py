"""Loads the compiled kernels, when they were built, and says which devices kernels cover."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

try:
    from pcpt import _C  # type: ignore[attr-defined]  # noqa: F401  registers torch.ops.pcpt

    COMPILED = True
except ImportError as error:
    COMPILED = False
    warnings.warn(
        f"pcpt runs on its PyTorch references, which are slower: csrc is not built ({error}). "
        "Install a C++ compiler and run `PCPT_CPU=1 pip install --no-build-isolation -e .`, which "
        "says what keeps csrc from being built.",
        stacklevel=2,
    )


# A table made once, rather than a question to the dispatcher, which torch.compile could not trace.
_COVERED = {
    (name.removeprefix("pcpt::"), device_type)
    for name in (torch._C._dispatch_get_all_op_names() if COMPILED else [])
    for device_type, key in (("cpu", "CPU"), ("cuda", "CUDA"))
    if name.startswith("pcpt::") and torch._C._dispatch_has_kernel_for_dispatch_key(name, key)
}


_PYTHON_KERNELS = torch.library.Library("pcpt", "IMPL")


def register_kernel(name: str, device_type: str, kernel: Callable[..., Tensor]) -> None:
    """Makes a Python function, of Triton say, the kernel of an operator of csrc on one device."""
    _PYTHON_KERNELS.impl(name, kernel, device_type.upper(), allow_override=True)
    _COVERED.add((name, device_type))


def without_gradient(name: str) -> None:
    """Lets calls of an operator of csrc pass by autograd: outputs are constants, and their callers
    need not detach the arguments."""
    _PYTHON_KERNELS.impl(name, torch.library.fallthrough_kernel, "Autograd")


def has_kernel(name: str, tensor: Tensor) -> bool:
    """Whether ``torch.ops.pcpt.<name>`` has a kernel for the device of ``tensor``.

    Where it has none, the caller runs its PyTorch reference instead.
    """
    return (name, tensor.device.type) in _COVERED
