"""Where features resemble one chosen feature: heat on the image and on the cloud."""

from collections.abc import Mapping

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter
from torch import Tensor

from pcpt.geometry.camera import Camera
from pcpt.viz.cloud import render_cloud
from pcpt.viz.marks import cross_hair
from pcpt.viz.picture import (
    BACKGROUND,
    FOREGROUND,
    check_picture,
    color_bytes,
    drawn,
    filled,
    from_array,
    grid,
    resize,
    title_height,
    to_array,
    unit_color,
)

_COLOR_MAP = "turbo"
_MARK = (214, 48, 49)
_GREY = torch.tensor([0.299, 0.587, 0.114])


def similarity_to(features: Tensor, query: Tensor) -> Tensor:
    """Cosine of every feature with one.

    Args:
        features: (N, C) float, or a map (C, h, w).
        query: (C,) float.

    Returns:
        (N,) float32, or (h, w) for a map; 0 where a feature is zero.

    Raises:
        ValueError: if the channels differ.
    """
    dim = {2: 1, 3: 0}.get(features.ndim)
    if dim is None or tuple(query.shape) != (features.shape[dim],):
        raise ValueError(
            f"features are {tuple(features.shape)} and the query {tuple(query.shape)}, "
            "expected (N, C) or (C, h, w) and (C,)"
        )
    features = F.normalize(features.detach().float(), dim=dim)
    return torch.tensordot(features, F.normalize(query.detach().float(), dim=0), ([dim], [0]))


def heat_colors(values: Tensor, limits: tuple[float, float]) -> Tensor:
    """Values to colours from blue (``limits[0]`` and below) to red; shape (..., 3), uint8."""
    low, high = limits
    share = ((values.detach().cpu().double() - low) / max(high - low, 1e-12)).clamp(0, 1)
    table = matplotlib.colormaps[_COLOR_MAP](np.linspace(0.03, 0.97, 256))[:, :3]
    colors = (torch.from_numpy(table) * 255).round().to(torch.uint8)
    return colors[(share.nan_to_num(0.0) * 255).round().long()]


def heat_limits(*values: Tensor) -> tuple[float, float]:
    """A colour range for several pictures at once: the 5% and 99.5% quantiles of all values."""
    joined = torch.cat([v.detach().cpu().double().flatten() for v in values])
    if len(joined) == 0:
        return 0.0, 1.0
    low, high = np.quantile(joined.numpy(), [0.05, 0.995]).tolist()
    return low, max(high, low + 1e-6)


def heat_on_image(
    image: Tensor, values: Tensor, limits: tuple[float, float], opacity: float = 0.65
) -> Tensor:
    """The image in grey under the colours of (H, W) values; (3, H, W) uint8."""
    check_picture(image)
    if tuple(values.shape) != tuple(image.shape[1:]):
        raise ValueError(
            f"values are {tuple(values.shape)}, the image {tuple(image.shape)}; bring the map to "
            "the image's size first (upsample_map)"
        )
    grey = (image.cpu().float() * _GREY[:, None, None]).sum(0)
    heat = heat_colors(values, limits).float().permute(2, 0, 1)
    return (opacity * heat + (1 - opacity) * grey).round().clamp(0, 255).to(torch.uint8)


def heat_on_points(
    colors: Tensor, values: Tensor, limits: tuple[float, float], opacity: float = 0.75
) -> Tensor:
    """Colours of (N,) values over the grey of the points' own colours; (N, 3) uint8."""
    if values.ndim != 1 or len(values) != len(colors):
        raise ValueError(
            f"values are {tuple(values.shape)} for {len(colors)} points, expected (N,)"
        )
    grey = (color_bytes(colors).cpu().float() * _GREY).sum(1, keepdim=True)
    heat = heat_colors(values, limits).float()
    return (opacity * heat + (1 - opacity) * grey).round().clamp(0, 255).to(torch.uint8)


def similarity_picture(
    image: Tensor,
    pixel: Tensor,
    image_values: Tensor,
    points: Tensor,
    colors: Tensor,
    cloud_values: Mapping[str, Tensor],
    camera: Camera,
    *,
    point: Tensor | None = None,
    limits: tuple[float, float] | None = None,
    image_title: str = "teacher",
) -> Tensor:
    """Similarity to the feature at one pixel, on the image and on the cloud, in one colour range.

    Args:
        image: (3, H, W) uint8 RGB.
        pixel: (2,) the chosen (u, v), marked in the image.
        image_values: (H, W) float, similarity of every pixel's feature to the chosen one.
        points: (N, 3) float, metres, world frame.
        colors: (N, 3) uint8 or float in [0, 1].
        cloud_values: (N,) float for each picture of the cloud, by its title, such as
            {"untrained student": ..., "trained student": ...}.
        camera: where to see the cloud from, and the size of its pictures.
        point: (3,) metres, the point that truly belongs to the pixel, marked in the clouds.
        limits: of the colours; None: ``heat_limits`` of everything shown.
        image_title: over the image under the heat.

    Returns:
        (3, H', W') uint8: two columns, the image as it is and under the heat first, then the
        clouds, and a colour bar at the right.

    Raises:
        ValueError: if shapes disagree.
    """
    limits = limits or heat_limits(image_values, *cloud_values.values())
    height = camera.height
    width = max(1, round(image.shape[2] * height / image.shape[1]))
    scale = torch.tensor([width / image.shape[2], height / image.shape[1]], dtype=torch.float64)
    uv = (pixel.detach().cpu().double() + 0.5) * scale - 0.5
    heated = heat_on_image(image, image_values, limits)
    pictures = [_marked(resize(picture, height, width), uv) for picture in (image, heated)]
    for values in cloud_values.values():
        cloud = render_cloud(points, heat_on_points(colors, values, limits), camera)
        if point is not None:
            cloud = _marked(cloud, camera.project(point.detach().cpu().double()[None])[0][0])
        pictures.append(cloud)
    panels = grid(pictures, ["image", image_title, *cloud_values])
    bar = color_bar(limits, panels.shape[1] - title_height(height))
    top = filled(title_height(height), bar.shape[2])
    return torch.cat((panels, torch.cat((top, bar), dim=1)), dim=2)


def color_bar(limits: tuple[float, float], height: int, width: int = 96) -> Tensor:
    """(3, height, width) uint8: the colours of ``heat_colors`` with their values."""
    dpi = 100
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi)
    figure.patch.set_facecolor(unit_color(BACKGROUND))
    axes = figure.add_axes((0.16, 0.03, 0.24, 0.94))
    ramp = heat_colors(torch.linspace(*limits, 256)[:, None], limits).numpy()
    axes.imshow(ramp, origin="lower", aspect="auto", extent=(0, 1, *limits))
    axes.set_xticks([])
    axes.yaxis.set_major_formatter(FormatStrFormatter("%.2g"))
    axes.yaxis.tick_right()
    axes.tick_params(colors=unit_color(FOREGROUND), labelsize=9, length=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return drawn(figure)


def _marked(picture: Tensor, uv: Tensor) -> Tensor:
    array = to_array(picture)
    cross_hair(array, uv, max(6.0, array.shape[0] / 45), _MARK)
    return from_array(array)
