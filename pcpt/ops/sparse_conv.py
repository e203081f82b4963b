"""Sparse convolution over a kernel map: the one product behind every convolution of pcpt.sparse.

Submanifold, strided and transposed layers differ only in the map they pass. On CPU the kernel is
csrc/cpu/sparse_conv.cpp, on CUDA it is Triton's (``_sparse_conv_triton``), which also takes a plan.
"""

import importlib.util
from typing import Any

import torch
from torch import Tensor

from pcpt.ops._library import COMPILED, has_kernel, register_kernel
from pcpt.ops._sparse_plan import sparse_plan
from pcpt.ops.kernel_map import invert_kernel_map

HALF_TYPES = (torch.bfloat16, torch.float16)
# What the kernel of each device multiplies; the rest goes through the reference.
KERNEL_TYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16),
    "cuda": (torch.float32, *HALF_TYPES),
}

# Whether the CPU has matrix units for bfloat16 (AMX), which make it the fastest type.
CPU_BFLOAT16 = (
    COMPILED
    and torch._C._dispatch_has_kernel_for_dispatch_key(
        "pcpt::multiplies_bf16", "CompositeExplicitAutograd"
    )
    and torch.ops.pcpt.multiplies_bf16()
)


def sparse_conv(
    features: Tensor,
    weight: Tensor,
    neighbors: Tensor,
    inverse: Tensor | None = None,
    *,
    plan: Tensor | None = None,
    inverse_plan: Tensor | None = None,
) -> Tensor:
    """Sums ``features[neighbors[k, o]] @ weight[k]`` over the taps k that meet a voxel.

    Args:
        features: (N_in, C_in) float32, float64 or a half type, which is summed in float32.
        weight: (K, C_in, C_out), of the same type. Under autocast both are cast to its type, on
            CPU only where bfloat16 is the faster one.
        neighbors: (K, N_out) int32 from :func:`pcpt.ops.kernel_map`, -1 where there is no voxel.
        inverse: (K, N_in) int32, the map read from the input side
            (:func:`pcpt.ops.kernel_map.invert_kernel_map`); made here if a gradient needs it and it
            is not given.
        plan: of ``neighbors``, where :func:`needs_plan`; made here if it is not given.
        inverse_plan: of ``inverse``, likewise.

    Returns:
        (N_out, C_out); differentiable in ``features`` and ``weight``. The result does not depend on
        the number of threads.

    Raises:
        ValueError: shapes or types that do not fit together.
    """
    _check(features, weight, neighbors, inverse)
    features, weight = _common_type(features, weight)
    if not has_kernel("sparse_conv", features) or not _multiplies(features):
        return _reference(features, weight, neighbors)
    with_gradient = torch.is_grad_enabled() and (features.requires_grad or weight.requires_grad)
    if inverse is None:
        if with_gradient:
            inverse = invert_kernel_map(neighbors, len(features))
        else:
            inverse = neighbors.new_empty(len(neighbors), 0)  # never read
    if needs_plan(features):
        if plan is None:
            plan = sparse_plan(neighbors, len(features))
        if inverse_plan is None and with_gradient:
            inverse_plan = sparse_plan(inverse, neighbors.shape[1])
    return torch.ops.pcpt.sparse_conv(features, weight, neighbors, inverse, plan, inverse_plan)


def needs_plan(tensor: Tensor) -> bool:
    """Whether the kernel for this tensor's device walks a kernel map by a plan."""
    return tensor.device.type in _PLANNED


def _multiplies(features: Tensor) -> bool:
    return features.dtype in KERNEL_TYPES.get(features.device.type, ())


def _check(features: Tensor, weight: Tensor, neighbors: Tensor, inverse: Tensor | None) -> None:
    if features.ndim != 2 or weight.ndim != 3 or features.shape[1] != weight.shape[1]:
        raise ValueError(
            f"features {tuple(features.shape)} and weight {tuple(weight.shape)} do not fit; "
            "expected (N_in, C_in) and (K, C_in, C_out)"
        )
    if neighbors.ndim != 2 or len(neighbors) != len(weight) or neighbors.dtype != torch.int32:
        raise ValueError(
            f"neighbors must be ({len(weight)}, N_out) int32 to fit the weight, got "
            f"{tuple(neighbors.shape)} {neighbors.dtype}"
        )
    expected = (len(weight), len(features))
    if inverse is not None and (inverse.shape != expected or inverse.dtype != torch.int32):
        raise ValueError(
            f"inverse must be {expected} int32, got {tuple(inverse.shape)} {inverse.dtype}"
        )


