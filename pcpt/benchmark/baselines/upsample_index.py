"""The upsampling projection layer as PPKT describes it (Liu et al., "Learning from 2D: Contrastive
Pixel-to-Point Knowledge Transfer for 3D Pretraining", arXiv 2104.04687): the coarse map is brought
to the size of the image, then read at the pixels."""

import torch.nn.functional as F
from torch import Tensor


def upsample_then_index(
    features: Tensor, view_index: Tensor, pixel: Tensor, image_size: tuple[int, int]
) -> Tensor:
    """(M, C) features at whole pixels.

    Args:
        features: (V, C, h, w).
        view_index: (M,) int64.
        pixel: (M, 2) whole numbers, (u, v).
        image_size: (H, W).
    """
    upsampled = F.interpolate(features, size=image_size, mode="bilinear", align_corners=False)
    column, row = pixel.long().unbind(1)
    return upsampled[view_index, :, row, column]


def upsampled_bytes(features: Tensor, image_size: tuple[int, int]) -> int:
    """Bytes of the upsampled maps."""
    views, channels = features.shape[:2]
    return views * channels * image_size[0] * image_size[1] * features.element_size()
