"""What weights have seen is handed on from run to run; leaks show in the metrics."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pcpt.config import make_config
from pcpt.engine.data_record import DataRecord, Seen, read_record, record_of
from pcpt.engine.export import export_student
from pcpt.engine.provenance import pretraining
from pcpt.engine.run import train
from pcpt.engine.task_evaluation import evaluate_task
from tests.data.scannet_files import write_labelled_scene
from tests.engine.toy_run import toy_config, toy_tree


class Rooms:
    """A dataset that tells its scans."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def scan_folders(self) -> dict[str, None]:
        return dict.fromkeys(self.names)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = DataRecord((Seen("training", "folder", ("a", "b@1")),), ("init weights.pth",))
    record.write(tmp_path)
    assert read_record(tmp_path) == record
    assert read_record(tmp_path / "elsewhere") is None
    assert record.hash() == json.loads((tmp_path / "data.json").read_text())["seen"][0]["hash"]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"format_version": 2, "seen": [], "unknown": []}, "format_version is 2.*upgrade pcpt"),
        ({"format_version": 1, "seen": {}, "unknown": []}, "seen is {}, expected a list"),
        (
            {"format_version": 1, "seen": [{"through": "x", "source": "y", "scans": [1]}]},
            r"seen\[0\].scans is \[1\], expected a list of texts",
        ),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, tree: Any, message: str) -> None:
    (tmp_path / "data.json").write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=message):
        read_record(tmp_path)


def test_a_teacher_or_student_that_names_a_folder_hands_its_record_on(tmp_path: Path) -> None:
    record_of(toy_config(tmp_path), Rooms("t")).write(tmp_path)
    tree = toy_tree(tmp_path / "run")
    config = make_config(tree)
    config.teacher = {"name": "segmenter", "inside": [{"weights": str(tmp_path)}]}
    record = record_of(config, Rooms("b"))
    assert [(s.through, s.scans) for s in record.seen] == [
        ("training", ("b",)),
        ("teacher: training", ("t",)),
    ]
    again = record.handed_on("init")
    assert again.seen[1].through == "init: teacher: training"


def test_a_folder_called_like_an_option_is_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_config(toy_tree(tmp_path / "run"))
    config.teacher = {"name": "lite0", "variant": "small", "weights": "random"}
    for name in ("lite0", "small", "random"):
        (tmp_path / name).mkdir()
        record_of(toy_config(tmp_path), Rooms("t")).write(tmp_path / name)
    assert [seen.through for seen in record_of(config, Rooms("b")).seen] == ["training"]


def test_weights_without_a_record_are_unknown(tmp_path: Path) -> None:
    weights = tmp_path / "PointContrast.pth"
    weights.touch()
    record = record_of(make_config(toy_tree(tmp_path) | {"init": str(weights)}), Rooms("a"))
    assert record.unknown == ("init PointContrast.pth",)
    assert pretraining(record, "test", ["x"])["overlap"] == "unknown"
    DataRecord((Seen("training", "s", ("x",)),)).write(tmp_path)
    record = record_of(make_config(toy_tree(tmp_path) | {"init": str(weights)}), Rooms("a"))
    assert pretraining(record, "test", ["x"])["overlap"] == "yes"


def test_a_run_that_goes_on_forgets_nothing(tmp_path: Path) -> None:
    first = train_toy(tmp_path / "first", steps=2)
    record = read_record(first)
    assert record is not None and [s.through for s in record.seen] == ["training"]
    second = train_toy(tmp_path / "second", steps=2, init=str(first))
    (second / "init.json").write_text('{"source": "first", "kind": "run"}')
    before = read_record(second)
    assert before is not None and before.seen[1].through == "init: training"
    shutil.rmtree(first)
    # without --init, and with it though its folder is gone
    for steps, init in ((4, ""), (6, str(first))):
        train_toy(second, steps=steps, resume="auto", init=init)
        assert read_record(second) == before
    # in another folder
    other = train_toy(tmp_path / "other", steps=8, resume=str(second))
    assert read_record(other) == before
    assert (other / "init.json").read_text() == (second / "init.json").read_text()
    # a start over without first weights
    shutil.rmtree(second / "checkpoints")
    train_toy(second, steps=2, resume="auto")
    fresh = read_record(second)
    assert fresh is not None and [s.through for s in fresh.seen] == ["training"]
    assert not (second / "init.json").exists()


def train_toy(run: Path, steps: int, resume: str | None = None, init: str = "") -> Path:
    tree = toy_tree(run, train={"steps": steps})
    train(make_config(tree | {"init": init} if init else tree), resume)
    return run