def _common_type(features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Autocast chooses; on a CPU without units for bfloat16 the float32 kernel is the fast one."""
    device = features.device.type
    if device in ("cpu", "cuda") and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        if device == "cpu" and not (dtype == torch.bfloat16 and CPU_BFLOAT16):
            dtype = torch.float32
        if torch.float64 not in (features.dtype, weight.dtype):
            return features.to(dtype), weight.to(dtype)
    if features.dtype != weight.dtype or not features.is_floating_point():
        raise ValueError(
            f"features and weight must share a floating type, got {features.dtype} and "
            f"{weight.dtype}; convert one of them with .to()"
        )
    return features, weight


def _reference(features: Tensor, weight: Tensor, neighbors: Tensor) -> Tensor:
    sum_type = torch.promote_types(features.dtype, torch.float32)
    out = features.new_zeros((neighbors.shape[1], weight.shape[2]), dtype=sum_type)
    wide = features.to(sum_type)  # once for all taps: there their gradients are added up
    for rows, tap in zip(neighbors, weight.to(sum_type)):
        present = (rows >= 0).nonzero().squeeze(1)
        # to: autocast multiplies in its own type
        out = out.index_add(0, present, (wide[rows[present]] @ tap).to(sum_type))
    return out.to(features.dtype)


_PLANNED: set[str] = set()  # device types

if COMPILED:
    Maps = tuple[Tensor, Tensor, Tensor | None, Tensor | None]  # and their plans

    @torch.library.register_fake("pcpt::sparse_conv")
    def _fake_conv(
        features: Tensor,
        weight: Tensor,
        neighbors: Tensor,
        inverse: Tensor,
        plan: Tensor | None = None,
        inverse_plan: Tensor | None = None,
    ) -> Tensor:
        return features.new_empty(neighbors.shape[1], weight.shape[2])

    @torch.library.register_fake("pcpt::sparse_conv_grad_weight")
    def _fake_grad_weight(
        features: Tensor,
        grad: Tensor,
        neighbors: Tensor,
        inverse: Tensor,
        plan: Tensor | None = None,
        inverse_plan: Tensor | None = None,
    ) -> Tensor:
        return features.new_empty(neighbors.shape[0], features.shape[1], grad.shape[1])

    # Both products are bilinear, and each is made of the other's gradients:
    #   out = sum_k X[neighbors_k] W_k,   grad W_k = X[neighbors_k]^T grad
    _conv = torch.ops.pcpt.sparse_conv
    _grad_weight = torch.ops.pcpt.sparse_conv_grad_weight

    def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    def _swapped(maps: Maps) -> Maps:
        neighbors, inverse, plan, inverse_plan = maps
        return inverse, neighbors, inverse_plan, plan

    def _conv_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, *maps = ctx.saved_tensors
        to_features, to_weight = ctx.needs_input_grad[:2]
        return (
            _conv(grad, weight.transpose(1, 2), *_swapped(maps)) if to_features else None,
            _grad_weight(features, grad, *maps) if to_weight else None,
            *[None] * len(maps),
        )

    def _grad_weight_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, grad_out, *maps = ctx.saved_tensors
        to_features, to_grad_out = ctx.needs_input_grad[:2]
        return (
            _conv(grad_out, grad.transpose(1, 2), *_swapped(maps)) if to_features else None,
            _conv(features, grad, *maps) if to_grad_out else None,
            *[None] * len(maps),
        )

    torch.library.register_autograd("pcpt::sparse_conv", _conv_backward, setup_context=_save)
    torch.library.register_autograd(
        "pcpt::sparse_conv_grad_weight", _grad_weight_backward, setup_context=_save
    )

    def use_triton(device_type: str) -> None:
        """Makes Triton's kernels those of a device: "cuda", or "cpu" under its interpreter."""

        def conv(*args: Any) -> Tensor:
            from pcpt.ops import _sparse_conv_triton  # here: importing triton takes a while

            return _sparse_conv_triton.sparse_conv(*args)

        def grad_weight(*args: Any) -> Tensor:
            from pcpt.ops import _sparse_conv_triton

            return _sparse_conv_triton.sparse_conv_grad_weight(*args)

        register_kernel("sparse_conv", device_type, conv)
        register_kernel("sparse_conv_grad_weight", device_type, grad_weight)
        _PLANNED.add(device_type)

    if importlib.util.find_spec("triton") is not None:
        use_triton("cuda")
