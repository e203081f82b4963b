"""Checkpoints of MinkowskiEngine's Res16UNet zoos: which network one holds, in which tap order, and
its weights under the names of SparseUNet."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from pcpt.choices import check_choice
from pcpt.students.kernel_order import KERNEL_ORDERS, KernelOrder, guess_kernel_order
from pcpt.students.minkowski import convert_minkowski_state_dict, is_res16unet_name
from pcpt.students.sparse_unet import NUM_LEVELS, VARIANTS, SparseUNet
from pcpt.students.weights import compare_state

_STEM = "conv0p1s1.kernel"
_ORDERED = re.compile(r"block[1-8]\.\d+\.conv[12]\.kernel")  # in hybrid order in old networks
_ADVICE = (
    "say it: init_kernel_order=hybrid (--kernel-order hybrid when exporting) for networks trained "
    "with MinkowskiEngine <= 0.4, as the released ones of PointContrast, ContrastiveSceneContexts "
    "and SpatioTemporalSegmentation, or cube for those trained with 0.5 and for MinkowskiEngine's "
    "own examples"
)
COLOR_NOTE = (
    "colours: pcpt feeds [-1, 1]; ContrastiveSceneContexts and SpatioTemporalSegmentation were "
    "trained on [-0.5, 0.5], PointContrast's pretraining on ones. Training mends that in the first "
    "batch norm; for frozen features export with --color-range 0.5"
)


@dataclass(frozen=True)
class MinkowskiWeights:
    """The Res16UNet within a state dict.

    Attributes:
        state: its tensors by their names in Res16UNet.
        others: full names of all other tensors, such as further heads'.
        prefix: what stood before the names, such as "module.".
    """

    state: dict[str, Tensor]
    others: list[str]
    prefix: str


@dataclass(frozen=True)
class Converted:
    """Weights by SparseUNet's names.

    Attributes:
        state: the tensors.
        order: of the blocks' kernels, that was taken.
        reason: why.
        warning: what speaks against it, or "".
    """

    state: dict[str, Tensor]
    order: KernelOrder
    reason: str
    warning: str

    @property
    def notes(self) -> list[str]:
        """Order, reason and warning for people."""
        told = f"kernel order: {self.order}, {self.reason}"
        return [told, f"WARNING: {self.warning}"] if self.warning else [told]


def find_minkowski_weights(state: Mapping[str, Tensor]) -> MinkowskiWeights | None:
    """The Res16UNet in a state dict, whatever stands before its names; None if there is none.

    Raises:
        ValueError: more than one.
    """
    stems = [name for name in state if name == _STEM or name.endswith("." + _STEM)]
    if not stems:
        return None
    if len(stems) > 1:
        raise ValueError(f"the state dict holds {len(stems)} networks ({', '.join(stems[:4])})")
    prefix = stems[0].removesuffix(_STEM)
    own = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and is_res16unet_name(name.removeprefix(prefix))
    }
    return MinkowskiWeights(own, [n for n in state if n.removeprefix(prefix) not in own], prefix)


def student_config_of(
    state: Mapping[str, Tensor], *, voxel_size: float = 0.025
) -> SparseUNet.Config:
    """The config of the SparseUNet that a Res16UNet's weights fit, read off their shapes.

    Args:
        state: tensors of Res16UNet14, 18, 34 or of other widths and depths, as
            ``find_minkowski_weights`` gives them.
        voxel_size: metres; nothing in the weights tells it.

    Raises:
        ValueError: not the weights of a whole Res16UNet of two-convolution blocks.
    """
    if any(".conv3." in name for name in state):
        raise ValueError("the blocks have three convolutions (Res16UNet50 or 101); two are known")
    stem, final = _kernel(state, _STEM), state.get("final.kernel")
    planes = [_kernel(state, f"block{i}.0.conv2.kernel").shape[2] for i in range(1, 9)]
    blocks = [_count_blocks(state, i) for i in range(1, 2 * NUM_LEVELS + 1)]
    named = {name for name, known in VARIANTS.items() if known == (tuple(planes), tuple(blocks))}
    config = SparseUNet.Config(
        variant=min(named) if named else "res16unet34c",
        in_channels=stem.shape[1],
        out_channels=0 if final is None else final.shape[-1],
        stem_kernel=round(len(stem) ** (1 / 3)),
        voxel_size=voxel_size,
        planes=None if named else planes,
        blocks=None if named else blocks,
        stem_channels=stem.shape[2],
    )
    with torch.device("meta"):
        expected = SparseUNet(config).state_dict()
    found = convert_minkowski_state_dict(state, "cube")
    counters = {n: t for n, t in expected.items() if n.endswith("num_batches_tracked")}
    compare_state(expected, {**counters, **found}, "the checkpoint")
    return config


def convert_minkowski_weights(weights: MinkowskiWeights, kernel_order: str = "auto") -> Converted:
    """The weights under SparseUNet's names, with their taps in its order.

    Args:
        weights: of any part of a Res16UNet.
        kernel_order: of the residual blocks' kernels: cube or hybrid, see
            ``convert_minkowski_state_dict``; auto tells it from the kernels, see
            ``guess_kernel_order``.

    Raises:
        ValueError: "auto" and the kernels do not tell; another word.
    """
    check_choice("kernel_order", kernel_order, KERNEL_ORDERS)
    guess = guess_kernel_order(t for name, t in weights.state.items() if _ORDERED.fullmatch(name))
    warning = ""
    if kernel_order == "auto":
        if guess.order is None:
            raise ValueError(f"the order of the kernels' taps cannot be told ({guess}); {_ADVICE}")
        order, reason = guess.order, f"told from the kernels: {guess}"
    else:
        order, reason = cast(KernelOrder, kernel_order), "as asked"
        if guess.order not in (None, order):
            warning = f"{order} order was asked for, but the kernels look {guess.order} ({guess})"
    return Converted(convert_minkowski_state_dict(weights.state, order), order, reason, warning)


def _kernel(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise ValueError(f"no whole Res16UNet: {name} is missing")
    kernel = state[name]
    if kernel.ndim == 2:  # of size 1
        kernel = kernel[None]
    if kernel.ndim != 3:
        raise ValueError(f"{name} is {tuple(kernel.shape)}, expected (taps, C_in, C_out)")
    return kernel


def _count_blocks(state: Mapping[str, Tensor], stage: int) -> int:
    numbers = {name.split(".")[1] for name in state if name.startswith(f"block{stage}.")}
    return len(numbers)
