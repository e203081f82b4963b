"""Pictures of labelled scenes: by class, with a legend, and by object."""

import colorsys
import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from pcpt.data.label_set import LabelSet
from pcpt.data.scene import Scene
from pcpt.viz.cloud import render_cloud
from pcpt.viz.picture import (
    BACKGROUND,
    FOREGROUND,
    drawn,
    side_by_side,
    stacked,
    unit_color,
)
from pcpt.viz.room_view import below_ceiling, room_camera

UNLABELLED = (70, 74, 84)  # of the background's hue: there, but nothing to look at
_DPI = 100
_GOLDEN = (math.sqrt(5) - 1) / 2


def semantic_colors(scene: Scene, label_set: LabelSet) -> Tensor:
    """(N, 3) uint8: the label set's colour of every point's class, dark where it has none."""
    if len(scene.semantic) and int(scene.semantic.max()) >= len(label_set):
        raise ValueError(
            f"scene {scene.name} has label {int(scene.semantic.max())}, but set {label_set.name} "
            f"only {len(label_set)} classes"
        )
    return class_colors(scene.semantic, label_set)


def class_colors(labels: Tensor, label_set: LabelSet) -> Tensor:
    """(N, 3) uint8 colours of (N,) classes, -1 is none and dark."""
    table = label_set.color_table()
    table[-1] = UNLABELLED
    return torch.from_numpy(table)[labels]


def instance_colors(instances: Tensor) -> Tensor:
    """(N, 3) uint8: a colour for every object, neighbours in number far apart in hue."""
    count = int(instances.max()) + 1 if len(instances) else 0
    table = [
        colorsys.hls_to_rgb((0.07 + i * _GOLDEN) % 1, (0.55, 0.68, 0.45)[i % 3], 0.75)
        for i in range(count)
    ]
    rows = np.array([*table, unit_color(UNLABELLED)], dtype=np.float64)
    return torch.from_numpy((rows * 255).round().astype(np.uint8))[instances]


def label_picture(scene: Scene, label_set: LabelSet, *, height: int = 520) -> Tensor:
    """A scene from above at a slant: its colours if it has some, its classes, its objects, and a
    legend of the classes that occur; (3, H, W) uint8. What lies more than 2.2 m above the lowest
    points is taken away: ceilings.

    Raises:
        ValueError: no points, or a label outside the set.
    """
    if len(scene.points) == 0:
        raise ValueError(f"scene {scene.name} has no points to draw")
    up = scene.up if scene.up is not None else torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    shown = below_ceiling(scene.points, up)
    points = scene.points[shown]
    camera = room_camera(points, up, height=height)
    views = {}
    if scene.colors is not None:
        views["colour"] = scene.colors[shown]
    views["class"] = semantic_colors(scene, label_set)[shown]
    if bool((scene.instances >= 0).any()):
        views["object"] = instance_colors(scene.instances)[shown]
    pictures = [render_cloud(points, colors, camera) for colors in views.values()]
    row = side_by_side(pictures, list(views), height=height)
    return stacked([row, legend(scene, label_set, row.shape[2])])


def legend(scene: Scene, label_set: LabelSet, width: int) -> Tensor:
    """Classes that occur, most frequent first, with their colours and shares of the points."""
    counts = torch.bincount(scene.semantic + 1, minlength=len(label_set) + 1)
    total = max(1, int(counts.sum()))
    order = [i for i in (counts[1:].argsort(descending=True)).tolist() if counts[i + 1] > 0]
    entries = [
        (label_set.colors[i], f"{label_set.names[i]}  {100 * int(counts[i + 1]) / total:.1f}%")
        for i in order
    ]
    if counts[0]:
        entries.append((UNLABELLED, f"no label  {100 * int(counts[0]) / total:.1f}%"))
    return legend_bar(entries, width)


def legend_bar(entries: Sequence[tuple[tuple[int, int, int], str]], width: int) -> Tensor:
    """Colours with their meaning, in as many rows as the width asks for; (3, H, width) uint8."""
    columns = max(1, width // 210)
    rows = max(1, -(-len(entries) // columns))
    height = 26 * rows + 20
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.patch.set_facecolor(unit_color(BACKGROUND))
    shown = figure.legend(
        handles=[Patch(color=unit_color(color), label=text) for color, text in entries],
        loc="center", ncol=columns, frameon=False, fontsize=10, handlelength=1.2,
        labelcolor=unit_color(FOREGROUND),
    )  # fmt: skip
    for text in shown.get_texts():
        text.set_parse_math(False)  # a class may be called $x$
    return drawn(figure)
