"""Pictures of what PointMCD compares: views, the points they show, and the space of codewords."""

from collections.abc import Mapping, Sequence

import cv2
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pcpt.viz.labels import instance_colors
from pcpt.viz.picture import (
    BACKGROUND,
    FOREGROUND,
    drawn,
    filled,
    from_array,
    resize,
    side_by_side,
    stacked,
    to_array,
    unit_color,
)

HIDDEN, VISIBLE = (64, 70, 84), (255, 196, 84)
SAME, ALIKE, OTHER = (95, 211, 141), (255, 196, 84), (255, 111, 145)
_DPI = 130


def visibility_picture(
    pictures: Tensor, pixel: Tensor, visible: Tensor, *, height: int = 180
) -> Tensor:
    """The pictures of a shape in a row, and below each its points: bright where the view shows
    them, dark where they are hidden.

    Args:
        pictures: (V, 3, H, W) uint8.
        pixel: (V, N, 2) floating, (u, v) of the points in each.
        visible: (V, N) bool.
        height: of a picture, pixels.
    """
    views = [resize(picture, height, height) for picture in pictures]
    factor = height / pictures.shape[2]
    dots = [_dots(p * factor, shown, height) for p, shown in zip(pixel, visible, strict=True)]
    return stacked([side_by_side(views, gap=6), side_by_side(dots, gap=6)], gap=6)


def _dots(pixel: Tensor, visible: Tensor, size: int) -> Tensor:
    image = to_array(filled(size, size))
    for shown, color in ((False, HIDDEN), (True, VISIBLE)):
        for u, v in pixel[visible == shown].tolist():
            cv2.circle(image, (round(u), round(v)), 1, color, -1, cv2.LINE_AA)
    return from_array(image)


def codeword_map(
    groups: Mapping[str, Tensor], label: Tensor, names: Sequence[str], *, width: int = 1280
) -> Tensor:
    """Sets of codewords side by side, all in the plane of the first set's two main directions.

    Args:
        groups: (N, D) floating by title; row i is of the same thing in all sets.
        label: (N,) int64 class that colours it, -1 for none.
        names: of the classes.
        width: pixels.

    Raises:
        ValueError: no sets, or sets that differ in shape.
    """
    sets = list(groups.values())
    if not sets or any(rows.shape != sets[0].shape for rows in sets):
        raise ValueError(f"codewords are {[tuple(s.shape) for s in sets]}, expected equal (N, D)")
    first = sets[0].double()
    mean = first.mean(0)
    _, _, axes = torch.linalg.svd(first - mean, full_matrices=False)
    figure = Figure(figsize=(width / _DPI, width / _DPI / len(sets) + 0.9), dpi=_DPI)
    figure.patch.set_facecolor(unit_color(BACKGROUND))
    colors = instance_colors(label).double() / 255
    for place, (title, rows) in enumerate(groups.items(), 1):
        panel = figure.add_subplot(1, len(sets), place)
        x, y = _two_columns((rows.double() - mean) @ axes[:2].T)
        panel.scatter(x, y, c=colors.numpy(), s=9, alpha=0.75, linewidths=0)
        panel.set_title(title, color=unit_color(FOREGROUND), fontsize=10)
        panel.set_facecolor(unit_color(BACKGROUND))
        panel.tick_params(colors=unit_color(HIDDEN), labelsize=7)
        for spine in panel.spines.values():
            spine.set_color(unit_color(HIDDEN))
    present = [index for index in label.unique().tolist() if index >= 0]
    of_class = instance_colors(torch.arange(max(present, default=0) + 1)).double() / 255
    for index in present:
        panel.scatter([], [], color=of_class[index].tolist(), s=20, label=names[index])
    if present:
        legend = figure.legend(
            loc="lower center", ncols=min(8, max(1, width // 150)), fontsize=8, frameon=False
        )
        for text in legend.get_texts():
            text.set_color(unit_color(FOREGROUND))
            text.set_parse_math(False)
    figure.subplots_adjust(left=0.05, right=0.99, top=0.9, bottom=0.24, wspace=0.16)
    return drawn(figure)


def _two_columns(rows: Tensor) -> tuple[list[float], list[float]]:
    """Of points in one, two or no dimension."""
    padded = torch.nn.functional.pad(rows, (0, 2 - rows.shape[1]))
    return padded[:, 0].tolist(), padded[:, 1].tolist()


def retrieval_picture(
    rows: Sequence[tuple[Tensor, Sequence[tuple[Tensor, str]]]], *, height: int = 130
) -> Tensor:
    """For each row the query, then what was found, best first, in frames that say how good it is.

    Args:
        rows: the query's picture, and (picture, "same", "alike" or "other") of what was found.
        height: of a picture, pixels.
    """
    colors = {"same": SAME, "alike": ALIKE, "other": OTHER}
    lines = []
    for query, found in rows:
        cells = [_framed(query, FOREGROUND, height), filled(height, height // 4)]
        cells += [_framed(picture, colors[kind], height) for picture, kind in found]
        lines.append(side_by_side(cells, gap=6))
    return stacked(lines, gap=8)


def _framed(picture: Tensor, color: tuple[int, int, int], height: int) -> Tensor:
    border = 4
    image = filled(height, height, color)
    inner = height - 2 * border
    image[:, border:-border, border:-border] = resize(picture, inner, inner)
    return image
