"""Visibility-aware feature projection, VAFP, of PointMCD (arXiv 2207.03128): from the embeddings of
a shape's points to one codeword for each view of it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pcpt.choices import check_choice
from pcpt.ops import gather_max
from pcpt.students.point_network import RowNorm

MASKINGS = ("exclude", "multiply")


class ViewCodes(NamedTuple):
    """Codewords of the views of B shapes.

    Attributes:
        codeword: (B, V, D).
        valid: (B, V) bool: a view in which nothing is visible has a codeword of zeros and is not.
    """

    codeword: Tensor
    valid: Tensor


def visible_max(
    embedding: Tensor, visible: Tensor, masking: str = "exclude"
) -> tuple[Tensor, Tensor]:
    """Maximum over the points that each view shows.

    Args:
        embedding: (B, M, C) of points, signed.
        visible: (B, V, M) bool.
        masking: exclude, hidden points do not take part; or multiply, the released code's product
            of features and 0/1 mask, in which a hidden point takes part with zeros: the same only
            where features are not negative.

    Returns:
        (B, V, C), zeros where a view shows nothing, differentiable in ``embedding`` (of equal
        points one has the gradient); and (B, V) bool, whether it shows anything.

    Raises:
        ValueError: shapes that do not fit, or another masking.
    """
    check_choice("masking", masking, MASKINGS)
    batch, points, channels = embedding.shape
    if visible.dim() != 3 or (visible.shape[0], visible.shape[2]) != (batch, points):
        raise ValueError(
            f"visible is {tuple(visible.shape)}, expected ({batch}, views, {points}): one for each "
            "point of each shape"
        )
    count = visible.sum(2)
    shape, _, place = visible.nonzero().unbind(1)
    ends = count.flatten().cumsum(0)
    flat = embedding.reshape(-1, channels)
    highest = gather_max(flat, shape * points + place, ends - count.flatten())
    highest = highest.view(*count.shape, channels)
    if masking == "multiply":
        any_hidden = (count < points)[..., None]
        highest = torch.where(any_hidden, highest.clamp(min=0), highest)
    return highest, count > 0


class VisibleProjection(nn.Module):
    """``g_v = FC(max over the points visible in v)``, one FC for all views: linear without bias,
    norm and, where the teacher's codewords are not negative, ReLU.

    Args:
        in_channels: of the points' embeddings.
        out_channels: of the codewords.
        masking: see ``visible_max``.
        skip_empty: leave views without visible points out; else they are projected as zeros, and
            count, as in the released code.
        relu: end with a ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        masking: str = "exclude",
        skip_empty: bool = True,
        relu: bool = True,
    ) -> None:
        super().__init__()
        check_choice("masking", masking, MASKINGS)
        self.masking, self.skip_empty = masking, skip_empty
        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = RowNorm(out_channels)
        self.relu = relu

    def forward(self, embedding: Tensor, visible: Tensor) -> ViewCodes:
        """Embeddings (B, M, C) and visibility (B, V, M) to codewords."""
        highest, valid = visible_max(embedding, visible, self.masking)
        if not self.skip_empty:
            valid = torch.ones_like(valid)
        rows = self.norm(self.linear(highest[valid]))
        if self.relu:
            rows = rows.relu()
        codeword = rows.new_zeros(*valid.shape, rows.shape[-1])
        # the mask's places in order, as the rows are
        codeword = codeword.masked_scatter(valid[..., None], rows)
        return ViewCodes(codeword, valid)
