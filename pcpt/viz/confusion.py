"""Confusion of classes as a picture: which class is taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from pcpt.viz.picture import BACKGROUND, FOREGROUND, drawn, unit_color

_DPI = 100
_EMPTY = (34, 37, 45)
_MOST_NUMBERS = 30  # classes up to which cells hold their percentage
_RAMP = LinearSegmentedColormap.from_list(
    "pcpt", [unit_color(_EMPTY), (0.16, 0.33, 0.62), (0.36, 0.62, 0.98), (0.93, 0.96, 1.0)]
)


def confusion_picture(confusion: Tensor, names: Sequence[str]) -> Tensor:
    """A confusion matrix, every row divided by its sum; cells in percent up to 30 classes.

    Rows are the classes that occur, columns those that occur or were predicted.

    Args:
        confusion: (C, C) counts, true class by predicted class.
        names: of the C classes.

    Returns:
        (3, H, W) uint8, larger for more classes.

    Raises:
        ValueError: a matrix that is not square or has counts below 0, not as many names, or no
            count at all.
    """
    counts = confusion.detach().cpu().double().numpy()
    if counts.ndim != 2 or counts.shape != (len(names), len(names)):
        raise ValueError(
            f"confusion is {counts.shape} for {len(names)} names, expected one row and one column "
            "for each"
        )
    if not (counts >= 0).all():
        raise ValueError("confusion holds counts below 0 or not finite")
    true = np.flatnonzero(counts.sum(1))
    said = np.flatnonzero(counts.sum(0) + counts.sum(1))
    if len(true) == 0:
        raise ValueError("confusion counts nothing: no labelled point was predicted")
    counts = counts[np.ix_(true, said)]
    share = counts / counts.sum(1, keepdims=True)
    return _draw(
        share, [_short(names[i]) for i in true.tolist()], [_short(names[i]) for i in said.tolist()]
    )


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def _draw(share: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Tensor:
    small = len(columns) > _MOST_NUMBERS
    cell = 0.2 if small else 0.42  # inches
    letter = 0.075 if small else 0.09
    left = letter * max(map(len, rows)) + 0.6
    top = letter * 0.87 * max(map(len, columns)) + 0.6  # names stand at 60 degrees
    right = 0.3 + letter * 0.5 * len(columns[-1])
    width, height = left + cell * len(columns) + right, top + cell * len(rows) + 0.25
    figure = Figure(figsize=(width, height), dpi=_DPI)
    figure.patch.set_facecolor(unit_color(BACKGROUND))
    place = (left / width, 0.25 / height, 1 - (left + right) / width, 1 - (top + 0.25) / height)
    axes = figure.add_axes(place)
    axes.imshow(share, cmap=_RAMP, vmin=0, vmax=1, aspect="auto")
    _name_axes(axes, rows, columns, 7 if small else 9)
    axes.grid(which="minor", color=unit_color(BACKGROUND), linewidth=0.5 if small else 1.5)
    if not small:
        for i, j in zip(*(axis.tolist() for axis in np.nonzero(np.round(100 * share)))):
            tint = unit_color(BACKGROUND if share[i, j] > 0.55 else FOREGROUND)
            axes.text(
                j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=8, color=tint
            )
    return drawn(figure)


def _name_axes(axes: Axes, rows: Sequence[str], columns: Sequence[str], size: int) -> None:
    text = unit_color(FOREGROUND)
    axes.set_xticks(np.arange(len(columns)), columns)
    axes.set_yticks(np.arange(len(rows)), rows)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(which="both", length=0, colors=text, labelsize=size)
    for label in axes.get_xticklabels():
        label.set(rotation=60, ha="left", rotation_mode="anchor")
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a class may be called $x$
    axes.set_ylabel("true class", color=text, fontsize=10)
    axes.set_xlabel("predicted class", color=text, fontsize=10)
    for spine in axes.spines.values():
        spine.set_visible(False)
