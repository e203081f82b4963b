"""The demo's four commands on the shipped scan, made small, and what follows the export."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pcpt.cli import main
from pcpt.data.ply import read_ply
from pcpt.students import SparseUNet
from tests.conftest import REPOSITORY

SMALL = [
    "student.planes=[8,8,8,8,8,8,8,8]",
    "student.stem_channels=8",
    "student.out_channels=8",
    "student.voxel_size=0.1",
    "data.image_size=[52,80]",
    "data.max_points=3000",
    "data.augment.elastic=1.0",
    "train.steps=4",
    "train.batch_size=2",
    "method.pairs=128",
    "method.calibration_batches=1",
    "train.threads=1",  # sums of the image network depend on the number of threads
]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run trained by the command itself, in a process of its own."""
    folder = tmp_path_factory.mktemp("runs") / "demo"
    done = subprocess.run(
        [sys.executable, "tools/train.py", "configs/demo.yaml", f"run={folder}", *SMALL],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def at_repository(run):
    """The demo's paths are relative to the repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        yield


def test_a_run_folder_holds_what_is_promised(run):
    for name in ("config.yaml", "metrics.jsonl", "environment.json", "tensorboard", "checkpoints"):
        assert (run / name).exists(), name
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["step"] == 4 and records[-1]["loss"] > 0
    environment = json.loads((run / "environment.json").read_text())
    assert environment["torch"] == torch.__version__


def test_the_run_scores_visualizes_and_exports(run, at_repository, capsys):
    assert main(["test", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "pixel_to_point/recall@1" in printed and "untrained" in printed
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["trained"]["num_frames"] == 6
    assert metrics["trained"] != metrics["untrained"]
    assert metrics["trained"]["chance/recall@10"] == pytest.approx(10 / 1024, rel=0.6)

    assert main(["visualize", str(run), "--frame", "1"]) == 0
    assert f"report: {run / 'report' / 'index.html'}" in capsys.readouterr().out
    page = (run / "report" / "index.html").read_text()
    assert page.count("<img") == 5 and "pixel_to_point" in page
    points, colors = read_ply(run / "report" / "features.ply")
    assert len(points) > 500 and colors is not None

    export = run / "export"
    assert main(["export", str(run), str(export)]) == 0
    student = SparseUNet.from_pretrained(export)
    features = student.features_at(points, colors)
    assert features.shape == (len(points), student.feature_channels)
    again = SparseUNet.from_pretrained(export).features_at(points, colors)
    assert torch.equal(features, again)


def test_the_saved_config_repeats_the_run(run, at_repository, tmp_path):
    again = tmp_path / "again"
    assert main(["train", str(run / "config.yaml"), f"run={again}"]) == 0

    def losses(folder):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    assert losses(again) == losses(run)


def test_a_finished_run_is_not_overwritten_but_resumes_to_nothing(run, at_repository, capsys):
    before = (run / "metrics.jsonl").read_bytes()
    assert main(["train", str(run / "config.yaml")]) == 2
    assert "--resume auto" in capsys.readouterr().err
    assert main(["train", str(run / "config.yaml"), "--resume", "auto"]) == 0
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_random_teacher_is_a_key(run, at_repository, tmp_path, capsys):
    control = tmp_path / "control"
    arguments = ["configs/demo.yaml", f"run={control}", *SMALL, "teacher.weights=random"]
    assert main(["train", *arguments]) == 0
    assert main(["test", str(run), str(control)]) == 0
    assert "control" in capsys.readouterr().out


def test_mistakes_end_with_status_2_and_the_remedy(run, at_repository, tmp_path, capsys):
    mistakes = {
        "method.temprature=0.1": "temperature",
        "teacher.name=lite": "lite0",
        "student.voxel_size=-1": "voxel_size",
        "data.source.roots=[nowhere]": "nowhere",
        "data.source.name=foldr": "folder",
    }
    for override, hint in mistakes.items():
        arguments = ["configs/demo.yaml", f"run={tmp_path / 'x'}", *SMALL, override]
        assert main(["train", *arguments]) == 2, override
        assert hint in capsys.readouterr().err, override
        assert not (tmp_path / "x").exists(), "nothing is written for a run that cannot start"
    assert main(["test", str(tmp_path / "none")]) == 2
    assert main(["export", str(tmp_path / "none"), str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(run, at_repository, tmp_path, workers):
    """As if the run had been killed after its second step: the checkpoint of that step is left."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    keys = [*SMALL, "train.checkpoint_every=2", "train.log_every=1", f"train.workers={workers}"]
    assert main(["train", "configs/demo.yaml", f"run={whole}", *keys]) == 0
    shutil.copytree(whole, resumed)
    (resumed / "checkpoints" / "step_00000004.pt").unlink()
    assert main(["train", "configs/demo.yaml", f"run={resumed}", *keys, "--resume", "auto"]) == 0

    first, second = (
        torch.load(folder / "checkpoints" / "step_00000004.pt", weights_only=True)
        for folder in (whole, resumed)
    )
    assert first["method"].keys() == second["method"].keys()
    for name, value in first["method"].items():
        assert torch.equal(value, second["method"][name]), name
    for key, state in first["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, second["optimizer"]["state"][key][name]), (key, name)

    def losses(folder):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [(json.loads(line)["step"], json.loads(line)["loss"]) for line in lines]

    assert losses(resumed) == losses(whole) and len(losses(whole)) == 4
