"""What the page's script is given: a result as JSON, its arrays as blocks of bytes."""

import json
import math
from typing import Any

import torch
from torch import Tensor

from pcpt.data.label_set import LabelSet
from pcpt.data.scene import Boxes
from pcpt.viz.boxes import box_corners
from pcpt.viz.cloud import disc_sizes
from pcpt.viz.pca import pca_colors
from pcpt.viz.picture import color_bytes
from pcpt.viz.scene_result import SceneResult
from pcpt.viz.similarity import heat_colors
from pcpt.viz.viewer.compress import block, chosen_rows, compress_features, quantize_positions

MAX_BOXES = 1000


def payload(result: SceneResult, *, max_points: int, feature_dims: int, min_score: float) -> str:
    """JSON that is safe inside a ``<script>`` element; arguments as for ``viewer_html``."""
    rows = chosen_rows(len(result.points), max_points)
    points = result.points.detach().cpu()[rows]
    steps, low, step = _positions(points)
    arrays = {"positions": steps} | _attributes(result, rows)
    if result.features is not None and result.features.shape[1] and len(rows):
        features = result.features.detach().cpu()[rows]
        arrays["pca"] = pca_colors(features)[0]
        arrays["features"] = compress_features(features, feature_dims)
    label_set = result.label_set
    data: dict[str, Any] = {
        "name": result.name,
        "total": len(result.points),
        "count": len(rows),
        "low": low.tolist(),
        "step": step.tolist(),
        "up": (result.up.double() / result.up.double().norm()).tolist(),
        "focus": _focus(points),
        "spacing": _spacing(points),
        "facts": {str(name): str(value) for name, value in result.facts.items()},
        "classes": _classes(label_set),
        "boxes": _boxes(result.boxes, None, label_set, result.up, truth=True)
        + _boxes(result.predicted_boxes, result.scores, label_set, result.up, truth=False),
        "min_score": min_score,
        "dims": arrays["features"].shape[1] if "features" in arrays else 0,
        "heat": block(heat_colors(torch.linspace(0, 1, 256), (0.0, 1.0)))["data"],
        "arrays": {name: block(values) for name, values in arrays.items()},
    }
    return _safe_json(data)


def _safe_json(data: Any) -> str:
    """JSON without a character that could end the script element or mean something in HTML."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _positions(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if len(points) == 0:
        zeros = torch.zeros(3, dtype=torch.float64)
        return torch.zeros(0, 3, dtype=torch.uint16), zeros, zeros
    return quantize_positions(points)


def _attributes(result: SceneResult, rows: Tensor) -> dict[str, Tensor]:
    arrays = {}
    if result.colors is not None:
        arrays["colors"] = color_bytes(result.colors.detach().cpu()[rows])
    for key, dtype in (
        ("labels", torch.int16),
        ("prediction", torch.int16),
        ("instances", torch.int32),
        ("predicted_instances", torch.int32),
    ):
        values = getattr(result, key)
        if values is not None:
            if len(values) and int(values.max()) > torch.iinfo(dtype).max:
                raise ValueError(
                    f"result of scene {result.name}: {key} hold {int(values.max())}, the viewer "
                    f"takes up to {torch.iinfo(dtype).max}"
                )
            arrays[key] = values.detach().cpu()[rows].to(dtype)
    return arrays


def _focus(points: Tensor) -> dict[str, Any]:
    """Middle and radius of all points but strays."""
    if len(points) == 0:
        return {"center": [0.0, 0.0, 0.0], "radius": 1.0}
    ordered = points.double().sort(dim=0).values
    low, high = (ordered[int(share * (len(points) - 1))] for share in (0.01, 0.99))
    radius = max(0.5 * float((high - low).norm()), 0.05)
    return {"center": ((low + high) / 2).tolist(), "radius": radius}


def _spacing(points: Tensor) -> float:
    """Diameter of the drawn points, metres."""
    sizes = disc_sizes(points)
    return max(float(sizes.median()), 1e-3) if len(sizes) else 0.01


def _classes(label_set: LabelSet | None) -> list[dict[str, Any]]:
    if label_set is None:
        return []
    return [
        {"name": name, "color": [int(c) for c in color]}
        for name, color in zip(label_set.names, label_set.colors)
    ]


def _boxes(
    boxes: Boxes, scores: Tensor | None, label_set: LabelSet | None, up: Tensor, *, truth: bool
) -> list[dict[str, Any]]:
    """The boxes, of more than ``MAX_BOXES`` the ones of the highest scores."""
    order = torch.arange(len(boxes))
    if scores is not None:
        order = scores.detach().cpu().argsort(descending=True, stable=True)
    corners = box_corners(boxes, up)
    found = []
    for i in order[:MAX_BOXES].tolist():
        score, label = None if scores is None else float(scores[i]), int(boxes.labels[i])
        if not bool(torch.isfinite(corners[i]).all()) or (score is not None and math.isnan(score)):
            continue  # nothing to draw
        assert label_set is not None  # SceneResult has seen to it
        found.append(
            {
                "truth": truth,
                "corners": [[round(x, 4) for x in corner] for corner in corners[i].tolist()],
                "group": label,
                "name": label_set.names[label],
                "color": [int(c) for c in label_set.colors[label]],
                "score": score,
            }
        )
    return found
