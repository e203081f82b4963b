"""Training curves from the records of ``metrics.jsonl``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from pcpt.viz.picture import BACKGROUND, FOREGROUND, drawn, unit_color

_LINES = ("#4fa3ff", "#ffb347", "#5fd38d", "#ff6f91", "#b39ddb")
_DPI = 160


def loss_curve(
    records: Sequence[Mapping[str, Any]],
    keys: Sequence[str] = ("loss",),
    *,
    step: str = "step",
    levels: Mapping[str, float] | None = None,
    width: int = 1280,
    height: int = 560,
) -> Tensor:
    """The course of logged values: pale as logged, bold smoothed.

    Args:
        records: one mapping a line of ``metrics.jsonl``; those without ``step`` or a key, or with a
            value that is no finite number, are passed over for that key.
        keys: what to draw, one line each.
        step: key of the horizontal axis.
        levels: horizontal lines to compare with, by label, such as the loss of a guess.
        width: of the picture, pixels.
        height: of the picture, pixels.

    Returns:
        (3, height, width) uint8.

    Raises:
        ValueError: if no record has any of the keys.
    """
    series = {key: _series(records, step, key) for key in keys}
    if not any(len(x) for x, _ in series.values()):
        known = sorted({k for record in records for k in record})
        raise ValueError(f"no record holds {step!r} and one of {list(keys)}; keys are {known}")
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    for i, (key, (x, y)) in enumerate(series.items()):
        color = _LINES[i % len(_LINES)]
        axes.plot(x, y, color=color, alpha=0.3, linewidth=0.8)
        axes.plot(x, _smoothed(y), color=color, linewidth=2.0, label=key)
    for label, level in (levels or {}).items():
        axes.axhline(level, color="#9aa3af", linewidth=1.0, linestyle=(0, (5, 4)))
        axes.annotate(
            label, (0.995, level), xycoords=("axes fraction", "data"), fontsize=8, ha="right",
            va="bottom", color="#9aa3af", parse_math=False,
        )  # fmt: skip
    _dress(figure, step, "" if len(keys) > 1 else keys[0])
    if len(keys) > 1:
        axes.legend(frameon=False, labelcolor=unit_color(FOREGROUND), fontsize=9)
    return drawn(figure)


def _series(
    records: Sequence[Mapping[str, Any]], step: str, key: str
) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(r[step], r[key]) for r in records if _is_number(r.get(step), r.get(key))]
    array = np.array(sorted(pairs, key=lambda p: p[0]), dtype=np.float64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _is_number(*values: Any) -> bool:
    return all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Mean over a window of a twentieth of the run, narrower towards the ends."""
    half = len(values) // 40
    total = np.concatenate(([0.0], np.cumsum(values)))
    index = np.arange(len(values))
    reach = np.minimum(half, np.minimum(index, len(values) - 1 - index))
    return (total[index + reach + 1] - total[index - reach]) / (2 * reach + 1)


def _dress(figure: Figure, x_label: str, y_label: str) -> None:
    """Dark ground, light text, no box: as the other pictures."""
    (axes,) = figure.axes
    text = unit_color(FOREGROUND)
    for part in (figure.patch, axes.patch):
        part.set_facecolor(unit_color(BACKGROUND))
    axes.grid(color="white", alpha=0.08, linewidth=0.8)
    axes.tick_params(colors=text, labelsize=9, length=0)
    axes.margins(x=0.01)
    axes.set_xlabel(x_label, color=text, fontsize=10, parse_math=False)
    axes.set_ylabel(y_label, color=text, fontsize=10, parse_math=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
