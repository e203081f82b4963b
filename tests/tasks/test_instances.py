"""Instance segmentation as a whole: it learns, and what it says where there is nothing to say."""

import math
from dataclasses import replace

import pytest
import torch

from pcpt.data.scene_batch import collate_scenes
from pcpt.data.scene_dataset import SceneDataConfig, to_sample
from pcpt.students import SparseUNet
from pcpt.tasks.instances import Instances
from tests.tasks.tiny_scenes import LABELS, Tiny, furnished

STUFF = ["floor"]


def make_task(**options):
    torch.manual_seed(0)
    widths = [16, 16, 16, 16, 16, 16, 16, 32]
    student = SparseUNet(
        SparseUNet.Config(
            variant="small", planes=widths, stem_channels=16, out_channels=0, voxel_size=0.1
        )
    )
    data = SceneDataConfig(source=Tiny.Config(), splits={"train": {}})
    return Instances(Instances.Config(**({"stuff": STUFF} | options)), student, data)


def sample(seed=0, **options):
    return to_sample(furnished(seed, **options), seed)


@pytest.fixture(scope="module")
def trained():
    task = make_task().train()
    batch = sample()
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        task(batch).loss.backward()
        optimizer.step()
    return task


def test_learns_a_scene_by_heart(trained):
    assert trained(sample()).logs["offset_distance"] < 0.2
    figures = trained.evaluate([sample()])
    assert figures["AP50"] > 0.9 and figures["AP25"] > 0.9 and figures["points/miou"] > 0.8
    assert figures["num_objects"] == 4 and figures["num_scenes"] == 1
    assert {"AP50/chair", "mAP/table"} <= figures.keys() and "AP50/floor" not in figures
    assert trained.training  # as it was


def test_predictions_are_over_the_points_of_each_scene_of_a_batch(trained):
    trained.eval()
    first, second = sample(), sample(objects=False)
    together = trained.predict(collate_scenes([second, first, second]))
    alone = trained.predict(first)[0]
    trained.train()
    assert [p.masks.shape[1] for p in together] == [len(s.points) for s in (second, first, second)]
    assert torch.equal(together[1].masks, alone.masks)
    assert torch.equal(together[1].labels, alone.labels)
    assert len(alone) >= 4 and not (alone.labels == 0).any()
    for number in range(4):  # each object has a prediction that is nearly it
        truth = first.instances == number
        common = (alone.masks & truth).sum(1) / (alone.masks | truth).sum(1)
        assert common.max() > 0.7  # voxels of 10 cm hold points of two objects


def test_points_without_a_label_belong_to_no_object():
    # with limited labels the instances of other points must not be looked at
    task, batch = make_task(), sample()
    hidden = batch.instances == 1
    limited = replace(batch, semantic=torch.where(hidden, -1, batch.semantic))
    assert task(batch).logs["num_objects"] == 4
    assert task(limited).logs["num_objects"] == 3
    shuffled = replace(limited, instances=torch.where(hidden, 77, batch.instances))
    assert torch.equal(task(limited).loss, task(shuffled).loss)


@pytest.mark.parametrize("options", [{"labelled": False}, {"objects": False}])
def test_scenes_without_labels_or_objects(options):
    task, batch = make_task(), sample(**options)
    output = task(batch)
    output.loss.backward()
    assert torch.isfinite(output.loss) and output.logs["num_objects"] == 0
    figures = task.evaluate([batch])
    assert math.isnan(figures["mAP"]) and math.isnan(figures["AP50"])
    assert figures["num_objects"] == 0 and figures["num_scenes"] == 1


def test_no_scene_at_all():
    assert math.isnan(make_task().evaluate([])["AP25"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"stuff": ["flor"]}, "did you mean 'floor'"),
        ({"score": "probable"}, "task.score"),
        ({"coordinates": []}, "task.coordinates is empty"),
        ({"coordinates": ["moved"]}, "task.coordinates"),
        ({"radius": 0.0}, "task.radius"),
        ({"min_points": 0}, "task.min_points"),
        ({"distance": float("nan")}, "task.distance"),
    ],
)
def test_bad_options_are_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        make_task(**options)


def test_protocol_names_what_was_left_out():
    assert "left out: floor" in make_task().protocol and "100 points" in make_task().protocol
    assert len(LABELS) == 3
