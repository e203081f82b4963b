"""Feature maps of the 2D network read at pixels: the upsampling of PPKT's projection layer without
the upsampled map, which at 24 x 128 x 480 x 640 would take 3.8 GB."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding

from pcpt.ops._library import COMPILED, has_kernel
from pcpt.ops._projection import check_size

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)  # of the kernels


def sample_pixels(
    features: Tensor,
    view_index: Tensor,
    pixel: Tensor,
    image_size: tuple[int, int],
    align_corners: bool = False,
) -> Tensor:
    """Features of V images at M of their pixels, upsampled bilinearly from h x w cells.

    Equals ``F.interpolate(features, image_size, mode="bilinear", align_corners=align_corners)``
    read at ``[view, :, v, u]`` where the pixel is whole, and the same formula in between; beyond
    the centres of the outer cells the value stays that of the edge. Differentiable with respect to
    ``features`` (any number of times); ``pixel`` is a constant. Sums are made in a fixed order.

    Args:
        features: (V, C, h, w) floating.
        view_index: (M,) int32 or int64, in 0..V-1.
        pixel: (M, 2) floating, (u, v) in pixels of the image; u is the column.
        image_size: (H, W) of the images that the pixels refer to.
        align_corners: as of ``torch.nn.functional.interpolate``.

    Returns:
        (M, C) in the dtype of ``features``.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, a view that does not exist, a pixel
            that is not finite, an empty image or map, a map of 2^31 cells or more.

    Example:
        >>> features = torch.tensor([[[[0.0, 4.0]]]])  # one row of two cells
        >>> pixel = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.5, 0.0], [3.0, 0.0]])
        >>> sample_pixels(features, torch.zeros(4, dtype=torch.long), pixel, (1, 4)).squeeze(1)
        tensor([0., 1., 2., 4.])
    """
    _check(features, view_index, pixel, image_size)
    image_height, image_width = int(image_size[0]), int(image_size[1])
    # Weights are computed in the features' precision, but never below float32.
    precision = torch.float64 if features.dtype == torch.float64 else torch.float32
    view_index = view_index.long().contiguous()
    pixel = pixel.detach().to(precision).contiguous()
    if features.dtype in _DTYPES and has_kernel("sample_pixels", features):
        return torch.ops.pcpt.sample_pixels(
            features.contiguous(), view_index, pixel, image_height, image_width, align_corners
        )
    return _reference(features, view_index, pixel, image_height, image_width, align_corners)


def _check(
    features: Tensor, view_index: Tensor, pixel: Tensor, image_size: tuple[int, int]
) -> None:
    if not isinstance(features, Tensor):
        raise ValueError(
            f"features are a {type(features).__name__}, expected one tensor (V, C, h, w): stack "
            "maps of one size, and sample maps of other sizes in calls of their own"
        )
    if features.dim() != 4 or not features.is_floating_point():
        raise ValueError(
            f"features are {features.dtype} {tuple(features.shape)}, expected floating (V, C, h, w)"
        )
    if view_index.dim() != 1 or view_index.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"view_index is {view_index.dtype} {tuple(view_index.shape)}, expected int64 (M,)"
        )
    if tuple(pixel.shape) != (len(view_index), 2) or not pixel.is_floating_point():
        raise ValueError(
            f"pixel is {pixel.dtype} {tuple(pixel.shape)}, expected floating "
            f"{(len(view_index), 2)}: one (u, v) for each view_index"
        )
    if not features.device == view_index.device == pixel.device:
        raise ValueError(
            f"features are on {features.device}, view_index on {view_index.device}, pixel on "
            f"{pixel.device}; move them to one device"
        )
    if len(image_size) != 2 or min(image_size) < 1 or min(features.shape[2:]) < 1:
        raise ValueError(
            f"image_size is {tuple(image_size)} and the map {tuple(features.shape[2:])}; both must "
            "be (height, width), at least 1 x 1"
        )
    check_size(features.shape[2:], "size of the feature maps")
    if len(view_index) == 0:
        return
    # One answer for all pairs, as on a GPU each is waited for.
    good = (view_index >= 0) & (view_index < len(features)) & pixel.isfinite().all(1)
    if bool(good.all()):
        return
    low, high = (int(bound) for bound in view_index.aminmax())
    if low < 0 or high >= len(features):
        raise ValueError(
            f"view_index reaches from {low} to {high}, but features hold {len(features)} views"
        )
    raise ValueError("pixel holds inf or nan; keep only points in front of the camera")


def _reference(
    features: Tensor,
    view_index: Tensor,
    pixel: Tensor,
    image_height: int,
    image_width: int,
    align_corners: bool,
) -> Tensor:
    height, width = features.shape[2:]
    left, right, u = _taps(pixel[:, 0], width, image_width, align_corners)
    top, bottom, v = _taps(pixel[:, 1], height, image_height, align_corners)

    # One row a cell. Embedding, because its backward adds in a fixed order and indexing's does not;
    # cast first, so that gradients of half precision add up in float32.
    cells = features.to(pixel.dtype).permute(0, 2, 3, 1).flatten(0, 2)

    def cell(row: Tensor, column: Tensor) -> Tensor:
        return embedding((view_index * height + row) * width + column, cells)

    upper = (1 - u) * cell(top, left) + u * cell(top, right)
    lower = (1 - u) * cell(bottom, left) + u * cell(bottom, right)
    return ((1 - v) * upper + v * lower).to(features.dtype)


def _taps(
    pixel: Tensor, cells: int, pixels: int, align_corners: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis the two cells read, (M,) int64 each, and the weight of the second, (M, 1)."""
    if align_corners:
        source = pixel * ((cells - 1) / (pixels - 1) if pixels > 1 else 0.0)
    else:
        source = (pixel + 0.5) * (cells / pixels) - 0.5
    source = source.clamp(0, cells - 1)
    first = source.long().clamp(max=cells - 1)  # float32 may not hold the last, and rounds it up
    return first, (first + 1).clamp(max=cells - 1), (source - first)[:, None]


if COMPILED:

    @torch.library.register_fake("pcpt::sample_pixels")
    def _fake(features: Tensor, view_index: Tensor, *_: object) -> Tensor:
        return features.new_empty(view_index.shape[0], features.shape[1])

    @torch.library.register_fake("pcpt::sample_pixels_backward")
    def _fake_backward(
        grad: Tensor,
        view_index: Tensor,
        pixel: Tensor,
        num_views: int,
        height: int,
        width: int,
        *_: object,
    ) -> Tensor:
        return grad.new_empty(num_views, grad.shape[1], height, width)

    def _setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
        features, view_index, pixel, *ctx.image = inputs
        ctx.save_for_backward(view_index, pixel)
        ctx.map = (features.shape[0], *features.shape[2:])

    def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_features = torch.ops.pcpt.sample_pixels_backward(
            grad.contiguous(), *ctx.saved_tensors, *ctx.map, *ctx.image
        )
        return grad_features, None, None, None, None, None

    # The operator is linear, so the derivative of its backward is the operator itself.
    def _setup_backward(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, view_index, pixel, _, _, _, *ctx.image = inputs
        ctx.save_for_backward(view_index, pixel)

    def _double_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        sampled = torch.ops.pcpt.sample_pixels(grad.contiguous(), *ctx.saved_tensors, *ctx.image)
        return sampled, *[None] * 8

    torch.library.register_autograd("pcpt::sample_pixels", _backward, setup_context=_setup)
    torch.library.register_autograd(
        "pcpt::sample_pixels_backward", _double_backward, setup_context=_setup_backward
    )
