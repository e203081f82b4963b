"""Boxes around furniture as SUN RGB-D's annotation tool keeps them, in the terms of VoteNet."""

import logging
import math
from pathlib import Path
from typing import Any

import torch

from pcpt.data.json_object import JsonObject, read_json
from pcpt.data.label_set import LabelSet, label_set
from pcpt.data.scene import Boxes

logger = logging.getLogger(__name__)

# id, red, green, blue, name: the classes of VoteNet (Qi et al., ICCV 2019), in its order
LABELS: LabelSet = label_set(
    "SUN RGB-D",
    """
0 255 187 120 bed
1 255 152 150 table
2 140 86 75 sofa
3 188 189 34 chair
4 44 160 44 toilet
5 247 182 210 desk
6 140 57 197 dresser
7 146 111 194 night_stand
8 148 103 189 bookshelf
9 227 119 194 bathtub
""",
)
MAX_METRES = 1e4


def read_boxes(path: Path) -> Boxes:
    """The boxes of the ten classes in an ``annotation3Dfinal/index.json``; none without the file.

    Objects that are null, have no polygon, or whose box has no extent are left out, as in the
    toolbox.

    Raises:
        ValueError: not JSON, or an object of another shape; names it.
    """
    if not path.is_file():
        return Boxes.none()
    objects = JsonObject(read_json(path), path, "").get("objects")
    if not isinstance(objects, list):
        raise ValueError(f"{path}: objects is no list")
    rows = [row for i, value in enumerate(objects) if (row := _box(path, i, value)) is not None]
    if not rows:
        return Boxes.none()
    numbers = torch.tensor([row[1] for row in rows], dtype=torch.float32)
    labels = torch.tensor([row[0] for row in rows])
    return Boxes(
        numbers[:, :3].contiguous(),
        numbers[:, 3:6].contiguous(),
        numbers[:, 6].contiguous(),
        labels,
        torch.full_like(labels, -1),
    )


def _box(path: Path, index: int, value: Any) -> tuple[int, list[float]] | None:
    """Class and (cx, cy, cz, dx, dy, dz, heading) of one object, or None."""
    if value in (None, [], {}):
        return None
    item = JsonObject(value, path, f"objects[{index}]")
    polygons = item.fields.get("polygon")
    if polygons in (None, []):
        return None
    name = item.text("name").partition(":")[0].strip(" _").lower().replace(" ", "_")
    if name not in LABELS.names:
        return None
    if not isinstance(polygons, list):
        raise item.error("polygon", polygons, "a list")
    polygon = JsonObject(polygons[0], path, f"objects[{index}].polygon[0]")
    corners = polygon.fields.get("X")
    count = len(corners) if isinstance(corners, list) else 0
    if count < 3:
        raise polygon.error("X", corners, "three corners or more")
    x, y = (polygon.numbers(key, (count,)).tolist() for key in ("X", "Z"))
    low, high = sorted(-float(polygon.numbers(key, ())) for key in ("Ymin", "Ymax"))
    first = math.hypot(x[1] - x[0], y[1] - y[0])
    second = math.hypot(x[2] - x[1], y[2] - y[1])
    box = [(x[0] + x[2]) / 2, (y[0] + y[2]) / 2, (low + high) / 2, second, first, high - low]
    # the heading points from the middle to the middle of the first side
    heading = math.atan2((y[0] + y[1]) / 2 - box[1], (x[0] + x[1]) / 2 - box[0])
    if not all(abs(number) < MAX_METRES for number in box):  # nan too
        raise ValueError(
            f"{path}: objects[{index}].polygon[0] gives the box {box}, expected metres"
        )
    if not all(size > 0 for size in box[3:]):
        logger.warning("%s: objects[%d] (%s) has no extent and is left out", path, index, name)
        return None
    return LABELS.names.index(name), [*box, heading]
