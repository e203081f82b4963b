"""Whether two outputs are the same up to rounding, in words."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pcpt.benchmark.case import Agreement

# Largest difference relative to the largest value, by the type of the arithmetic.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 5e-3, torch.float64: 1e-9}


def compare_values(
    found: Tensor, expected: Tensor, tolerance: float = TOLERANCE[torch.float32]
) -> Agreement:
    """Agreement of floating point outputs, relative to the largest expected value.

    Args:
        found: of the alternative.
        expected: of pcpt, in the same order.
        tolerance: relative to the largest value.
    """
    if found.shape != expected.shape:
        return Agreement(f"gives {tuple(found.shape)}, pcpt {tuple(expected.shape)}", False)
    if found.numel() == 0:
        return Agreement("no values")
    wide = expected.detach().double()
    scale = float(wide.abs().max()) or 1.0
    difference = float((found.detach().double() - wide).abs().max()) / scale
    # written so that nan disagrees
    text = f"max difference {difference:.1e} of the largest"
    return Agreement(text, difference <= tolerance, difference)


def compare_all(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> Agreement:
    """The worst agreement of several floating point outputs, each relative to its largest value."""
    agreements = [compare_values(a, b, tolerance) for a, b in zip(found, expected, strict=True)]
    bad = [agreement for agreement in agreements if not agreement.agrees]
    return bad[0] if bad else max(agreements, key=lambda a: a.difference)


def compare_exact(*pairs: tuple[Tensor, Tensor]) -> Agreement:
    """Agreement of outputs that must be equal, tensor by tensor."""
    for found, expected in pairs:
        if found.shape != expected.shape:
            return Agreement(f"gives {tuple(found.shape)}, pcpt {tuple(expected.shape)}", False)
    unequal = sum(int((found != expected).sum()) for found, expected in pairs)
    return Agreement("equal" if not unequal else f"{unequal} values differ", not unequal)
