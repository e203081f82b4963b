"""The loss of PointMCD (arXiv 2207.03128): codewords of views, from points and from pictures."""

import torch
from torch import Tensor


def codeword_l1(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute difference over the channels of all valid views; 0 where there are none.

    Args:
        student: (B, V, D) floating.
        teacher: (B, V, D) floating; has no gradient.
        valid: (B, V) bool; codewords of other views may be anything.

    Raises:
        ValueError: shapes that do not fit.
    """
    if student.shape != teacher.shape or student.dim() != 3 or valid.shape != student.shape[:2]:
        raise ValueError(
            f"codewords are {tuple(student.shape)} and {tuple(teacher.shape)}, valid is "
            f"{tuple(valid.shape)}; expected (B, V, D) twice and (B, V)"
        )
    if not bool(valid.any()):
        return student.sum() * 0
    wide = torch.promote_types(student.dtype, torch.float32)
    return (student[valid].to(wide) - teacher[valid].detach().to(wide)).abs().mean()
