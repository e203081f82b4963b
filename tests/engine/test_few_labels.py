"""Few labels are few only if what taught the network had no more: runs tell."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcpt import cli
from pcpt.config import make_config
from pcpt.engine.data_record import DataRecord, Seen, read_record
from pcpt.engine.export import export_student
from pcpt.engine.provenance import pretraining, warnings
from pcpt.engine.run import train
from pcpt.engine.task_evaluation import evaluate_task
from tests.data.scannet_files import write_labelled_scene

TEACHER = {"task": {"name": "view_classification", "weights": "random"}}
STUDENT = {"method": {"name": "point_mcd", "hidden": 8, "calibration_batches": 1}}


def test_labels_beyond_those_of_the_run() -> None:
    def beyond(*stages: Seen) -> int:
        found = pretraining(DataRecord(stages), "test", ["x"])
        assert bool(warnings(found)) == (found["labelled_beyond"] > 0)
        return found["labelled_beyond"]

    own = Seen("training", "s", ("a", "b", "c"), ("a",))
    assert beyond(own) == 0
    assert beyond(own, Seen("init: training", "s", ("a", "b"), ())) == 0
    assert beyond(own, Seen("init: training", "s", ("a", "b"), ("a",))) == 0
    assert beyond(own, Seen("init: training", "s", ("a", "b"), None)) == 0  # nobody recorded it
    taught = Seen("init: teacher: training", "s", ("b", "d@1"), ("b", "d@1"))
    assert beyond(own, Seen("init: training", "s", ("a",), ()), taught) == 2
    stages = pretraining(DataRecord((own, taught)), "test", ["x"])["stages"]
    assert [stage["num_labelled"] for stage in stages] == [2]


def test_records_without_the_key_are_read(tmp_path: Path) -> None:
    DataRecord((Seen("training", "s", ("a", "b"), ("b",)),)).write(tmp_path)
    found = read_record(tmp_path)
    assert found is not None and found.seen[0].labelled == ("b",)
    tree = json.loads((tmp_path / "data.json").read_text())
    del tree["seen"][0]["labelled"]
    (tmp_path / "data.json").write_text(json.dumps(tree))
    found = read_record(tmp_path)
    assert found is not None and found.seen[0].labelled is None
    tree["seen"][0]["labelled"] = [1]
    (tmp_path / "data.json").write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=r"seen\[0\].labelled is \[1\], expected a list of texts"):
        read_record(tmp_path)


def _run(run: Path, data: dict[str, Any], **sections: Any) -> Path:
    trained = {"train": {"steps": 1, "batch_size": 2}}
    train(make_config({"run": str(run), "device": "cpu", "data": data, **trained, **sections}))
    return run


def _shapes(run: Path, student: dict[str, Any], limit: float, **sections: Any) -> Path:
    source = {"name": "procedural_shapes", "per_class": 6, "classes": ["mug", "table"]}
    views = {"num_views": 2, "elevations": [25.0], "image_size": [32, 32], "radius_pixels": 1}
    data = {
        "source": {**source, "surface_points": 100},
        "num_points": 40,
        "limit": limit,
        "val_fraction": 0.34,
        "views": views,
    }
    return _run(run, data, student=student, **sections)


def test_a_teacher_with_more_labels_than_its_student(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    network = {"name": "view_network", "codeword_channels": 8}
    point_network = {"name": "pointnet", "width": 0.0625}

    def taught(limit: float) -> dict[str, Any]:
        run = _shapes(tmp_path / f"teacher{limit}", network, limit, **TEACHER)
        export = export_student(run, tmp_path / f"export{limit}")
        return {"name": "view_codewords", "weights": str(export)}

    teachers = {limit: taught(limit) for limit in (0.25, 1.0)}
    with caplog.at_level(logging.INFO):
        fair = _shapes(tmp_path / "fair", point_network, 0.25, **STUDENT, teacher=teachers[0.25])
        assert "beyond the ones" not in caplog.text
        _shapes(tmp_path / "unfair", point_network, 0.25, **STUDENT, teacher=teachers[1.0])
    assert "those of 6 scans beyond the ones" in caplog.text
    # the student has seen more shapes than it has seen labels of
    unlabelled = {"method": {**STUDENT["method"], "distill_unlabelled": 0.5}}
    run = _shapes(tmp_path / "some", point_network, 0.25, **unlabelled, teacher=teachers[0.25])
    own = json.loads((run / "data.json").read_text())["seen"][0]
    assert len(own["scans"]) == 8 and len(own["labelled"]) == 2

    caplog.clear()
    caplog.set_level(logging.INFO)
    without = {"method": {**STUDENT["method"], "labels": "none"}}
    run = _shapes(tmp_path / "none", point_network, 1.0, **without, teacher=teachers[1.0])
    assert json.loads((run / "data.json").read_text())["seen"][0]["labelled"] == []
    assert "beyond the ones" not in caplog.text  # it may see no label, but makes no claim of few

    assert cli.main(["test", str(fair), str(tmp_path / "unfair")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("6 scans beyond the ones whose labels this run may see") == 1


def test_names_of_shapes_may_hold_an_at_sign(tmp_path: Path) -> None:
    names = np.array([f"shape{number}@v1" for number in range(6)])
    clouds = np.random.default_rng(0).random((6, 8, 3), "f4")
    np.savez(tmp_path / "train.npz", points=clouds, label=[0, 1] * 3, name=names)
    source = {"name": "shape_npz", "root": str(tmp_path), "classes": ["mug", "table"]}

    def labelled(limit: float, **sections: Any) -> Path:
        data = {"source": source, "num_points": 8, "val_fraction": 0.0, "limit": limit}
        student = {"name": "pointnet", "width": 0.0625}
        task = {"name": "classification"}
        run = tmp_path / f"run{limit}"
        return _run(run, data, student=student, task=task, **sections)

    taught = labelled(1.0)
    record = read_record(labelled(0.1, init=str(taught)))
    assert record is not None and len(record.own().seen[0].labelled or ()) == 2
    assert set(record.before().seen[0].labelled or ()) == set(names.tolist())
    assert len(record.labelled_beyond()) == 4


def test_learning_without_labels_leaves_none(tmp_path: Path) -> None:
    network = {"name": "view_network", "codeword_channels": 8}
    task = {"task": {"name": "view_autoencoding", "weights": "random", "channels": [4]}}
    run = _shapes(tmp_path / "run", network, 1.0, **task)
    assert json.loads((run / "data.json").read_text())["seen"][0]["labelled"] == []
    assert evaluate_task(run)["labelled"]["scenes"] == 0


def _scenes(run: Path, root: Path, **sections: Any) -> Path:
    source = {"name": "scannet_scenes", "root": str(root), "labels_from": "labels_ply"}
    splits = {split: {"split_file": str(root / "all.txt")} for split in ("train", "val")}
    data = {"source": source, "splits": splits, "limit": sections.pop("limit", {})}
    student = {"name": "sparse_unet", "planes": [4] * 8, "stem_channels": 4}
    return _run(run, data, task={"name": "segmentation"}, student=student, **sections)


def test_first_weights_that_knew_more_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "scans"
    for number in range(3):
        name = f"scene000{number}_00"
        folder = write_labelled_scene(root, name)
        (folder / f"{name}.txt").write_text(f"sceneType = {number}\n")
    (root / "all.txt").write_text("".join(f"scene000{n}_00\n" for n in range(3)))
    with caplog.at_level(logging.INFO):
        one = _scenes(tmp_path / "one", root, limit={"scenes": 1})
        whole = _scenes(tmp_path / "whole", root, init=str(one))
        assert "beyond the ones" not in caplog.text
        again = _scenes(tmp_path / "again", root, init=str(whole), limit={"scenes": 1})
    assert "those of 2 scans beyond" in caplog.text
    found = evaluate_task(again)["pretraining"]
    assert found["labelled_beyond"] == 2
    assert [stage["num_labelled"] for stage in found["stages"]] == [3, 1]
    assert cli.main(["test", str(again), "--split", "val"]) == 0
    assert "those of 2 scans beyond" in " ".join(capsys.readouterr().out.split())
