"""Test-time augmentation: the views, their mean, and the benchmark's files by the command."""

import json
import math

import pytest
import torch

from pcpt.cli import main
from pcpt.data.scannet_classes import LABEL_SETS
from pcpt.data.scannet_export import read_instances, read_semantic
from pcpt.data.scene_dataset import SceneDataConfig, to_sample
from pcpt.students import SparseUNet
from pcpt.tasks.instances import Instances
from pcpt.tasks.segmentation import Segmentation
from pcpt.tasks.test_time import Views, averaged_probabilities, check_averages, evaluate_averaged
from tests.tasks.tiny_scenes import Tiny, furnished

WIDTHS = [8] * 8
SCANNET20 = LABEL_SETS["scannet20"]


def make_task(kind=Segmentation):
    torch.manual_seed(0)
    config = SparseUNet.Config(
        variant="small", planes=WIDTHS, stem_channels=8, out_channels=0, voxel_size=0.2
    )
    data = SceneDataConfig(source=Tiny.Config(), splits={"train": {}})
    options = {"stuff": ["floor"]} if kind is Instances else {}
    return kind(kind.Config(**options), SparseUNet(config), data).eval()


def test_views_by_hand():
    points = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    found = list(Views(rotations=4, mirror=True, shifts=2).of(points, 0.1))
    assert len(found) == len(Views(4, True, 2)) == 16
    assert torch.equal(found[0], points)
    quarter = torch.tensor([[0.0, 1.0, 2.0], [-3.0, 0.0, 0.0]])
    assert torch.allclose(found[1], quarter, atol=1e-6)
    mirrored = torch.tensor([[-1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    assert torch.allclose(found[4], mirrored, atol=1e-6)
    assert torch.allclose(found[8], points + 0.05)
    for view in found:  # distances and heights are kept
        assert torch.allclose(torch.pdist(view), torch.pdist(points))
    distinct = {tuple(round(v, 4) for v in view.flatten().tolist()) for view in found}
    assert len(distinct) == 16


def test_one_view_is_the_plain_prediction():
    task, batch = make_task(), to_sample(furnished(0))
    alone = averaged_probabilities(task, batch, Views(1, False, 1))
    with torch.no_grad():
        logits, point_to_voxel = task.predict(batch)
    assert torch.equal(alone, logits.softmax(1)[point_to_voxel])


def test_the_mean_is_over_all_views_and_the_same_each_time():
    task, batch = make_task(), to_sample(furnished(0))
    views = Views(rotations=3, mirror=True, shifts=2)
    found = averaged_probabilities(task, batch, views)
    total = 0.0
    for points in views.of(batch.points, 0.2):
        with torch.no_grad():
            voxels, place = task.student.voxels(points, batch.colors, batch.batch_index)
            total = total + task.head(task.student(voxels).features).softmax(1)[place]
    assert torch.allclose(found, total / 12, atol=1e-6)
    assert torch.allclose(found.sum(1), torch.ones(len(found)), atol=1e-5)
    assert torch.equal(found, averaged_probabilities(task, batch, views))


def test_figures_of_scenes_without_labels_are_not_numbers():
    task = make_task().train()
    figures = evaluate_averaged(task, [to_sample(furnished(0, labelled=False))], Views(2, False))
    assert math.isnan(figures["points/miou"]) and task.training


def test_misuse_is_refused():
    with pytest.raises(ValueError, match=r"views\.rotations"):
        Views(rotations=0)
    with pytest.raises(ValueError, match="not Instances"):
        check_averages(make_task(Instances))


def trained_run(folder, task, scannet=True):
    """A run of two steps; returns its folder."""
    values = {
        "run": folder / task,
        "task.name": task,
        "student": "{name: sparse_unet, variant: small, out_channels: 0, voxel_size: 0.2}",
        "data": f"{{source: {{name: tiny_scenes, count: 2, scannet: {scannet}}}}}",
        "data.splits": "{train: {}, val: {}}",
        "train": "{steps: 2, batch_size: 1, checkpoint_every: 2}",
    }
    if task == "instances":
        values |= {"task.min_points": 10, "task.evaluated_points": 10}
        values |= {"task.stuff": "[floor]"} if not scannet else {}
    config = folder / f"{task}.yaml"
    config.write_text("train: {steps: 2}\n")
    assert main(["train", str(config), *(f"{k}={v}" for k, v in values.items())]) == 0
    return folder / task


def test_command_writes_segmentation_with_its_protocol(tmp_path):
    run = trained_run(tmp_path, "segmentation")
    assert main(["test", str(run), "--tta", "--export", str(tmp_path / "out")]) == 0
    record = json.loads((run / "metrics.json").read_text())
    assert "points" in record["protocol"] and "8 rotations x mirror" in record["tta_protocol"]
    assert {"points/miou", "voxels/miou", "tta/points/miou"} <= record["figures"].keys()
    for seed in range(2):
        count = len(furnished(seed).points)
        labels = read_semantic(tmp_path / "out" / f"tiny_{seed}.txt", count, SCANNET20)
        assert (labels >= 0).all()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["tiny_0.txt", "tiny_1.txt"]


def test_command_writes_instances(tmp_path):
    run = trained_run(tmp_path, "instances")
    assert main(["test", str(run), "--export", str(tmp_path / "out")]) == 0
    record = json.loads((run / "metrics.json").read_text())
    assert "ScanNet's AP" in record["protocol"] and "tta_protocol" not in record
    assert {"mAP", "AP50", "AP25", "points/miou"} <= record["figures"].keys()
    for seed in range(2):
        count = len(furnished(seed).points)
        found = read_instances(tmp_path / "out" / f"tiny_{seed}.txt", count, SCANNET20)
        assert found.masks.shape[1] == count


def test_command_refuses_what_has_no_format(tmp_path, capsys):
    run = trained_run(tmp_path, "instances", scannet=False)
    assert main(["test", str(run), "--export", str(tmp_path / "out")]) != 0
    assert "ids of its own" in capsys.readouterr().err
    assert main(["test", str(run), "--tta"]) != 0
    assert "test-time augmentation is for semantic" in capsys.readouterr().err
