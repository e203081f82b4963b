"""Which shapes the part figures of PointMCD are of."""

import pytest
import torch

from tests.methods.test_point_mcd import Corners, batch_of, data, method


def test_shapes_without_parts_count_nowhere() -> None:
    model, batch = method(Corners(), "dgcnn", labels="part_segmentation"), batch_of(data())
    whole = model.evaluate([batch])
    assert whole["num_with_parts"] == whole["num_shapes"] == 4
    batch.parts[1] = -1
    batch.parts[2, 5:] = -1  # some points are enough
    found = model.evaluate([batch])
    assert found["num_shapes"] == 4 and found["num_with_parts"] == 3
    with torch.no_grad():
        logits = model.eval().logits(model.encode(batch), batch)
    mious = []
    for row in (0, 2, 3):
        allowed = list(model.parts_of_class[int(batch.label[row])])
        known = batch.parts[row] >= 0
        guess = torch.tensor(allowed)[logits[row][:, allowed].argmax(1)][known]
        truth = batch.parts[row][known]
        ious = []
        for part in allowed:
            either = int(((guess == part) | (truth == part)).sum())
            both = int(((guess == part) & (truth == part)).sum())
            ious.append(both / either if either else 1.0)
        mious.append(sum(ious) / len(ious))
    assert found["instance_miou"] == pytest.approx(sum(mious) / 3)
    of_class = {int(label) for label in batch.label[[0, 2, 3]]}
    assert sum(found[f"iou/{name}"] >= 0 for name in model.classes) == len(of_class)


def test_no_part_at_all_gives_no_figure_of_parts() -> None:
    model, batch = method(Corners(), "dgcnn", labels="part_segmentation"), batch_of(data())
    batch.parts[:] = -1
    figures = model.evaluate([batch])
    assert figures["num_with_parts"] == 0 and "instance_miou" not in figures
    assert "views/recall@1" in figures
