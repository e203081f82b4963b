"""Pictures of what a masked autoencoder of shapes sees, hides and makes of it."""

from typing import Any

import torch
from torch import Tensor

from pcpt.data.shape_batch import ShapeBatch
from pcpt.geometry.camera import Camera
from pcpt.geometry.views import camera_ring, fitting_intrinsics
from pcpt.viz.cloud import render_cloud
from pcpt.viz.maps import upsample_map
from pcpt.viz.pca import pca_colors
from pcpt.viz.picture import side_by_side, stacked
from pcpt.viz.report import Figure
from pcpt.viz.similarity import heat_colors, heat_limits

HEIGHT = 240
SEEN, HIDDEN, GUESSED = (0.27, 0.51, 0.71), (0.62, 0.62, 0.62), (0.89, 0.47, 0.20)
_DISTANCE = 3.2  # of the camera; shapes have radius 1
_POINT = 0.05  # diameter of a drawn point


def masked_figures(method: Any, before: Any, batch: ShapeBatch, masked: Any) -> dict[str, Figure]:
    """The report's pictures of some shapes, by file name.

    Args:
        method: an ``I2PMAE`` in eval mode.
        before: the same untrained.
        batch: the shapes.
        masked: what ``method.mask`` made of them.
    """
    figures = {}
    if masked.knowledge is not None:
        figures["views"] = _views(batch, masked)
    figures["reconstruction"] = _reconstruction(method, before, batch, masked)
    figures["features"] = _features(method, before, batch)
    return figures


def _camera(points: Tensor) -> tuple[Camera, Tensor]:
    """A camera from above one side, and the points within the unit ball around what it looks at."""
    points = points.cpu()
    points = points - (points.amax(0) + points.amin(0)) / 2
    points = points / points.norm(dim=1).max().clamp(min=1e-6)
    pose = camera_ring(8, elevations=(25.0,), distance=_DISTANCE)[7]
    return Camera(fitting_intrinsics((HEIGHT, HEIGHT), _DISTANCE), HEIGHT, HEIGHT, pose), points


def _draw(points: Tensor, colors: Tensor) -> Tensor:
    camera, points = _camera(points)
    return render_cloud(points, colors, camera, point_size=_POINT, shading=0.3)


def _views(batch: ShapeBatch, masked: Any) -> Figure:
    knowledge, rows = masked.knowledge, []
    saliency = knowledge.saliency
    for shape in range(batch.num_samples):
        images = knowledge.views.images[shape].cpu()
        pictures = [image.expand(3, -1, -1).contiguous() for image in images]
        titles = [f"{batch.names[shape]}, view {n + 1}" for n in range(len(images))]
        if saliency is not None:
            own = saliency[shape * len(images) : (shape + 1) * len(images)].cpu()
            shown = [_over(i, s, knowledge.teacher) for i, s in zip(images, own, strict=True)]
            pictures = [p for pair in zip(pictures, shown, strict=True) for p in pair]
            titles = [t for title in titles for t in (title, "saliency")]
        rows.append(side_by_side(pictures, titles, height=HEIGHT))
    caption = "Views as the teacher sees them"
    caption += ", and how much it looks where." if saliency is not None else "."
    return Figure(stacked(rows), caption, "Views")


def _over(image: Tensor, saliency: Tensor, teacher: Any) -> Tensor:
    """Saliency in colour, as bright as the image where it shows the shape."""
    height, width = image.shape
    full = upsample_map(
        saliency[None], height, width, stride=float(teacher.stride), offset=float(teacher.offset)
    )[0]
    values = full.flatten()
    drawn = image.flatten() != image.flatten().mode().values  # what the background is not
    limits = heat_limits(values[drawn] if bool(drawn.any()) else values)
    colors = heat_colors(values, limits).view(height, width, -1).permute(2, 0, 1)
    shade = torch.where(drawn.view(height, width), 1.0, 0.35)
    return (colors.float() * shade).round().to(torch.uint8)


def _reconstruction(method: Any, before: Any, batch: ShapeBatch, masked: Any) -> Figure:
    rows = []
    guesses = {}
    for name, network in (("untrained", before), ("trained", method)):
        groups = network.predicted_groups(network.decode(batch, masked))
        guesses[name] = groups + masked.scales[method.target_scale].centers[:, :, None]
    truth = method.groups(batch.points, masked.scales)
    truth = truth + masked.scales[method.target_scale].centers[:, :, None]
    visible = masked.visible[method.target_scale]
    for shape in range(batch.num_samples):
        shown = visible[shape]
        seen = truth[shape][shown].reshape(-1, 3)
        hidden = truth[shape][~shown].reshape(-1, 3)
        # the same frame for all pictures of a row
        frame = truth[shape].reshape(-1, 3)
        low, high = frame.amin(0), frame.amax(0)
        pictures = [_pair(seen, hidden, HIDDEN), _pair(seen, hidden[:0], HIDDEN)]
        for name in guesses:
            guess = guesses[name][shape][~shown].reshape(-1, 3)
            guess = torch.minimum(torch.maximum(guess, low), high)
            pictures.append(_pair(seen, guess, GUESSED))
        titles = [batch.names[shape], "visible", *guesses]
        rows.append(side_by_side(pictures, titles, height=HEIGHT))
    caption = (
        "Token neighbourhoods that the network sees (blue) and that are hidden from it (grey), and "
        "what it takes the hidden ones for (orange); their centres are given."
    )
    return Figure(stacked(rows), caption, "Reconstruction")


def _pair(first: Tensor, second: Tensor, color: tuple[float, float, float]) -> Tensor:
    points = torch.cat([first, second]).float().cpu()
    colors = torch.tensor([SEEN, color]).repeat_interleave(
        torch.tensor([len(first), len(second)]), dim=0
    )
    return _draw(points, colors)


def _features(method: Any, before: Any, batch: ShapeBatch) -> Figure:
    columns = []
    for network in (before, method):
        features = network.student(batch.points).point.cpu()
        colors = pca_colors(features.flatten(0, 1))[0].view(*features.shape[:2], 3)
        columns.append([_draw(p, c) for p, c in zip(batch.points.cpu(), colors, strict=True)])
    rows = [
        side_by_side(row, [batch.names[i] + ", untrained", "trained"], height=HEIGHT)
        for i, row in enumerate(zip(*columns, strict=True))
    ]
    caption = (
        "The student's features at the points in colour: three principal components over all these "
        "shapes as red, green and blue. Alike colours mean alike features, from shape to shape too."
    )
    return Figure(stacked(rows), caption, "Features")
