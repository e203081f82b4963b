"""The point-pixel contrastive loss of PPKT."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pp_nce(
    points: Tensor,
    pixels: Tensor,
    temperature: float = 0.04,
    *,
    candidates: Tensor | None = None,
    target: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    r"""PP-NCE: each point must pick its own pixel among all pixels (arXiv 2104.04687, eq. 2).

    .. math:: L = -\frac{1}{M} \sum_i \log
              \frac{\exp(p_i \cdot q_i / t)}{\sum_j \exp(p_i \cdot q_j / t)}

    Args:
        points: (M, C) anchors p, unit length.
        pixels: (M, C) their positives q, unit length.
        temperature: t > 0.
        candidates: (L, C) all q that an anchor is contrasted with; ``pixels`` by default.
        target: (M,) int64, row of ``candidates`` that is each anchor's positive.
        ignore: (M, L) bool, candidates that are no negatives of an anchor, such as pixels of the
            same place; a positive is never ignored.

    Returns:
        Scalar mean over anchors; zero, with gradient, when M = 0.

    Raises:
        ValueError: shapes that differ or a temperature that is not positive.
    """
    if points.shape != pixels.shape or points.dim() != 2:
        raise ValueError(
            f"points and pixels must both be (M, C), got {tuple(points.shape)} and "
            f"{tuple(pixels.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if points.shape[0] == 0:
        # gathered candidates too: their backward is a call that every rank has to make
        used = [points, pixels] if candidates is None else [points, pixels, candidates]
        return sum((tensor.sum() for tensor in used), points.new_zeros(())) * 0
    if candidates is None:
        candidates = pixels
    if target is None:
        target = torch.arange(points.shape[0], device=points.device)
    logits = points @ candidates.T / temperature
    if ignore is not None:
        ignore = ignore.scatter(1, target[:, None], False)
        logits = logits.masked_fill(ignore, float("-inf"))
    return F.cross_entropy(logits, target)
