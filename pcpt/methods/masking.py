"""Which tokens a masked autoencoder gets to see: drawn at random, or more often where a 2D network
looks."""

import torch
from torch import Tensor


def number_visible(num_tokens: int, ratio: float) -> int:
    """How many of the coarsest tokens stay visible with this share of them masked.

    Raises:
        ValueError: a ratio that leaves none visible, or none masked.
    """
    visible = num_tokens - int(ratio * num_tokens)
    if not 0 < visible < num_tokens:
        raise ValueError(
            f"method.masking.ratio is {ratio}, which leaves {visible} of {num_tokens} tokens "
            "visible; expected at least one visible and one masked"
        )
    return visible


def saliency_of_tokens(by_view: Tensor, seen: Tensor | None) -> Tensor:
    """(B, M): mean over the views, or over those that show a token.

    A token that no view shows takes the mean of its shape's others; where no token is shown at all,
    all get 0.

    Args:
        by_view: (B, V, M) saliency of each token in each view.
        seen: (B, V, M) bool; None counts every view.
    """
    if seen is None:
        return by_view.mean(1)
    count = seen.sum(1)
    mean = (by_view * seen).sum(1) / count.clamp(min=1)
    shown = count > 0
    # where none is shown all are 0 already
    rest = (mean * shown).sum(1, keepdim=True) / shown.sum(1, keepdim=True).clamp(min=1)
    return torch.where(shown, mean, rest)


def keep_odds(saliency: Tensor, temperature: float, *, standardize: bool) -> Tensor:
    """(B, M) logits of being drawn first.

    Args:
        saliency: (B, M).
        temperature: lower ones keep the salient tokens more surely.
        standardize: count saliency in standard deviations over the shape's tokens, so that a
            temperature means the same for every teacher. Tokens that are all alike get equal odds.
    """
    if standardize:
        deviation = saliency.std(1, keepdim=True, correction=0)
        scale = saliency.abs().amax(1, keepdim=True)
        alike = deviation <= 1e-6 * scale  # what rounding leaves of equal values
        centred = saliency - saliency.mean(1, keepdim=True)
        saliency = torch.where(alike, 0, centred / torch.where(alike, 1, deviation))
    return saliency / temperature


def draw_visible(logits: Tensor, count: int, noise: Tensor) -> Tensor:
    """(B, M) bool: ``count`` tokens of each shape, drawn one after the other without putting back,
    each with probability softmax(logits) among those that are left.

    Args:
        logits: (B, M).
        count: of tokens.
        noise: (B, M) uniform in [0, 1).
    """
    # the largest of logits + Gumbel noise are such a draw
    tiny = torch.finfo(noise.dtype).tiny
    order = logits - noise.clamp(min=tiny).log().neg().clamp(min=tiny).log()
    chosen = order.topk(count, dim=1).indices
    return torch.zeros_like(logits, dtype=torch.bool).scatter_(1, chosen, True)


def relative_entropy(logits: Tensor) -> Tensor:
    """(B,) entropy of softmax(logits) over that of equal odds: 1 is no guidance at all."""
    log_odds = logits.double().log_softmax(1)
    entropy = -(log_odds.exp() * log_odds).sum(1)
    return entropy / torch.tensor(float(logits.shape[1])).double().log()
