"""What a point network has learnt from views: labels, and codewords that find their own view."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pcpt.data.shape_batch import ShapeBatch
from pcpt.metrics.classification import classification_figures
from pcpt.metrics.parts import part_figures, part_iou
from pcpt.metrics.segmentation import confusion_matrix

_TIE = 1e-9


def first_recall(query: Tensor, candidates: Tensor, relevant: Tensor) -> float:
    """Share of queries whose most similar candidate, by cosine, is a relevant one; of candidates
    that tie the share that is relevant counts, so that equal codewords score chance.

    Args:
        query: (Q, D) floating.
        candidates: (C, D) floating.
        relevant: (Q, C) bool.

    Returns:
        NaN without queries.
    """
    similarity = F.normalize(query.double(), dim=1) @ F.normalize(candidates.double(), dim=1).T
    best = similarity >= similarity.amax(1, keepdim=True) - _TIE
    hits = (best & relevant).sum(1).double() / best.sum(1)
    return float(hits.mean()) if len(query) else float("nan")


def codeword_figures(
    student: Tensor, teacher: Tensor, valid: Tensor, label: Tensor
) -> dict[str, float]:
    """Does the codeword that points give a view find the one that its picture gave?

    Candidates are the teacher's codewords of the same view of all shapes.

    Args:
        student: (S, V, D).
        teacher: (S, V, D).
        valid: (S, V) bool: views that show a point.
        label: (S,) int64 class, -1 for none.

    Returns:
        ``views/recall@1``, the codeword found is that of the same shape; ``views/class_recall@1``,
        of a shape of the same class; ``pictures/class_recall@1``, the same for the teacher's own
        codewords with their own shape left out, which is what the teacher knows; and
        ``chance/...``, for the last ``pictures/chance/...``, which leaves it out too.
    """
    count, views = valid.shape
    own = torch.eye(count, dtype=torch.bool)
    alike = (label[:, None] == label[None]) & (label >= 0)[:, None]
    chance_among_others = _others(torch.ones(count, 1), alike)  # equal codewords score chance
    sums: dict[str, list[tuple[float, int]]] = {}
    for view in range(views):
        rows = valid[:, view]
        number = int(rows.sum())
        if not number:
            continue
        queries, candidates = student[rows, view], teacher[:, view]
        found = {
            "views/recall@1": first_recall(queries, candidates, own[rows]),
            "chance/recall@1": 1 / count,
            "views/class_recall@1": first_recall(queries, candidates, alike[rows]),
            "chance/class_recall@1": float(alike[rows].double().mean()),
            "pictures/class_recall@1": _others(teacher[:, view], alike),
            "pictures/chance/class_recall@1": chance_among_others,
        }
        for key, value in found.items():
            sums.setdefault(key, []).append((value, number))
    return {
        key: sum(value * weight for value, weight in values) / sum(w for _, w in values)
        for key, values in sums.items()
    }


def _others(codewords: Tensor, alike: Tensor) -> float:
    """Recall among the others: no shape finds itself."""
    if len(codewords) < 2:
        return float("nan")
    found = []
    for row in range(len(codewords)):
        rest = torch.arange(len(codewords)) != row
        found.append(
            first_recall(codewords[row : row + 1], codewords[rest], alike[row : row + 1, rest])
        )
    return sum(found) / len(found)


def evaluate_codewords(method: Any, batches: Iterable[ShapeBatch]) -> dict[str, float]:
    """Figures of a ``PointMCD`` in eval mode, shares of 1.

    Returns:
        ``num_shapes``; of labels ``accuracy``, ``class_accuracy``, or ``instance_miou``,
        ``class_miou`` (a part that a shape neither has nor was said to have counts as IoU 1) of the
        ``num_with_parts`` shapes that have a point with a part, where there are any; of codewords
        see ``codeword_figures``.
    """
    classes = len(method.classes)
    confusion = torch.zeros(classes, classes + 1, dtype=torch.int64)
    mious: list[float] = []
    of_mious: list[int] = []
    labels, student, teacher, valid = [], [], [], []
    for batch in batches:
        encoded = method.encode(batch)
        labels.append(batch.label.cpu())
        if method.config.labels == "classification":
            guess = method.logits(encoded, batch).argmax(1)
            confusion += confusion_matrix(batch.label, guess, classes).cpu()
        elif method.config.labels == "part_segmentation":
            found, of_shapes = shape_mious(method, method.logits(encoded, batch), batch)
            mious += found
            of_mious += of_shapes
        if method.distils:
            codes = method.view_codes(encoded, batch)
            student.append(codes.codeword.cpu())
            valid.append(codes.valid.cpu())
            teacher.append(method.teacher_codewords(batch).cpu())
    label = torch.cat(labels) if labels else torch.zeros(0, dtype=torch.int64)
    figures: dict[str, float] = {"num_shapes": float(len(label))}
    if method.config.labels == "classification":
        figures |= classification_figures(confusion, method.classes)
    elif method.config.labels == "part_segmentation":
        figures["num_with_parts"] = float(len(mious))
        if mious:
            figures |= part_figures(mious, of_mious, method.classes)
    if student:
        figures |= codeword_figures(torch.cat(student), torch.cat(teacher), torch.cat(valid), label)
    return figures


def shape_mious(method: Any, logits: Tensor, batch: ShapeBatch) -> tuple[list[float], list[int]]:
    """Mean IoU of each shape over the parts of its class, predicted among these, and the shape's
    class; of shapes that have a point with a part."""
    found, labels = [], []
    for scores, parts, label in zip(logits, batch.parts, batch.label.tolist(), strict=True):
        if not bool((parts >= 0).any()):
            continue
        allowed = list(range(logits.shape[2]) if label < 0 else method.parts_of_class[label])
        guess = torch.tensor(allowed, device=scores.device)[scores[:, allowed].argmax(1)]
        found.append(float(part_iou(parts, guess, allowed, "one").nanmean()))
        labels.append(label)
    return found, labels
