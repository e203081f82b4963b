"""What every 2D teacher promises: images in, a frozen feature map out, and where its cells lie."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

RANDOM = "random"  # the value of ``weights`` that asks for the untrained control


class Teacher(nn.Module):
    """A frozen 2D network; a family implements ``features`` and sets the attributes.

    It has no trainable parameter, stays in eval mode whatever ``train`` is told, and ``forward``
    records no gradients. Cell (row i, column j) of the feature map is centred on the image pixel
    (row ``offset + stride * i``, column ``offset + stride * j``), pixel centres at integers, at
    every image size. Upsampling as ``F.interpolate`` does takes that centre to lie at
    ``(stride - 1) / 2``: sample the map at ``pixel + (stride - 1) / 2 - offset`` in an image of
    ``(h * stride, w * stride)`` pixels.

    Attributes:
        channels: C of the feature map.
        stride: image pixels from one cell to the next.
        offset: image pixel of the centre of cell (0, 0), the same for rows and columns.
        needs_calibration: batch norm statistics are still missing; see ``calibrate``.
    """

    channels: int
    stride: int
    offset: float
    needs_calibration: bool = False

    def features(self, images: Tensor) -> Tensor:
        """Feature map of raw images, differentiable in them; ``forward`` is this without gradients.

        Args:
            images: (B, 3, H, W) uint8 or float RGB in [0, 255], any H and W.

        Returns:
            (B, C, ceil(H / stride), ceil(W / stride)) float32.
        """
        raise TypeError(f"{type(self).__name__} must define features(images)")

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Feature map of images.

        Args:
            images: (B, 3, H, W) uint8 RGB, any H and W, on the device of the teacher.

        Returns:
            (B, C, ceil(H / stride), ceil(W / stride)) float32.

        Raises:
            ValueError: another shape or dtype, or a random-weight network not yet calibrated.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
            raise ValueError(
                f"images are {tuple(images.shape)} {images.dtype}; "
                f"{type(self).__name__} takes (B, 3, H, W) uint8 RGB"
            )
        if 0 in images.shape[2:]:
            raise ValueError(f"images are {tuple(images.shape)}: no pixels to look at")
        return self.features(images)

    def train(self, mode: bool = True) -> "Teacher":
        """Keeps eval mode: statistics of a frozen network must not follow the data."""
        return super().train(False)
