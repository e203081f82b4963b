"""Probes end to end: what is learned, and that the student stays as it is, bit for bit."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt.config import RunConfig
from pcpt.data.limited import labelled_hash
from pcpt.engine.checkpoint import checkpoint_path, load_checkpoint
from pcpt.engine.export import export_student
from pcpt.engine.run import build, load_run, train
from pcpt.engine.task_evaluation import evaluate_task
from pcpt.students import SparseUNet
from pcpt.tasks.knn_probe import KnnProbe
from pcpt.tasks.segmentation import voxel_labels
from tests.tasks.colored_scenes import colored_run

PROBES = [
    {"name": "linear_probe"},
    {"name": "linear_probe", "levels": "all", "cache_features": False},
    {"name": "knn_probe"},
    {"name": "knn_probe", "levels": "all"},
]


def _run(tmp_path: Path, task: dict[str, Any], **sections: Any) -> RunConfig:
    if task["name"] == "knn_probe":
        sections["train"] = {"steps": 1} | sections.get("train", {})
    return colored_run(tmp_path / "run", task, **sections)


def _student_state(config: RunConfig) -> dict[str, torch.Tensor]:
    state = build(config).student.state_dict()
    return {name: value.clone() for name, value in state.items()}


@pytest.mark.parametrize("task", PROBES)
def test_probes_learn_and_the_student_stays(tmp_path: Path, task: dict[str, Any]) -> None:
    splits = {"train": {"scenes": 24}, "val": {"split": "val", "scenes": 4}}
    config = _run(tmp_path, task, data={"splits": splits})
    before = _student_state(config)
    assert train(config).step == config.train.steps
    saved = load_checkpoint(checkpoint_path(tmp_path / "run", config.train.steps))["method"]
    for name, value in before.items():
        assert torch.equal(saved[f"student.{name}"], value), name
    record = evaluate_task(tmp_path / "run", split="val")
    assert record["figures"]["points/miou"] > 0.5  # chance is a fifth
    assert record["labelled_hash"] == labelled_hash(
        [f"train{number}" for number in range(24)], config.data.limit
    )
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == record


@pytest.mark.parametrize("task", PROBES)
def test_features_are_the_same_in_train_mode(tmp_path: Path, task: dict[str, Any]) -> None:
    config = _run(tmp_path, task)
    probe: Any = build(config).method
    batch = probe.evaluation_set(config.data, "val")[0]
    probe.eval()
    quiet, _ = probe.features(batch)
    probe.train()
    assert not any(module.training for module in probe.student.modules())
    loud, _ = probe.features(batch)
    assert torch.equal(quiet, loud)
    assert not loud.requires_grad
    assert not any(parameter.requires_grad for parameter in probe.student.parameters())


def test_cached_features_are_those_of_the_scene(tmp_path: Path) -> None:
    config = _run(tmp_path, {"name": "linear_probe", "voxels_per_scene": 0})
    probe: Any = build(config).method
    dataset = probe.make_dataset(config.data, "train", config.seed)
    name = dataset.names[2]
    first = dataset.of_scene(name)
    assert dataset.of_scene(name) is first
    scene = probe.evaluation_set(config.data, "train")[2]
    assert scene.names == [name]
    features, point_to_voxel = probe.features(scene)
    labels = voxel_labels(point_to_voxel, scene.semantic, len(features), 3)
    assert torch.equal(first.features, features[labels >= 0])
    assert torch.equal(first.labels, labels[labels >= 0])


def test_a_random_part_of_the_voxels(tmp_path: Path) -> None:
    config = _run(tmp_path, {"name": "linear_probe", "voxels_per_scene": 10})
    probe: Any = build(config).method
    once, again = (probe.make_dataset(config.data, "train", 0) for _ in range(2))
    other = probe.make_dataset(config.data, "train", 1)
    assert once.of_scene("train0").features.shape == (10, 8)
    assert torch.equal(once.of_scene("train0").features, again.of_scene("train0").features)
    assert not torch.equal(once.of_scene("train0").features, other.of_scene("train0").features)


def test_statistics_of_training_scenes(tmp_path: Path) -> None:
    config = _run(tmp_path, {"name": "linear_probe", "calibration_scenes": 6})
    probe: Any = build(config).method
    dataset = probe.make_dataset(config.data, "train", config.seed)
    probe.prepare(probe.collate([dataset[i]]) for i in range(100))
    features = torch.cat([dataset.of_scene(name).features for name in dataset.names])
    scaled = probe.standardized(features)
    alive = features.std(0) > 1e-6
    assert bool(alive.any())
    assert scaled.mean(0).abs().max() < 1e-4
    assert (scaled.std(0)[alive] - 1).abs().max() < 1e-3
    assert bool((scaled[:, ~alive] == 0).all())


def test_channels_that_never_vary_say_nothing(tmp_path: Path) -> None:
    probe: Any = build(_run(tmp_path, {"name": "linear_probe"})).method
    features = torch.randn(50, 8)
    features[:, 3] = 7.0
    probe.set_statistics(features)
    assert probe.standardized(torch.full((1, 8), 9.0))[0, 3] == 0


def test_limited_labels_reach_the_probe(tmp_path: Path) -> None:
    data = {"limit": {"scenes": 2, "points": 5}}
    config = _run(tmp_path, {"name": "linear_probe"}, data=data)
    probe: Any = build(config).method
    dataset = probe.make_dataset(config.data, "train", config.seed)
    assert len(dataset) == 2
    for name in dataset.names:
        assert 1 <= len(dataset.of_scene(name).labels) <= 5
    assert len(probe.evaluation_set(config.data, "val")) == 3


def test_resuming_repeats_the_run(tmp_path: Path) -> None:
    """Also: features of the weights before a checkpoint was read are not used after."""
    donor = colored_run(tmp_path / "donor", {"name": "segmentation"}, train={"steps": 3})
    train(donor)
    sections: dict[str, Any] = {"train": {"steps": 8, "batch_size": 2, "checkpoint_every": 4}}
    states = []
    for name in ("whole", "resumed"):
        config = colored_run(tmp_path / name, {"name": "linear_probe"}, **sections)
        config.init = str(tmp_path / "donor")
        train(config)
        if name == "resumed":
            checkpoint_path(tmp_path / name, 8).unlink()
            train(config, resume="auto")
        states.append(load_checkpoint(checkpoint_path(tmp_path / name, 8))["method"])
    donated = load_checkpoint(checkpoint_path(tmp_path / "donor", 3))["method"]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name
        if name.startswith("student."):
            assert torch.equal(donated[name], value), name


def test_norms_of_a_random_student(tmp_path: Path) -> None:
    config = _run(tmp_path, {"name": "linear_probe", "norm_scenes": 3})
    before = _student_state(config)
    train(config)
    saved = load_checkpoint(checkpoint_path(tmp_path / "run", config.train.steps))["method"]
    moved = {n for n, value in before.items() if not torch.equal(saved[f"student.{n}"], value)}
    assert {name.rpartition(".")[2] for name in moved} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    assert int(saved["student.stem.norm.num_batches_tracked"]) == 3
    # the mean over the scenes, not that of the last ones
    student, probe = SparseUNet(config.student), build(config).method
    student.load_state_dict(build(config).student.state_dict())
    means = []
    for name in ("train0", "train1", "train2"):
        index = int(name[-1])
        batch = probe.evaluation_set(config.data, "train")[index]  # type: ignore[operator]
        voxels, _ = student.voxels(batch.points, batch.colors, batch.batch_index)
        means.append(student.stem.conv(voxels).features.mean(0))
    assert torch.allclose(saved["student.stem.norm.running_mean"], sum(means) / 3, atol=1e-5)


def test_votes_against_a_double_loop(tmp_path: Path) -> None:
    config = _run(tmp_path, {"name": "knn_probe", "neighbors": 4, "standardize": False})
    probe = build(config).method
    assert isinstance(probe, KnnProbe)
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(30, 8, generator=generator)
    labels = torch.randint(3, (30,), generator=generator)
    probe.bank[:30] = bank / bank.norm(dim=1, keepdim=True)
    probe.bank_labels[:30] = labels
    queries = torch.randn(9, 8, generator=generator)
    found = probe.votes(queries)
    for i, query in enumerate(queries):
        cosines = [float(query @ b / query.norm() / b.norm()) for b in bank]
        nearest = sorted(range(30), key=lambda j: -cosines[j])[:4]
        votes = [0.0] * 3
        for j in nearest:
            votes[int(labels[j])] += math.exp(cosines[j] / 0.07)
        for c in range(3):
            assert abs(float(found[i, c]) - votes[c] / sum(votes)) < 1e-4


def test_votes_do_not_depend_on_the_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _run(tmp_path, {"name": "knn_probe"})
    train(config)
    _, parts = load_run(tmp_path / "run", device="cpu")
    probe: Any = parts.method
    queries = torch.randn(37, 8)
    whole = probe.votes(queries)
    monkeypatch.setattr("pcpt.tasks.knn_probe._MOST_SIMILARITIES", 1)
    assert torch.allclose(probe.votes(queries), whole, atol=1e-6)
    assert probe.votes(queries[:0]).shape == (0, 3)


@pytest.mark.parametrize("name", ["linear_probe", "knn_probe"])
def test_scenes_without_labels(tmp_path: Path, name: str) -> None:
    splits = {"train": {"unlabelled_every": 1}, "val": {"split": "val", "scenes": 1}}
    config = _run(tmp_path, {"name": name}, data={"splits": splits}, train={"steps": 1})
    if name == "knn_probe":
        with pytest.raises(ValueError, match="no training scene has a labelled point"):
            train(config)
    else:
        assert train(config).step == 1


def test_workers_cannot_share_features(tmp_path: Path) -> None:
    config = _run(tmp_path, {"name": "linear_probe"}, train={"workers": 1, "steps": 1})
    with pytest.raises(RuntimeError, match=r"set train\.workers=0"):
        train(config)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"name": "linear_probe", "levels": "first"}, "task.levels is 'first'"),
        ({"name": "linear_probe", "voxels_per_scene": -1}, "task.voxels_per_scene is -1"),
        ({"name": "linear_probe", "calibration_scenes": 0}, "task.calibration_scenes is 0"),
        ({"name": "knn_probe", "voxels_per_scene": 0}, "task.voxels_per_scene is 0"),
        ({"name": "knn_probe", "neighbors": 0}, "task.neighbors is 0"),
        ({"name": "knn_probe", "temperature": 0.0}, "task.temperature is 0.0"),
        ({"name": "segmentation", "tune": "some"}, "task.tune is 'some'"),
    ],
)
def test_bad_keys(tmp_path: Path, task: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        colored_run(tmp_path, task)


@pytest.mark.parametrize("tune", ["head", "last:2", "bias_and_norm", "lora"])
def test_tuned_segmentation_trains_and_exports(tmp_path: Path, tune: str) -> None:
    task = {"name": "segmentation", "tune": tune, "lora_rank": 2}
    config = colored_run(tmp_path / "run", task, train={"steps": 40})
    before = _student_state(config)
    train(config)
    _, parts = load_run(tmp_path / "run", device="cpu")
    frozen = {
        name
        for name, value in before.items()
        if torch.equal(parts.student.state_dict()[name], value)
    }
    plain = {name for name in before if "adapter" not in name}
    assert frozen
    assert (frozen >= plain) == (tune in ("head", "lora"))
    figures = evaluate_task(tmp_path / "run", split="val")["figures"]
    assert figures["points/miou"] > (0.3 if tune == "head" else 0.6)
    exported = SparseUNet.from_pretrained(export_student(tmp_path / "run", tmp_path / "export"))
    task_of_run: Any = parts.method
    voxels, _ = task_of_run.voxels(task_of_run.evaluation_set(config.data, "val")[0])
    with torch.no_grad():
        assert torch.equal(exported(voxels).features, parts.student(voxels).features)
