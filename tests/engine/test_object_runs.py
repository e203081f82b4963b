"""Tasks on single shapes through the commands: trained, scored, selected, drawn, leaks told."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pcpt import cli
from pcpt.config import make_config
from pcpt.engine.checkpoint import checkpoint_path
from pcpt.engine.run import dry_run, load_run, train
from pcpt.engine.selection import select_checkpoint
from pcpt.engine.task_evaluation import evaluate_task
from pcpt.tasks.classification import Classification
from pcpt.tasks.linear_svm import LinearSvm
from pcpt.viz import shapes
from tests.tasks import tiny_shapes  # noqa: F401  # registers its student and source

TASKS: dict[str, dict[str, Any]] = {
    "classification": {"hidden": [], "votes": 2},
    "part_segmentation": {"hidden": [8]},
    "linear_svm": {"costs": [0.01, 1.0]},
    "few_shot": {"ways": 2, "shots": 1, "queries": 2, "episodes": 3},
}


def _train(folder: Path, task: str, **changes: Any) -> Path:
    source = {"name": "placed_shapes", "num_parts": 6, **changes.pop("source", {})}
    tree = {
        "run": str(folder / task),
        "device": "cpu",
        "task": {"name": task, **TASKS[task]},
        "student": {"name": "tiny_points"},
        "data": {
            "source": source, "num_points": 0, "normalise": "none", "val_fraction": 0.3,
            **changes.pop("data", {}),
        },
        "optim": {"lr": 0.05},
        "train": {"steps": 6, "batch_size": 6, "checkpoint_every": 2, "keep_checkpoints": 0},
        **changes,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    path = folder / f"{task}.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert cli.main(["train", str(path)]) == 0
    return Path(tree["run"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    first = _train(folder, "classification")
    others = {task: _train(folder, task, init=str(first)) for task in list(TASKS)[1:]}
    return {"classification": first, **others}


def test_the_best_checkpoint_on_val_stands_beside_the_last(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["classification"]
    assert cli.main(["test", str(run), "--split", "test", "--best"]) == 0
    assert "best/accuracy" in capsys.readouterr().out
    metrics = json.loads((run / "metrics.json").read_text())
    selection = metrics["selection"]
    assert (selection["split"], selection["figure"]) == ("val", "accuracy")
    of_val = {
        step: evaluate_task(run, checkpoint=checkpoint_path(run, step))["figures"]["accuracy"]
        for step in (2, 4, 6)
    }
    assert selection["by_step"] == {str(step): value for step, value in of_val.items()}
    best = max(of_val, key=lambda step: (of_val[step], step))
    assert selection["best_step"] == best
    on_test = evaluate_task(run, checkpoint=checkpoint_path(run, best), split="test")["figures"]
    for key in ("accuracy", "class_accuracy", "voted/accuracy", "confusion"):
        assert metrics["figures"][f"best/{key}"] == on_test[key]
    last = evaluate_task(run, split="test")
    assert last["figures"]["accuracy"] == metrics["figures"]["accuracy"]
    assert "selection" not in last and "2 copies of each shape" in last["protocol"]
    assert last["probe"] == "full" and last["labelled"]["scenes"] == 21


@pytest.mark.parametrize(
    ("values", "best"),
    [([math.nan, 0.2, 0.1], 4), ([0.1, math.nan, 0.2], 6), ([0.2, 0.2, math.nan], 4)],
)
def test_a_checkpoint_without_a_figure_is_never_the_best(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, values: list[float], best: int
) -> None:
    left = iter(values)
    monkeypatch.setattr(Classification, "evaluate", lambda *_: {"accuracy": next(left)})
    _, parts = load_run(runs["classification"], device="cpu")
    found = select_checkpoint(parts.method, runs["classification"], lambda split: [])
    assert found.record()["best_step"] == best
    monkeypatch.setattr(Classification, "evaluate", lambda *_: {"accuracy": math.nan})
    with pytest.raises(ValueError, match="accuracy on split 'val' has no value at any of the 3"):
        select_checkpoint(parts.method, runs["classification"], lambda split: [])


def test_that_no_checkpoint_has_a_figure_is_told_before_the_split_is_scored(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = []

    def evaluate(_: object, batches: Any) -> dict[str, float]:
        scored.append(len(list(batches)))
        return {"accuracy": math.nan}

    monkeypatch.setattr(Classification, "evaluate", evaluate)
    with pytest.raises(ValueError, match="accuracy on split 'val' has no value at any of the 3"):
        evaluate_task(runs["classification"], split="test", best=True)
    assert len(scored) == 3  # checkpoints, on val


def test_what_cannot_be_selected(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_early(self: Any, batches: Any) -> None:
        raise AssertionError("hours are spent")

    monkeypatch.setattr(LinearSvm, "evaluate", too_early)
    assert cli.main(["test", str(runs["linear_svm"]), "--export", "out"]) == 2
    assert "LinearSvm has no benchmark format" in capsys.readouterr().err
    assert cli.main(["test", str(runs["linear_svm"]), "--best"]) == 2
    assert "LinearSvm has no figure to choose a checkpoint by" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["test", str(runs["linear_svm"]), "--best", "--checkpoint", "x"])


@pytest.fixture(scope="module")
def without_val(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Data without validation shapes."""
    root = tmp_path_factory.mktemp("npz")
    for split in ("train", "test"):
        clouds = np.random.default_rng(0).random((4, 6, 3), "f4")
        np.savez(root / f"{split}.npz", points=clouds, label=[0, 1, 0, 1])
    source = {"name": "shape_npz", "root": str(root), "classes": ["a", "b"]}
    return {"source": source, "val_fraction": 0.0}


