"""What every 2D teacher promises: images in, a frozen feature map out, and where its cells lie."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pcpt.ops import sample_pixels

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
        config: what it was made from, where a family keeps it; with the weights it tells teachers
            apart, see ``weights_hash``.
    """

    config: Any = None
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

    def features_and_saliency(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``features``, and how much the network looks at each cell of them, in one pass.

        Optional: a family that has it says what its saliency is.

        Args:
            images: as ``features``.

        Returns:
            features: (B, C, h, w) float32, as ``features``.
            saliency: (B, h, w) float32, at least 0; comparable within an image.

        Raises:
            ValueError: this family has none.
        """
        raise ValueError(
            f"{type(self).__name__} has no saliency; take a teacher that has (clip, dinov2, lite0, "
            "resnet18, resnet34 or resnet50), or do without: method.masking.guided=false"
        )

    @torch.no_grad()
    def saliency(self, images: Tensor) -> Tensor:
        """(B, h, w) float32, at least 0: how much the network looks at each cell of its map.

        Args:
            images: (B, 3, H, W) uint8 RGB, any H and W, on the device of the teacher.

        Raises:
            ValueError: as ``forward``, or a family without.
        """
        self.check(images)
        return self.features_and_saliency(images)[1]

    @torch.no_grad()
    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What ``forward`` and ``saliency`` give, in one pass."""
        self.check(images)
        return self.features_and_saliency(images)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Feature map of images, without gradients.

        Args:
            images: (B, 3, H, W) uint8 RGB, any H and W, on the device of the teacher.

        Returns:
            (B, C, ceil(H / stride), ceil(W / stride)) float32.

        Raises:
            ValueError: another shape or dtype, or a random-weight network not yet calibrated.
        """
        self.check(images)
        return self.features(images)

    def check(self, images: Tensor) -> None:
        """Raises ``ValueError`` unless ``images`` are such as ``forward`` takes and the network is
        ready for them."""
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
            raise ValueError(
                f"images are {tuple(images.shape)} {images.dtype}; "
                f"{type(self).__name__} takes (B, 3, H, W) uint8 RGB"
            )
        if 0 in images.shape[2:]:
            raise ValueError(f"images are {tuple(images.shape)}: no pixels to look at")
        if self.needs_calibration:
            raise ValueError(
                f"{type(self).__name__} has random weights and no batch norm statistics, so its "
                "features would vanish; call calibrate(batches of training images) first"
            )

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Sets the batch norm statistics of random weights to their mean over batches of images.

        Deterministic: the same batches in the same order give the same features.

        Args:
            batches: tensors (B, 3, H, W) uint8 RGB.

        Raises:
            ValueError: nothing to calibrate, or no batch was given.
        """
        if not self.needs_calibration:
            raise ValueError(f"{type(self).__name__} needs no calibration; check needs_calibration")
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative mean over the batches
            norm.train()
        num_batches = 0
        try:
            for images in batches:
                self.features(images)
                num_batches += 1
        finally:
            self.eval()
        if num_batches == 0:
            raise ValueError("calibrate() was given no batch of images; pass at least one")
        self.needs_calibration = False
        self.freeze()

    def freeze(self) -> None:
        """Ends construction: no gradients, eval mode, batch norm folded into its convolution.

        Folding and channels-last together halve the time of ``lite0`` on a CPU. Statistics still
        to be calibrated are left alone until they are known.
        """
        self.requires_grad_(False)
        self.eval()
        if not self.needs_calibration:
            fold_batch_norm(self)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> "Teacher":
        """Keeps eval mode: statistics of a frozen network must not follow the data."""
        return super().train(False)


def fold_batch_norm(module: nn.Module) -> None:
    """Folds every BatchNorm2d that directly follows a Conv2d among a module's children into it."""
    previous: nn.Module | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and isinstance(previous, nn.Conv2d):
            assert child.running_mean is not None and child.running_var is not None
            weight, bias = fuse_conv_bn_weights(
                previous.weight,
                previous.bias,
                child.running_mean,
                child.running_var,
                child.eps,
                child.weight,
                child.bias,
            )
            previous.weight = nn.Parameter(weight, requires_grad=False)
            previous.bias = nn.Parameter(bias, requires_grad=False)
            setattr(module, name, nn.Identity().eval())
        else:
            fold_batch_norm(child)
        previous = child


def activation_energy(features: Tensor) -> Tensor:
    """(B, h, w): mean square over the channels of (B, C, h, w), the saliency of convolutional
    networks (activation-based attention of Zagoruyko and Komodakis, arXiv 1612.03928)."""
    return features.float().square().mean(1)


def sample_cells(teacher: Any, features: Tensor, view_index: Tensor, pixel: Tensor) -> Tensor:
    """Features at image pixels, interpolated between cells where the teacher says that they lie.

    Args:
        teacher: anything with the ``stride`` and ``offset`` of a ``Teacher``.
        features: (V, C, h, w), its map, or one of the same cells.
        view_index: (M,) int64.
        pixel: (M, 2), (u, v) in the image that the teacher was given.

    Returns:
        (M, C), differentiable in ``features``.
    """
    # bilinear upsampling puts cell 0 at (stride - 1) / 2; this teacher's lies at its offset
    pixel = pixel - (teacher.offset - (teacher.stride - 1) / 2)
    # and padding may give it more cells than the image has strides
    size = (features.shape[2] * teacher.stride, features.shape[3] * teacher.stride)
    return sample_pixels(features, view_index, pixel, size)


class Normalize(nn.Module):
    """(x / 255 - mean) / deviation per channel; ``x`` (B, 3, H, W) RGB in [0, 255]."""

    shift: Tensor
    scale: Tensor

    def __init__(self, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("shift", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", 255 * torch.tensor(deviation).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised float32 images, channels last."""
        images = images.float().contiguous(memory_format=torch.channels_last)
        return (images - self.shift) / self.scale


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws random weights from ``seed`` and leaves the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
