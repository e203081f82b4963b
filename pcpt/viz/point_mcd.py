"""The pictures of a PointMCD run's report."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pcpt.data.shape_batch import ShapeBatch
from pcpt.tasks.objects import joined
from pcpt.viz.codewords import codeword_map, retrieval_picture, visibility_picture
from pcpt.viz.picture import side_by_side, stacked
from pcpt.viz.report import Figure

SHAPES = 240  # of the split, whose codewords are drawn
VIEWS = 6
FOUND = 6


def figures(method: Any, before: Any, batch: ShapeBatch) -> dict[str, Figure]:
    """Views of some shapes with what is visible in them; and, where codewords are distilled, those
    of the validation shapes.

    Args:
        method: trained ``PointMCD``, in eval mode.
        before: the same untrained.
        batch: the shapes to show.
    """
    shown = {"views": _views(method, batch)}
    if not method.distils:
        return shown
    shapes = _validation_shapes(method)
    device = next(method.parameters()).device
    batches = [b.to(device) for b in joined(shapes[n] for n in _spread(len(shapes), SHAPES))]
    label = torch.cat([b.label for b in batches]).cpu()
    names = [name for b in batches for name in b.names]
    teacher = torch.cat([method.teacher_codewords(b).cpu() for b in batches])
    trained, valid = _student(method, batches)
    untrained, _ = _student(before, batches)
    view = _fullest(valid)
    shown["codewords"] = Figure(
        codeword_map(
            {
                "from pictures: the teacher": teacher[:, view],
                "from points, untrained": untrained[:, view],
                "from points, trained": trained[:, view],
            },
            label,
            method.classes,
        ),
        f"Codewords of view {view} of {len(names)} shapes in the plane of the two main directions "
        "(PCA) of the teacher's, coloured by class.",
        "The space of codewords",
    )
    rows = [names.index(name) for name in _some_of_each(names, label)]

    def picture(place: int) -> Tensor:
        return method.bank.pictures(names[place], shapes.split)[view]

    shown["retrieval"] = _retrieval(trained[:, view], teacher[:, view], label, picture, rows, view)
    return shown


def _views(method: Any, batch: ShapeBatch) -> Figure:
    visible = method.bank.visible(batch).cpu()
    rows = []
    for row, key in enumerate(zip(batch.names, batch.splits, strict=True)):
        pictures = method.bank.pictures(*key)
        pixel = method.bank.views.project(batch.points[row].cpu())
        chosen = _spread(len(pictures), VIEWS)
        rows.append(visibility_picture(pictures[chosen], pixel[chosen], visible[row, chosen]))
    return Figure(
        stacked(rows),
        "What the teacher sees of a shape, and below each view the points of which the view's "
        "codeword is made (bright) and those it hides (dark).",
        "Views and their visible points",
    )


def _retrieval(
    student: Tensor,
    teacher: Tensor,
    label: Tensor,
    picture: Callable[[int], Tensor],
    rows: list[int],
    view: int,
) -> Figure:
    """What the points of a view find among the pictures of the same view of other shapes."""
    similarity = F.normalize(student, dim=1) @ F.normalize(teacher, dim=1).T
    lines = []
    for row in rows:
        best = similarity[row].topk(min(FOUND, len(label))).indices.tolist()
        found = []
        for place in best:
            alike = "alike" if label[place] == label[row] >= 0 else "other"
            kind = "same" if place == row else alike
            found.append((picture(place), kind))
        lines.append((picture(row), found))
    half = (len(lines) + 1) // 2
    columns = [retrieval_picture(part) for part in (lines[:half], lines[half:]) if part]
    height = max(column.shape[1] for column in columns)
    return Figure(
        side_by_side(columns, height=height, gap=40) if len(columns) > 1 else columns[0],
        f"Left the shape whose points were asked, then the pictures of view {view} whose codewords "
        "are most like the one its points gave: green frames are the shape itself, yellow its "
        "class, red other classes.",
        "From points to pictures",
    )


def _student(method: Any, batches: list[ShapeBatch]) -> tuple[Tensor, Tensor]:
    codes = [method.view_codes(method.encode(b), b) for b in batches]
    return torch.cat([c.codeword.cpu() for c in codes]), torch.cat([c.valid.cpu() for c in codes])


def _validation_shapes(method: Any) -> Any:
    """Those of "val"; of "train" where the source has no others."""
    try:
        return method.bank.split("val")
    except (FileNotFoundError, ValueError):
        return method.bank.split("train")


def _fullest(valid: Tensor) -> int:
    """The first view that shows something of the most shapes."""
    return int(valid.sum(0).argmax())


def _spread(count: int, most: int) -> list[int]:
    number = min(count, most)
    return [(2 * i + 1) * count // (2 * number) for i in range(number)]


def _some_of_each(names: list[str], label: Tensor, most: int = 8) -> list[str]:
    """A shape of each of the first classes, or the first shapes where there are no classes."""
    firsts: dict[int, str] = {}
    for name, value in zip(names, label.tolist(), strict=True):
        firsts.setdefault(value, name)
    return list(firsts.values())[:most] if len(firsts) > 1 else names[:most]
