"""Pictures of what a network said about a scene, beside what is true."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pcpt.geometry.camera import Camera
from pcpt.viz.boxes import box_corners, draw_boxes
from pcpt.viz.cloud import render_cloud, render_colorings
from pcpt.viz.labels import UNLABELLED, class_colors, instance_colors, legend_bar
from pcpt.viz.pca import pca_colors
from pcpt.viz.picture import BACKGROUND, color_bytes, side_by_side, stacked
from pcpt.viz.report import Figure
from pcpt.viz.room_view import below_ceiling, room_camera
from pcpt.viz.scene_result import SceneResult

RIGHT = (112, 126, 146)
WRONG = (240, 68, 56)
_GREY = torch.tensor([0.299, 0.587, 0.114])


def error_colors(labels: Tensor, prediction: Tensor) -> Tensor:
    """(N, 3) uint8: red where (N,) prediction and labels differ, grey where they agree, dark where
    there is no label."""
    table = torch.tensor([RIGHT, WRONG, UNLABELLED], dtype=torch.uint8)
    return table[torch.where(labels < 0, 2, (labels != prediction).long())]


def result_figures(
    result: SceneResult, *, height: int = 420, from_above: bool = False, min_score: float = 0.3
) -> dict[str, Figure]:
    """All pictures that a result has something for, by file name.

    Args:
        result: the scene, its labels and predictions.
        height: of one view, pixels.
        from_above: look straight down instead of at a slant.
        min_score: predicted boxes below are left out.

    Returns:
        Of "segmentation", "instances", "boxes" and "features" those there is something to see of;
        none for a scene without points.
    """
    if len(result.points) == 0:
        return {}
    shown = below_ceiling(result.points, result.up)
    camera = room_camera(result.points[shown], result.up, height=height, from_above=from_above)
    figures = {
        "segmentation": _segmentation(result, shown, camera),
        "instances": _instances(result, shown, camera),
        "boxes": _boxes(result, shown, camera, min_score),
        "features": _features(result, shown, camera),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def scene_panels(
    result: SceneResult, views: Mapping[str, Tensor], shown: Tensor, camera: Camera
) -> Tensor:
    """The cloud in several colourings of (N, 3) uint8 by their titles, side by side."""
    colors = [color[shown] for color in views.values()]
    pictures = render_colorings(result.points[shown], colors, camera)
    return side_by_side(pictures, list(views), height=camera.height)


def _own_colors(result: SceneResult) -> Tensor:
    if result.colors is None:
        return torch.full((len(result.points), 3), 168, dtype=torch.uint8)
    return color_bytes(result.colors).cpu()


def _with_color(result: SceneResult) -> dict[str, Tensor]:
    return {} if result.colors is None else {"colour": _own_colors(result)}


def _segmentation(result: SceneResult, shown: Tensor, camera: Camera) -> Figure | None:
    if result.label_set is None or (result.labels is None and result.prediction is None):
        return None
    views = _with_color(result)
    caption = "The scene without its ceiling."
    if result.labels is not None:
        views["labels"] = class_colors(result.labels, result.label_set)
    if result.prediction is not None:
        views["prediction"] = class_colors(result.prediction, result.label_set)
    if result.labels is not None and result.prediction is not None:
        judged = result.labels >= 0
        wrong = ((result.labels != result.prediction) & judged).sum() / judged.sum().clamp(min=1)
        views[f"errors: {float(wrong):.1%}"] = error_colors(result.labels, result.prediction)
        caption += (
            " Errors are red, right points grey, points without a label dark; the share is of all "
            "labelled points of the scene. IoU of each class within this scene."
        )
    row = scene_panels(result, views, shown, camera)
    legend = legend_bar(_legend(result), row.shape[2])
    return Figure(stacked([row, legend]), caption, "Segmentation")


def _legend(result: SceneResult) -> list[tuple[tuple[int, int, int], str]]:
    """Classes that occur, by frequency, with their IoU, or their share where there is one side."""
    label_set = result.label_set
    assert label_set is not None
    sides = [values for values in (result.labels, result.prediction) if values is not None]
    counts = [torch.bincount(s[s >= 0], minlength=len(label_set)) for s in sides]
    entries = []
    for i in counts[0].argsort(descending=True, stable=True).tolist():
        if not any(int(count[i]) for count in counts):
            continue
        if len(sides) == 2:
            judged = sides[0] >= 0
            true, said = sides[0] == i, (sides[1] == i) & judged
            union = int((true | said).sum())
            figure = f"IoU {100 * int((true & said).sum()) / union:.0f}" if union else "no label"
        else:
            figure = f"{100 * int(counts[0][i]) / max(1, int(counts[0].sum())):.1f}%"
        entries.append((label_set.colors[i], f"{label_set.names[i]}  {figure}"))
    if any(bool((side < 0).any()) for side in sides):
        entries.append((UNLABELLED, "none"))
    return entries


def _instances(result: SceneResult, shown: Tensor, camera: Camera) -> Figure | None:
    views = {}
    for title, values in (
        ("objects", result.instances),
        ("predicted objects", result.predicted_instances),
    ):
        if values is not None and bool((values >= 0).any()):
            count = len(values[values >= 0].unique())
            views[f"{title}: {count}"] = instance_colors(values)
    if not views:
        return None
    row = scene_panels(result, _with_color(result) | views, shown, camera)
    return Figure(row, "Every object in a colour of its own; colours do not correspond.", "Objects")


def _boxes(result: SceneResult, shown: Tensor, camera: Camera, min_score: float) -> Figure | None:
    true, said, label_set = result.boxes, result.predicted_boxes, result.label_set
    if label_set is None or not (len(true) or len(said)):
        return None
    kept = torch.ones(len(said), dtype=torch.bool)
    if result.scores is not None:
        kept = result.scores.cpu() >= min_score
    ground = render_cloud(result.points[shown], _faded(_own_colors(result))[shown], camera)
    pictures, titles = [], []
    palette = torch.from_numpy(label_set.color_table())
    for title, boxes, chosen in (
        ("true boxes", true, torch.ones(len(true), dtype=torch.bool)),
        ("predicted boxes", said, kept),
    ):
        if len(boxes):
            corners = box_corners(boxes, result.up)[chosen]
            pictures.append(draw_boxes(ground, camera, corners, palette[boxes.labels[chosen]]))
            titles.append(f"{title}: {int(chosen.sum())}")
    row = side_by_side(pictures, titles, height=camera.height)
    classes = torch.cat((true.labels, said.labels[kept])).unique().tolist()
    legend = legend_bar([(label_set.colors[i], label_set.names[i]) for i in classes], row.shape[2])
    caption = "Boxes in the colours of their classes."
    if result.scores is not None:
        caption += f" Predictions with a score of at least {min_score:g}."
    return Figure(stacked([row, legend]), caption, "Boxes")


def _faded(colors: Tensor) -> Tensor:
    """Half grey and towards the background, so that lines on top stand out."""
    grey = (colors.float() * _GREY).sum(1, keepdim=True)
    ground = torch.tensor(BACKGROUND, dtype=torch.float32)
    return (0.35 * colors.float() + 0.3 * grey + 0.35 * ground).round().to(torch.uint8)


def _features(result: SceneResult, shown: Tensor, camera: Camera) -> Figure | None:
    if result.features is None or result.features.shape[1] == 0:
        return None
    (colors,) = pca_colors(result.features)
    row = scene_panels(result, _with_color(result) | {"features": colors}, shown, camera)
    return Figure(
        row,
        "Features of the points in colour: their three principal components as red, green and "
        "blue. Alike colours mean alike features.",
        "Features",
    )
