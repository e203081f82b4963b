"""Feature maps brought to picture size, each cell where its network says that it lies."""

import torch
import torch.nn.functional as F
from torch import Tensor


def map_rows(features: Tensor) -> Tensor:
    """(C, h, w) map to (h * w, C) rows, row by row through the map."""
    if features.ndim != 3:
        raise ValueError(f"feature map is {tuple(features.shape)}, expected (C, h, w)")
    return features.flatten(1).T


def upsample_map(
    features: Tensor,
    height: int,
    width: int,
    *,
    stride: float | None = None,
    offset: float | None = None,
) -> Tensor:
    """Bilinear upsampling of a map to an image; beyond the outermost cells it stays constant.

    Args:
        features: (C, h, w) float.
        height: of the image, pixels.
        width: of the image, pixels.
        stride: pixels from cell to cell. None: the image's size over the map's.
        offset: pixel coordinate of the centre of cell (0, 0). None: (stride - 1) / 2.

    Returns:
        (C, height, width) float.

    Raises:
        ValueError: if the map is not (C, h, w) with at least one cell.
    """
    if features.ndim != 3 or features.numel() == 0:
        raise ValueError(f"feature map is {tuple(features.shape)}, expected (C, h, w), not empty")
    axes = []
    for pixels, cells in ((height, features.shape[1]), (width, features.shape[2])):
        step = pixels / cells if stride is None else stride
        start = (step - 1) / 2 if offset is None else offset
        cell = (torch.arange(pixels, device=features.device) - start) / step
        axes.append(2 * cell / max(cells - 1, 1) - 1)  # grid_sample: first cell -1, last +1
    grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), dim=2)[None]
    sampled = F.grid_sample(
        features.float()[None], grid.float(), padding_mode="border", align_corners=True
    )
    return sampled[0]