REMEDY = r"val\.npz does not exist; data\.val_fraction is 0, so .* set data\.val_fraction above 0"


def test_validation_shapes_are_missed_before_anything_is_scored(
    without_val: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _train(tmp_path, "classification", data=without_val)
    assert evaluate_task(run, split="test")["figures"]["num_shapes"] == 4
    monkeypatch.setattr(Classification, "evaluate", lambda *_: pytest.fail("the split is scored"))
    with pytest.raises(FileNotFoundError, match=REMEDY):
        evaluate_task(run, split="test", best=True)
    with pytest.raises(FileNotFoundError, match=REMEDY):
        evaluate_task(run, split="val")


def test_validation_shapes_are_missed_before_a_folder_is_taken(
    without_val: dict[str, Any], tmp_path: Path
) -> None:
    tree = {
        "run": str(tmp_path / "run"), "device": "cpu", "data": without_val,
        "task": {"name": "linear_svm", "costs": [0.1, 1.0]}, "student": {"name": "tiny_points"},
        "train": {"steps": 1, "batch_size": 2},
    }  # fmt: skip
    with pytest.raises(FileNotFoundError, match=REMEDY):
        train(make_config(tree))
    assert not (tmp_path / "run").exists()
    with pytest.raises(FileNotFoundError, match=REMEDY):
        dry_run(make_config(tree))
    tree["task"]["costs"] = [1.0]
    assert train(make_config(tree)).step == 1


def test_runs_in_folders_of_one_name_have_a_column_each(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in "ab":
        shutil.copytree(runs["few_shot"], tmp_path / seed / "run")
    folders = [str(tmp_path / seed / "run") for seed in "aba"]
    assert cli.main(["test", *folders, "--split", "test"]) == 0
    head = capsys.readouterr().out
    assert "a_run" in head and "b_run" in head


def test_weights_of_a_run_and_what_they_had_seen(runs: dict[str, Path], tmp_path: Path) -> None:
    clean = evaluate_task(runs["linear_svm"], split="test")
    assert clean["probe"] == "last" and clean["init"]["source"].startswith("classification")
    seen = clean["pretraining"]
    assert seen["overlap"] == "no" and len(seen["hash"]) == 64
    assert [(s["through"], s["num_scans"]) for s in seen["stages"]] == [("init: training", 21)]
    assert clean["split_scans"] == 12 and clean["figures"]["selection"]["split"] == "val"

    splits = {"train": {"split": "test"}, "val": {"split": "val"}}
    taught = _train(tmp_path, "classification", data={"splits": splits})
    leaky = evaluate_task(_train(tmp_path, "linear_svm", init=str(taught)), split="test")
    assert leaky["pretraining"]["overlap"] == "yes"
    assert leaky["pretraining"]["overlapping"] == sorted(f"test_{i}" for i in range(12))


@pytest.mark.parametrize(
    ("task", "pictures"),
    [
        ("classification", {"classes", "confusion", "embedding", "loss"}),
        ("part_segmentation", {"parts", "embedding", "loss"}),
        ("linear_svm", {"classes", "confusion", "embedding"}),
        ("few_shot", {"embedding"}),
    ],
)
def test_reports(
    runs: dict[str, Path], task: str, pictures: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "_LEAST_FOR_TSNE", 99)
    run = runs[task]
    assert cli.main(["test", str(run), "--split", "test"]) == 0
    assert cli.main(["visualize", str(run), "--split", "test", "--scene", "test_3"]) == 0
    report = run / "report"
    assert {path.stem for path in report.glob("*.png")} >= pictures
    page = (report / "index.html").read_text()
    assert 'href="viewer.html"' in page and "Open test_3" in page and "Split test" in page
    assert ("Episodes" in page) == (task == "few_shot")
    viewer = (report / "viewer.html").read_text()
    assert "test_3" in viewer and ("part5" in viewer) == (task == "part_segmentation")
    assert cli.main(["visualize", str(run), "--split", "test", "--scene", "test_33"]) == 2


def test_a_report_before_anything_is_scored(runs: dict[str, Path]) -> None:
    run = runs["classification"]
    (run / "metrics.json").unlink(missing_ok=True)
    assert cli.main(["visualize", str(run)]) == 0
    assert "9 shapes (pcpt test RUN fills in the split)" in (run / "report/index.html").read_text()
