"""PPKT's upsampling projection layer: coarse maps read at pixels, against upsampling them first."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pcpt.benchmark.baselines.upsample_index import upsample_then_index, upsampled_bytes
from pcpt.benchmark.case import Agreement, Case, Goal
from pcpt.benchmark.compare import compare_values
from pcpt.benchmark.memory import available_bytes
from pcpt.benchmark.parts import Part
from pcpt.benchmark.settings import Settings
from pcpt.benchmark.timing import Alternative
from pcpt.ops import sample_pixels

UPSAMPLE = "upsample, then index"
PAIRS = 4096
EQUAL = 1e-6


def cases(settings: Settings) -> Iterator[Case]:
    """4,096 pairs of 24 maps of 128 x 15 x 20 in images of 480 x 640, forward and with backward."""
    views, channels = settings.size(24, 2), settings.size(128, 8)
    height, width = settings.size(15, 3), settings.size(20, 4)
    size = (32 * height, 32 * width)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(views, channels, height, width, generator=generator)
    view_index = torch.randint(views, (PAIRS,), generator=generator)
    pixel = torch.rand(PAIRS, 2, generator=generator) * torch.tensor([size[1], size[0]])
    device = settings.device
    features, view_index = features.to(device), view_index.to(device)
    for backward in (False, True):
        yield _case(features, view_index, pixel.floor().to(device), size, backward, settings)


def _case(
    features: Tensor,
    view_index: Tensor,
    pixel: Tensor,
    size: tuple[int, int],
    backward: bool,
    settings: Settings,
) -> Case:
    grad = torch.randn(len(pixel), features.shape[1], device=features.device)

    def run(upsample: bool) -> Tensor:
        leaf = features.detach().requires_grad_(backward)
        call = upsample_then_index if upsample else sample_pixels
        out = call(leaf, view_index, pixel, size)
        return torch.autograd.grad(out, leaf, grad)[0] if backward else out

    expected = run(False)
    own = Alternative("pcpt", lambda number: run(False))
    shape = " x ".join(map(str, (*features.shape[:2], *size)))
    touched = 4 * len(pixel) * features.shape[1] + expected.numel()
    case = Case(
        f"{len(pixel):,} pairs of {shape}, {'forward and backward' if backward else 'forward'}",
        [own],
        moved_bytes=touched * features.element_size(),
        goals=[
            Goal("times the memory", 50, lambda result: result.memory_ratio(UPSAMPLE)),
            Goal("times the time", 20, lambda result: result.ratio(UPSAMPLE)),
        ],
        notes=["limit: four cells read a pair and channel, the output written"],
        repeats=5,
    )
    needed = upsampled_bytes(features, size) * (2 if backward else 1) * 5 // 4
    free = available_bytes(settings.device)
    if free is not None and free < needed:
        gib = f"needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free"
        case.absent.append((UPSAMPLE, f"not run: {gib}"))
        return case
    rounds = 1 if backward else 2  # it takes seconds
    case.alternatives.append(Alternative(UPSAMPLE, lambda number: run(True), most=rounds))
    found = run(True)
    # sums of a gradient have as many terms as pairs share a cell
    case.agreements[UPSAMPLE] = compare_values(found, expected, EQUAL * (10 if backward else 1))
    if not backward:
        case.agreements[UPSAMPLE] = _within(found, expected)
    return case


def _within(found: Tensor, expected: Tensor) -> Agreement:
    agreement = compare_values(found, expected, EQUAL)
    verdict = "equal to 1e-6" if agreement.agrees else "NOT equal to 1e-6"
    return replace(agreement, text=f"{agreement.text}: {verdict}")


PART = Part("upl", "feature maps read at pixels, against upsampling them first", cases)
