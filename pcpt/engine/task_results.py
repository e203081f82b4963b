"""What a trained task says of one scene, in the form that pictures take."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pcpt.data.scene import Boxes
from pcpt.data.scene_batch import SceneBatch
from pcpt.viz.scene_result import SceneResult

_NEAR = 1e-3  # metres within which a batch's frame counts as the scene's, moved


@torch.no_grad()
def scene_result(task: Any, batch: SceneBatch) -> SceneResult:
    """Runs a task on one whole scene.

    What ``task.predict(batch)`` yields is told by what it holds: ``logits`` of voxels and
    ``point_to_voxel`` are classes; for every scene ``masks``, ``labels`` and ``scores`` are
    objects, ``boxes`` as rows (D, 7), ``labels`` and ``scores`` are boxes. Of a task without
    ``predict``, or of anything else, the scene and the student's features are shown.

    Args:
        task: a ``SceneTask``; its mode is left as it was.
        batch: one scene, whole and unchanged, on the task's device.

    Returns:
        On the CPU. In the scene's own frame where that is upright, else turned upright.

    Raises:
        ValueError: a batch of several scenes.
    """
    if batch.num_samples != 1:
        raise ValueError(f"scene_result got {batch.num_samples} scenes, expected one")
    was_training = task.training
    task.eval()
    try:
        features = _features(task, batch) if len(batch.points) else None
        predict = getattr(task, "predict", None)
        found = predict(batch) if predict is not None and len(batch.points) else None
    finally:
        task.train(was_training)
    batch = batch.to("cpu")
    shift = _shift(batch)
    has_boxes = len(batch.boxes[0]) > 0
    return SceneResult(
        batch.names[0],
        batch.points if shift is None else batch.original,
        colors=batch.colors.clamp(0, 1),
        label_set=task.label_set,
        labels=batch.semantic if bool((batch.semantic >= 0).any()) else None,
        instances=batch.instances if bool((batch.instances >= 0).any()) else None,
        features=features,
        boxes=_moved(batch.boxes[0], shift) if has_boxes else Boxes.none(),
        **_predicted(found, shift),
    )


def _features(task: Any, batch: SceneBatch) -> Tensor:
    voxels, point_to_voxel = task.voxels(batch)
    return task.student(voxels).features[point_to_voxel].float().cpu()


def _shift(batch: SceneBatch) -> Tensor | None:
    """(3,) what to add to the batch's places for those of the file, or None if they are turned."""
    if len(batch.points) == 0:
        return torch.zeros(3)
    apart = batch.original - batch.points
    shift = apart.double().mean(0).float()
    return shift if bool(((apart - shift).abs() < _NEAR).all()) else None


def _moved(boxes: Boxes, shift: Tensor | None) -> Boxes:
    return boxes if shift is None else replace(boxes, centers=boxes.centers + shift)


def _predicted(found: Any, shift: Tensor | None) -> dict[str, Any]:
    """Fields of ``SceneResult`` for what a task predicted of one scene."""
    if hasattr(found, "logits") and hasattr(found, "point_to_voxel"):
        return {"prediction": found.logits.argmax(1)[found.point_to_voxel].cpu()}
    if not isinstance(found, list) or len(found) != 1:
        return {}
    (one,) = found
    if hasattr(one, "masks"):
        return _objects(one.masks.cpu(), one.labels.cpu(), one.scores.cpu())
    if hasattr(one, "boxes"):
        return _boxes(one.boxes.float().cpu(), one.labels.cpu(), one.scores.float().cpu(), shift)
    return {}


def _objects(masks: Tensor, labels: Tensor, scores: Tensor) -> dict[str, Any]:
    """Each point belongs to the surest object that holds it."""
    owner = torch.full((masks.shape[1],), -1)
    for row in scores.argsort(stable=True).tolist():  # the surest last
        owner[masks[row]] = row
    return {
        "predicted_instances": owner,
        "prediction": torch.cat((labels, labels.new_full((1,), -1)))[owner],
    }


def _boxes(rows: Tensor, labels: Tensor, scores: Tensor, shift: Tensor | None) -> dict[str, Any]:
    boxes = Boxes(
        rows[:, :3].contiguous(),
        rows[:, 3:6].contiguous(),
        rows[:, 6].contiguous(),
        labels,
        torch.full_like(labels, -1),
    )
    return {"predicted_boxes": _moved(boxes, shift), "scores": scores}