def test_records_are_joined_stage_by_stage() -> None:
    now = DataRecord(
        (Seen("training", "s", ("b", "c"), ("b",)), Seen("teacher: training", "s", ()))
    )
    then = DataRecord(
        (Seen("training", "s", ("a", "b"), ("a",)), Seen("init: training", "t", ("x",), ())), ("u",)
    )
    joined = now.joined(then)
    assert [(s.through, s.scans, s.labelled) for s in joined.seen] == [
        ("training", ("b", "c", "a"), ("b", "a")),
        ("teacher: training", (), None),
        ("init: training", ("x",), ()),
    ]
    assert joined.unknown == ("u",)


def test_verdicts() -> None:
    def verdict(split: str = "test", **stages: tuple[str, ...]) -> tuple[str, list[str]]:
        seen = tuple(Seen(name.replace("_", ": "), "s", scans) for name, scans in stages.items())
        found = pretraining(DataRecord(seen), split, ["a@1", "b@2"])
        return found["overlap"], found["overlapping"]

    assert verdict(training=("c@3",)) == ("no", [])
    assert verdict(training=("c@3",), init_training=("d@4", "a@9")) == ("no", [])
    assert verdict(training=("c@3",), init_training=("b@2",)) == ("yes", ["b@2"])
    assert verdict(training=("c@3",), init_teacher_training=("a",)) == ("possible", ["a@1"])
    assert verdict(training=("a@1",)) == ("yes", ["a@1"])  # fine-tuned on what it is scored on
    assert verdict("train", training=("a@1", "b@2")) == ("no", [])


def _scenes(root: Path, meta: str) -> Path:
    for name in ("scene0000_00", "scene0001_00"):
        folder = write_labelled_scene(root, name)
        (folder / f"{name}.txt").write_text(f"sceneType = {meta}\n")
    (root / "first.txt").write_text("scene0000_00\n")
    (root / "second.txt").write_text("scene0001_00\n")
    return root


def _run(run: Path, root: Path, **keys: Any) -> Path:
    tree = {
        "run": str(run),
        "device": "cpu",
        "task": {"name": "segmentation"},
        "student": {"name": "sparse_unet", "planes": [4] * 8, "stem_channels": 4},
        "data": {
            "source": {"name": "scannet_scenes", "root": str(root), "labels_from": "labels_ply"},
            "splits": {
                "train": {"split_file": str(root / "first.txt")},
                "test": {"split_file": str(root / "second.txt")},
            },
        },
        "train": {"steps": 1, "batch_size": 1},
        **keys,
    }
    train(make_config(tree))
    return run


def test_a_leak_shows_in_the_metrics_however_far_away(tmp_path: Path) -> None:
    """Rooms of two seeds share their names; what counts is which rooms they are."""
    ones, twos = _scenes(tmp_path / "ones", "Kitchen"), _scenes(tmp_path / "twos", "Office")
    twice = _scenes(tmp_path / "twice", "Kitchen")  # the first rooms in another place
    clean = _run(tmp_path / "clean", twos)
    whole = json.loads((clean / "data.json").read_text())["seen"][0]
    assert len(whole["scans"]) == 1 and whole["scans"][0].startswith("scene0000_00@")
    exported = export_student(clean, tmp_path / "exported")
    assert read_record(exported) == read_record(clean)

    fine = _run(tmp_path / "fine", ones, init=str(exported))
    metrics = evaluate_task(fine, split="test")
    assert metrics["pretraining"]["overlap"] == "no"
    assert metrics["pretraining"]["stages"] == [
        {
            "through": "init: training", "source": "scannet_scenes",
            "num_scans": 1, "num_labelled": 1,
        }
    ]  # fmt: skip
    assert metrics["split_scans"] == 1
    assert json.loads((fine / "metrics.json").read_text()).keys() == metrics.keys()

    (twice / "first.txt").write_text("scene0001_00\n")
    leaky = _run(tmp_path / "leaky", twice)
    between = _run(tmp_path / "between", twos, init=str(leaky))
    later = _run(tmp_path / "later", ones, init=str(between))
    metrics = evaluate_task(later, split="test")
    assert metrics["pretraining"]["overlap"] == "yes"
    assert metrics["pretraining"]["overlapping"][0].startswith("scene0001_00@")
    assert metrics["init"] is not None
    assert metrics["split_hash"] != metrics["pretraining"]["hash"]
    assert metrics["probe"] == "full" and "voxels" in metrics["protocol"]
