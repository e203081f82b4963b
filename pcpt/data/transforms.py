"""Joint 2D and 3D augmentation. In 2D the camera moves with the image; in 3D only the student's
input moves while the measured points stay, so every (point, pixel) pair remains exact."""

import math
from dataclasses import dataclass, field

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from pcpt.geometry.camera import Camera


@dataclass
class AugmentConfig:
    """Random changes of a training sample. Defaults follow PPKT (arXiv 2104.04687) and its author's
    toolkit; every range or probability can be set to its neutral value.

    Attributes:
        flip: probability of mirroring an image horizontally.
        resize: range of the factor by which an image is enlarged before a crop of the given size.
        rotate: largest rotation about the vertical, degrees.
        tilt: largest rotation about each horizontal axis, degrees.
        scale: range of the factor of each axis.
        elastic: probability of elastic distortion.
        elastic_levels: pairs (granularity, magnitude) in metres, applied one after the other.
        color_jitter: standard deviation of a gain and an offset per channel of the student's
            colours.
        color_drop: probability that a cloud's colours are all withheld from the student.
    """

    flip: float = 0.5
    resize: list[float] = field(default_factory=lambda: [1.0, 1.3])
    rotate: float = 180.0
    tilt: float = 180.0 / 64
    scale: list[float] = field(default_factory=lambda: [0.9, 1.1])
    elastic: float = 0.95
    elastic_levels: list[list[float]] = field(default_factory=lambda: [[0.2, 0.4], [0.8, 1.6]])
    color_jitter: float = 0.0
    color_drop: float = 0.0


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """One number drawn uniformly from [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def resize_image(image: Tensor, height: int, width: int) -> Tensor:
    """Resizes (3, H, W) uint8 with area averaging where it shrinks, bilinear where it grows."""
    if tuple(image.shape[1:]) == (height, width):
        return image
    shrinks = height * width < image.shape[1] * image.shape[2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    array = image.permute(1, 2, 0).contiguous().numpy()
    resized = cv2.resize(array, (width, height), interpolation=method)
    return torch.from_numpy(resized).permute(2, 0, 1).contiguous()


def fit_view(image: Tensor, camera: Camera, size: tuple[int, int]) -> tuple[Tensor, Camera]:
    """Image and camera at ``size`` (H, W), unaugmented."""
    return resize_image(image, *size), camera.resized(*size)


def augment_view(
    image: Tensor,
    camera: Camera,
    size: tuple[int, int],
    config: AugmentConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Camera]:
    """Random resize, crop to ``size`` (H, W) and horizontal flip of an image with its camera."""
    height, width = size
    factor = uniform(config.resize[0], config.resize[1], generator)
    large = (max(height, round(height * factor)), max(width, round(width * factor)))
    image, camera = fit_view(image, camera, large)
    top = int(uniform(0, large[0] - height + 1, generator))
    left = int(uniform(0, large[1] - width + 1, generator))
    image = image[:, top : top + height, left : left + width]
    camera = camera.cropped(top, left, height, width)
    if uniform(0, 1, generator) < config.flip:
        image, camera = image.flip(2), camera.flipped()
    return image.contiguous(), camera


def rotation_about(axis: int, angle: float) -> Tensor:
    """(3, 3) float64 rotation by ``angle`` radians about coordinate axis 0, 1 or 2."""
    rotation = torch.eye(3, dtype=torch.float64)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation[i, i] = rotation[j, j] = math.cos(angle)
    rotation[i, j], rotation[j, i] = -math.sin(angle), math.sin(angle)
    return rotation


def rotation_to_z(up: Tensor) -> Tensor:
    """(3, 3) float64, the smallest rotation that takes ``up`` to +z.

    Raises:
        ValueError: ``up`` is zero or not finite.
    """
    up = up.to(torch.float64)
    if not torch.isfinite(up).all() or up.norm() < 1e-9:
        raise ValueError(f"up must be a non-zero finite vector, got {up.tolist()}")
    up = up / up.norm()
    z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    cosine = float(up @ z)
    if cosine < -1 + 1e-9:
        return rotation_about(0, math.pi)
    cross = torch.linalg.cross(up, z)
    skew = torch.zeros(3, 3, dtype=torch.float64)
    skew[0, 1], skew[0, 2], skew[1, 2] = -cross[2], cross[1], -cross[0]
    skew = skew - skew.T
    return torch.eye(3, dtype=torch.float64) + skew + skew @ skew / (1 + cosine)


def elastic_distortion(
    points: Tensor, granularity: float, magnitude: float, generator: torch.Generator
) -> Tensor:
    """Moves points (N, 3) by a smooth random field: Gaussian noise on a grid of ``granularity``
    metres, box-blurred twice along each axis, interpolated trilinearly, times ``magnitude``."""
    if points.shape[0] == 0:
        return points
    low = points.amin(0) - 3 * granularity
    cells = ((points.amax(0) - low) / granularity).ceil().long() + 4
    x, y, z = (int(n) for n in cells)
    noise = torch.randn((1, 3, x, y, z), generator=generator)
    for _ in range(2):
        noise = F.avg_pool3d(noise, 3, stride=1, padding=1, count_include_pad=True)
    # grid_sample wants (z, y, x) order of coordinates in [-1, 1]
    where = 2 * (points - low) / granularity / (cells - 1) - 1
    grid = where.flip(1).view(1, -1, 1, 1, 3).to(noise.dtype)
    shift = F.grid_sample(noise, grid, align_corners=True).view(3, -1).T
    return points + shift.to(points.dtype) * magnitude


def augment_points(points: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Random elastic distortion, rotation about z, tilts and scale of z-up points (N, 3)."""
    if uniform(0, 1, generator) < config.elastic:
        for granularity, magnitude in config.elastic_levels:
            points = elastic_distortion(points, granularity, magnitude, generator)
    limits = (config.tilt, config.tilt, config.rotate)
    angles = [math.radians(uniform(-limit, limit, generator)) for limit in limits]
    turn = (
        rotation_about(2, angles[2]) @ rotation_about(1, angles[1]) @ rotation_about(0, angles[0])
    )
    factors = [uniform(config.scale[0], config.scale[1], generator) for _ in range(3)]
    turn = turn * torch.tensor(factors, dtype=torch.float64)
    return points @ turn.T.to(points.dtype)


def augment_colors(colors: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Random gain, offset and withholding of colours (N, 3) in [0, 1]; withheld means mid-grey."""
    if config.color_jitter > 0:
        gain, offset = torch.randn((2, 3), generator=generator) * config.color_jitter
        colors = (colors * (1 + gain) + offset).clamp(0, 1)
    if uniform(0, 1, generator) < config.color_drop:
        colors = torch.full_like(colors, 0.5)
    return colors
