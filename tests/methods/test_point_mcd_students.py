"""PointMCD of transformers, and codewords that depend on no other shape."""

import pytest
import torch

from pcpt.methods.codeword_bank import CodewordBank
from pcpt.methods.point_mcd import PointMCD
from pcpt.students.point_mae import PointMAE
from pcpt.teachers.view_codewords import ViewCodewords
from tests.methods.test_i2p_mae import SIZES
from tests.methods.test_point_mcd import Corners, batch_of, data


@pytest.mark.parametrize("labels", ["part_segmentation", "classification", "none"])
def test_a_transformer_learns_from_labels_and_views(labels: str) -> None:
    torch.manual_seed(0)
    student, config = PointMAE(PointMAE.Config(**SIZES)), PointMCD.Config(labels=labels)
    model, batch = PointMCD(config, student, Corners(), data()), batch_of(data())
    loss, logs = model(batch)
    loss.backward()
    assert float(logs["loss_views"]) > 0
    assert student.norms[2].weight.grad is not None
    figures = model.evaluate([batch])
    if labels == "part_segmentation":
        assert model.head.last.in_features == 128
        assert 0 <= figures["instance_miou"] <= 1


def test_codewords_do_not_depend_on_what_is_asked_together() -> None:
    teacher = ViewCodewords(ViewCodewords.Config(weights="random", codeword_channels=32))
    names = batch_of(data(), range(9)).names
    bank = CodewordBank(data())
    teacher.calibrate([torch.cat([bank.pictures(name) for name in names[:4]])])
    alone = torch.cat([CodewordBank(data()).codewords([name], teacher) for name in names])
    for grouping in ((9,), (4, 5), (2, 7)):
        bank, start, found = CodewordBank(data()), 0, []
        for count in grouping:
            found.append(bank.codewords(names[start : start + count], teacher))
            start += count
        assert torch.equal(torch.cat(found), alone)


def test_the_teacher_is_shown_one_shape_at_a_time() -> None:
    class Counting(Corners):
        def codewords(self, images: torch.Tensor) -> torch.Tensor:
            shown.append(len(images))
            return super().codewords(images)

    shown: list[int] = []
    names = batch_of(data()).names
    CodewordBank(data()).codewords([*names, names[0]], Counting())
    assert shown == [4, 4, 4, 4]
