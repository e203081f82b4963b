"""Which part of a pretrained student is trained: all, none, its last stages, its norms, or low-rank
additions to its convolutions (LoRA, Hu et al. 2021, arXiv 2106.09685)."""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pcpt.sparse import Conv3d, ConvTranspose3d

TUNE = ("all", "head", "last:N", "bias_and_norm", "lora")
_LAST = re.compile(r"last:([1-9][0-9]*)")
_DOWN, _UP = "adapter.down", "adapter.up"  # in state dicts, beside a convolution's "weight"


class LowRank(nn.Module):
    """Adds a matrix of low rank to a convolution's weight, seen as (K * C_in, C_out).

    The K taps share the factor towards the outputs; ``up`` starts at zero, so that the network
    begins as it was. ``rank`` plays LoRA's alpha as well: the product is not scaled.

    Args:
        shape: of the weight, (K, C_in, C_out).
        rank: of the addition; above min(K * C_in, C_out) it buys nothing.
    """

    def __init__(self, shape: torch.Size, rank: int) -> None:
        super().__init__()
        taps, in_channels, out_channels = shape
        bound = 1 / math.sqrt(taps * in_channels)
        self.down = nn.Parameter(torch.empty(taps * in_channels, rank).uniform_(-bound, bound))
        self.up = nn.Parameter(torch.zeros(rank, out_channels))

    def forward(self, weight: Tensor) -> Tensor:
        """(K, C_in, C_out) -> the same with the addition."""
        return add_low_rank(weight, self.down, self.up)


def add_low_rank(weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """``weight`` (K, C_in, C_out) plus ``down`` (K * C_in, rank) times ``up`` (rank, C_out)."""
    return weight + (down @ up).view_as(weight)


def check_tune(tune: str, lora_rank: int) -> None:
    """Raises ``ValueError`` unless ``task.tune`` and ``task.lora_rank`` can be meant."""
    if tune not in TUNE[:2] + TUNE[3:] and not _LAST.fullmatch(tune):
        raise ValueError(
            f"task.tune is {tune!r}, expected one of {', '.join(TUNE)} with N a number such as 2"
        )
    if lora_rank < 1:
        raise ValueError(f"task.lora_rank is {lora_rank}, expected at least 1")


def tune_student(student: nn.Module, tune: str, lora_rank: int = 8) -> None:
    """Leaves gradients only to the part of ``student`` that ``tune`` names.

    Weights may be loaded before or after: their names stay the same. ``hold_frozen_norms`` must
    follow every ``student.train()``.

    Args:
        student: a network with a ``decoder``, such as :class:`pcpt.students.SparseUNet`.
        tune: ``all``; ``head``, nothing of the student; ``last:N``, its last N decoder stages;
            ``bias_and_norm``, biases and the scale, shift and statistics of the norms; ``lora``,
            low-rank additions to all sparse convolutions.
        lora_rank: of these additions.

    Raises:
        ValueError: another word, more stages than there are, or a student without what is named.
    """
    check_tune(tune, lora_rank)
    if tune == "all":
        return
    student.requires_grad_(False)
    if tune == "bias_and_norm":
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
        for norm in _norms(student):
            norm.requires_grad_(True)
    elif tune == "lora":
        _add_lora(student, lora_rank)
    elif tune != "head":
        _last_stages(student, tune).requires_grad_(True)


def hold_frozen_norms(student: nn.Module) -> None:
    """Puts norms that are not trained into eval mode, so that their statistics stay as well."""
    for norm in _norms(student):
        if not any(parameter.requires_grad for parameter in norm.parameters()):
            norm.eval()


def hold_untrained(student: nn.Module, tune: str) -> None:
    """As ``hold_frozen_norms``; a student of which nothing is trained (``head``) goes into eval
    mode as a whole, dropout included."""
    if tune == "head":
        student.eval()
    hold_frozen_norms(student)


@torch.no_grad()
def merge_lora(student: nn.Module) -> None:
    """Folds low-rank additions into plain weights, in place; the outputs stay the same.

    Afterwards the student has the parameters it was built with, and can be saved.
    """
    for module in student.modules():
        if isinstance(module, (Conv3d, ConvTranspose3d)) and module.adapter is not None:
            module.weight.copy_(module.adapter(module.weight))
            module.adapter = None


def merged_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict after ``merge_lora`` from the one before, of a student or of a run's method.

    A state without low-rank additions comes back as it is.
    """
    merged = {name: value for name, value in state.items() if not name.endswith((_DOWN, _UP))}
    for name, down in state.items():
        if name.endswith(_DOWN):
            conv = name.removesuffix(_DOWN)
            weight = state[f"{conv}weight"]
            merged[f"{conv}weight"] = add_low_rank(weight, down, state[f"{conv}{_UP}"])
    return merged


def _norms(student: nn.Module) -> list[nn.Module]:
    kind = nn.modules.batchnorm._BatchNorm  # base of pcpt.sparse.BatchNorm and of torch's own
    return [module for module in student.modules() if isinstance(module, kind)]


def _add_lora(student: nn.Module, rank: int) -> None:
    convolutions = [m for m in student.modules() if isinstance(m, (Conv3d, ConvTranspose3d))]
    if not convolutions:
        raise ValueError(
            f"task.tune is lora, but {type(student).__name__} has no sparse convolution"
        )
    for conv in convolutions:
        conv.adapter = LowRank(conv.weight.shape, rank).to(conv.weight)


def _last_stages(student: Any, tune: str) -> nn.ModuleList:
    match = _LAST.fullmatch(tune)
    assert match is not None
    number = int(match[1])
    stages = getattr(student, "decoder", None)
    if not isinstance(stages, nn.ModuleList) or number > len(stages):
        count = len(stages) if isinstance(stages, nn.ModuleList) else 0
        raise ValueError(
            f"task.tune is {tune}, but {type(student).__name__} has {count} decoder stages"
        )
    return stages[len(stages) - number :]
