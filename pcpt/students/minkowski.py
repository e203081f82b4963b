"""Weights of MinkowskiEngine's Res16UNet family under the names and in the layout of SparseUNet."""

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from pcpt.sparse import from_minkowski_kernel

_MODULES = {"conv0p1s1": "stem.conv", "bn0.bn": "stem.norm", "final": "final"}
for _i in range(4):
    _MODULES |= {
        f"conv{_i + 1}p{2**_i}s2": f"encoder.{_i}.down.conv",
        f"bn{_i + 1}.bn": f"encoder.{_i}.down.norm",
        f"convtr{_i + 4}p{16 >> _i}s2": f"decoder.{_i}.up.conv",
        f"bntr{_i + 4}.bn": f"decoder.{_i}.up.norm",
    }
_BLOCK = re.compile(r"block([1-8])\.(\d+)\.(.+)")  # 1 to 4 go down, 5 to 8 up
_BLOCK_MODULES = {
    "conv1": "conv1.conv",
    "norm1.bn": "conv1.norm",
    "conv2": "conv2.conv",
    "norm2.bn": "conv2.norm",
    "downsample.0": "shortcut.conv",
    "downsample.1.bn": "shortcut.norm",
}


def convert_minkowski_state_dict(
    state: Mapping[str, Tensor], kernel_order: Literal["cube", "hybrid"]
) -> dict[str, Tensor]:
    """A Res16UNet state dict of MinkowskiEngine as the state dict of a :class:`SparseUNet`.

    Args:
        state: names as in PointContrast and its relatives, with or without a leading "module.".
        kernel_order: order of the taps of the residual blocks' kernels. "hybrid": trained with
            MinkowskiEngine <= 0.4 by PointContrast, ContrastiveSceneContexts or
            SpatioTemporalSegmentation. "cube": trained with 0.5, or MinkowskiEngine's own example
            networks. Shapes are the same in both, so the wrong one loads and computes nonsense.

    Returns:
        Tensors by SparseUNet's names.

    Raises:
        ValueError: another kernel order, or names that such a network does not have.
    """
    if kernel_order not in ("cube", "hybrid"):
        raise ValueError(
            f"kernel_order is {kernel_order!r}, expected 'hybrid' (trained with MinkowskiEngine "
            "<= 0.4) or 'cube' (0.5)"
        )
    converted: dict[str, Tensor] = {}
    unknown = []
    for full_name, tensor in state.items():
        module, _, leaf = full_name.removeprefix("module.").rpartition(".")
        new_module = _rename(module)
        if new_module is None:
            unknown.append(full_name)
        elif new_module == "final":  # a pointwise convolution there, a linear layer here
            leaf = {"kernel": "weight"}.get(leaf, leaf)
            if tensor.ndim == 0:
                raise ValueError(
                    f"{full_name} is a single number, expected (C_in, C_out) or (1, C)"
                )
            flat = tensor.reshape(-1, tensor.shape[-1])
            converted[f"final.{leaf}"] = flat.T.contiguous() if leaf == "weight" else flat[0]
        elif leaf == "kernel":
            hybrid = kernel_order == "hybrid" and new_module.endswith(("conv1.conv", "conv2.conv"))
            converted[f"{new_module}.weight"] = from_minkowski_kernel(tensor, hybrid=hybrid)
        else:
            converted[f"{new_module}.{leaf}"] = tensor
    if unknown:
        raise ValueError(
            f"no Res16UNet weights: {unknown[:6]} ({len(unknown)} such names); "
            "drop the tensors of other heads first"
        )
    return converted


def is_res16unet_name(name: str) -> bool:
    """Whether a tensor, by its name without prefixes, belongs to a Res16UNet."""
    return _rename(name.rpartition(".")[0]) is not None


def _rename(module: str) -> str | None:
    match = _BLOCK.fullmatch(module)
    if match is None:
        return _MODULES.get(module)
    number, block, part = int(match[1]), match[2], _BLOCK_MODULES.get(match[3])
    stage = f"encoder.{number - 1}" if number <= 4 else f"decoder.{number - 5}"
    return None if part is None else f"{stage}.blocks.{block}.{part}"
