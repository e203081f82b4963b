"""Labelled ScanNet scenes: a small one worked by hand, the options, and what is refused."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pcpt
from pcpt import registry
from pcpt.data.dataset import DataConfig, PosedFrames
from pcpt.data.label_set import LabelSet
from pcpt.data.scannet_classes import LABEL_SETS, NYU40, SCANNET18, SCANNET20, SCANNET200
from pcpt.data.scannet_labels import MAX_JSON
from pcpt.data.scannet_scene import instance_boxes
from pcpt.data.scene import Boxes, Scene
from tests.data.scannet_files import (
    ALIGNMENT,
    GROUPS,
    NAME,
    TABLE,
    vertices,
    write_labelled_scene,
    write_mesh,
)


def open_scenes(root: Path, **options: Any) -> Any:
    component = registry.get("datasets", "scannet_scenes")
    return component(component.Config(root=str(root), **options)).open()


def test_it_is_listed() -> None:
    assert {"scannet_scenes", "scannet_sens", "scannet_frames"} <= set(pcpt.list("datasets"))


def test_a_scene_by_hand(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_labelled_scene(tmp_path)
    scenes = open_scenes(tmp_path, split="train")
    assert scenes.names == [NAME] and len(scenes) == 1 and scenes.label_set is SCANNET20
    assert scenes.summary() == "no unknown labels"
    scene = scenes.load(NAME)
    data = vertices()
    x, y, z = data["points"].T
    np.testing.assert_allclose(scene.points, np.stack([1 - y, x + 2, z + 3], 1), atol=1e-6)
    np.testing.assert_array_equal(scene.colors, data["colors"])
    np.testing.assert_array_equal(scene.faces, data["faces"])
    np.testing.assert_array_equal(scene.world_to_scene, ALIGNMENT)
    assert scene.split == "train" and scene.up.tolist() == [0, 0, 1]
    wall, chair = SCANNET20.names.index("wall"), SCANNET20.names.index("chair")
    assert scene.semantic.tolist() == [wall] * 2 + [chair] * 5 + [-1] * 5
    assert scene.instances.tolist() == [0] * 2 + [1] * 5 + [2] * 3 + [-1] * 2
    assert scene.unknown_labels == {"flux capacitor": 3}
    assert "label 'flux capacitor' is not in the label table" in caplog.text
    scenes.load(NAME)
    assert scenes.unknown_labels == {"flux capacitor": 3}
    assert scenes.summary() == "points with 1 unknown labels ignored: 'flux capacitor': 3"

    assert scene.boxes.labels.tolist() == [wall, chair]
    assert scene.boxes.instances.tolist() == [0, 1]
    low, high = scene.points[2:7].min(0).values, scene.points[2:7].max(0).values
    np.testing.assert_allclose(scene.boxes.centers[1], (low + high) / 2, atol=1e-6)
    np.testing.assert_allclose(scene.boxes.sizes[1], high - low, atol=1e-6)
    assert scene.boxes.headings.tolist() == [0, 0]

    lengths = scene.normals.norm(dim=1)
    assert (((lengths - 1).abs() < 1e-5) | (lengths == 0)).all() and lengths.max() > 0
    face = data["faces"][0]
    a, b, c = (scene.points[index].numpy() for index in face)
    only = np.bincount(data["faces"].ravel(), minlength=len(scene.points))[face] == 1
    normal = np.cross(b - a, c - a)
    for index in face[only]:
        np.testing.assert_allclose(scene.normals[index], normal / np.linalg.norm(normal), atol=1e-4)


def test_label_sets_of_the_same_scene(tmp_path: Path) -> None:
    groups = [
        *GROUPS,
        {"id": 3, "objectId": 3, "segments": [5], "label": "monitor"},
    ]
    write_labelled_scene(tmp_path, groups=groups)
    names: dict[str, list[str]] = {
        "nyu40": ["wall", "chair", "otherprop"],
        "scannet20": ["wall", "chair"],
        "scannet18": ["chair"],
        "scannet200": ["wall", "office chair", "monitor"],
    }
    for name, expected in names.items():
        scene = open_scenes(tmp_path, label_set=name).load(NAME)
        found = sorted(set(scene.semantic.tolist()) - {-1})
        assert [LABEL_SETS[name].names[each] for each in found] == sorted(
            expected, key=LABEL_SETS[name].names.index
        )
        assert len(scene.boxes) == len(expected)
        assert scene.instances.max() == 3  # whatever the set
        assert scene.unknown_labels == {"flux capacitor": 3}


def test_a_name_without_an_id_is_unknown(tmp_path: Path) -> None:
    groups = [{"objectId": 0, "segments": [7], "label": "nameless thing"}]
    write_labelled_scene(tmp_path, groups=groups)
    assert open_scenes(tmp_path).load(NAME).unknown_labels == {"nameless thing": 2}
    assert open_scenes(tmp_path, label_set="scannet200").load(NAME).unknown_labels == {}


def test_objects_listed_twice_count_once(tmp_path: Path) -> None:
    write_labelled_scene(tmp_path, groups=GROUPS + GROUPS)  # as in scene0217_00
    once = tmp_path / "once"
    write_labelled_scene(once)
    twice, single = open_scenes(tmp_path).load(NAME), open_scenes(once).load(NAME)
    assert twice.semantic.equal(single.semantic) and twice.instances.equal(single.instances)
    assert twice.boxes.centers.equal(single.boxes.centers) and len(twice.boxes) == 2


def test_labels_of_the_ply(tmp_path: Path) -> None:
    write_labelled_scene(tmp_path)
    scenes = open_scenes(tmp_path, labels_from="labels_ply")
    scene = scenes.load(NAME)
    wall, chair, other = (SCANNET20.names.index(n) for n in ("wall", "chair", "otherfurniture"))
    assert scene.semantic.tolist() == [wall] * 2 + [chair] * 5 + [-1] * 4 + [other]
    assert scene.unknown_labels == {"id 50": 1}  # found in three of ScanNet's scenes
    assert set(scene.instances.tolist()) == {-1} and len(scene.boxes) == 0
    nyu = open_scenes(tmp_path, labels_from="labels_ply", label_set="nyu40").load(NAME)
    assert nyu.semantic[-1] == NYU40.ids.index(39)
    with pytest.raises(ValueError, match="whose labels are NYU40's, but label_set is scannet200"):
        open_scenes(tmp_path, labels_from="labels_ply", label_set="scannet200").load(NAME)


def test_scenes_without_labels(tmp_path: Path) -> None:
    folder = write_labelled_scene(tmp_path)
    for file in folder.iterdir():
        if file.suffix == ".json":
            file.unlink()
    (tmp_path / "scannetv2-labels.combined.tsv").unlink()
    (folder / f"{NAME}.txt").write_text("colorHeight = 968\n")  # no axisAlignment
    scene = open_scenes(tmp_path, labels_from="none", split="test", normals=False).load(NAME)
    np.testing.assert_array_equal(scene.points, vertices()["points"])
    assert scene.world_to_scene.equal(torch.eye(4, dtype=torch.float64))
    assert set(scene.semantic.tolist()) == {-1} and scene.normals is None
    (folder / f"{NAME}.txt").unlink()
    assert open_scenes(tmp_path, labels_from="none", align=False).load(NAME).points.shape[0] == 12


def test_splits_and_where_the_label_table_is_looked_for(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    for number in range(3):
        write_labelled_scene(root, f"scene000{number}_00")
    (root / "notes").mkdir()
    table = root / "scannetv2-labels.combined.tsv"
    assert open_scenes(root).names == [f"scene000{number}_00" for number in range(3)]
    listed = tmp_path / "scannetv2_val.txt"
    listed.write_text("scene0002_00\nscene0000_00\n")
    scenes = open_scenes(root, split_file=str(listed), split="val")
    assert scenes.names == ["scene0002_00", "scene0000_00"]
    table.rename(tmp_path / table.name)  # one folder up
    assert scenes.load("scene0002_00").split == "val"
    open_scenes(root)
    (tmp_path / table.name).rename(tmp_path / "table.tsv")
    with pytest.raises(FileNotFoundError, match=r"neither in .* nor one folder up.*label_map"):
        open_scenes(root)
    open_scenes(root, label_map=str(tmp_path / "table.tsv"))
    listed.write_text("scene0002_00\nscene0707_00\n")
    with pytest.raises(FileNotFoundError, match=r"1 of 2 scenes in .*scene0707_00_vh_clean_2\.ply"):
        open_scenes(root, split_file=str(listed))
    listed.write_text("../scans/scene0002_00\n")
    with pytest.raises(ValueError, match="is no scan name"):
        open_scenes(root, split_file=str(listed))


def test_wrong_options(tmp_path: Path) -> None:
    write_labelled_scene(tmp_path)
    for options, message in (
        ({"label_set": "scannet2O"}, "label_set is 'scannet2O'.*did you mean 'scannet200?'"),
        ({"labels_from": "ply"}, "labels_from is 'ply'"),
        ({"split": "training"}, "split is 'training'"),
    ):
        with pytest.raises(ValueError, match=message):
            open_scenes(tmp_path, **options)
    with pytest.raises(FileNotFoundError, match="root is ''"):
        component = registry.get("datasets", "scannet_scenes")
        component(component.Config()).open()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no folder NAME with NAME_vh_clean_2"):
        open_scenes(tmp_path / "empty")
    with pytest.raises(ValueError, match="has no scene 'x'"):
        open_scenes(tmp_path).load("x")


def test_pretraining_on_scenes_is_refused(tmp_path: Path) -> None:
    write_labelled_scene(tmp_path)
    config = registry.get("datasets", "scannet_scenes").Config(root=str(tmp_path))
    with pytest.raises(ValueError, match="'scannet_scenes' holds labelled scenes, not posed"):
        PosedFrames(DataConfig(source=config), "train", 0)


SEGS, AGGREGATION = f"{NAME}_vh_clean_2.0.010000.segs.json", f"{NAME}.aggregation.json"


def put(file: str, content: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / file).write_text(text)

    return change


def groups(*entries: Any) -> dict[str, Any]:
    return {"segGroups": list(entries)}


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (put(SEGS, "{"), r"segs\.json is not valid JSON"),
    (put(SEGS, "[" * 100_000), r"segs\.json is not valid JSON"),
    (put(SEGS, [1, 2]), r"segs\.json holds list .* expected an object"),
    (put(SEGS, {"segindices": []}), r"segs\.json: segIndices is missing; it has segindices"),
    (put(SEGS, {"segIndices": {}}), r"segIndices is dict .* expected a list of whole numbers"),
    (put(SEGS, {"segIndices": [1.5] * 12}), r"segIndices holds float '1\.5'"),
    (put(SEGS, {"segIndices": [True] * 12}), r"segIndices holds bool 'True'"),
    (put(SEGS, {"segIndices": [None] * 12}), r"segIndices holds NoneType"),
    (put(SEGS, {"segIndices": ["1"] * 12}), r"segIndices holds str"),
    (put(SEGS, {"segIndices": [2**70] * 12}), r"segIndices holds a number beyond 64 bits"),
    (put(SEGS, {"segIndices": [1] * 11}), r"holds 11 segments, but the mesh has 12 vertices"),
    (put(AGGREGATION, {"segGroups": {}}), r"segGroups is dict .*, expected a list"),
    (put(AGGREGATION, {}), r"aggregation\.json: segGroups is missing"),
    (put(AGGREGATION, groups(1)), r"segGroups\[0\] is int '1', expected an object"),
    (put(AGGREGATION, groups({"segments": []})), r"segGroups\[0\]\.label is missing"),
    (put(AGGREGATION, groups({"label": 1})), r"segGroups\[0\]\.label is int '1', expected text"),
    (put(AGGREGATION, groups({"label": "x"})), r"segGroups\[0\]\.segments is missing"),
    (
        put(AGGREGATION, groups(GROUPS[0], {"label": "x", "segments": [7, -8]})),
        r"segGroups\[1\]\.segments holds -8, a segment that no vertex has",
    ),
    (put(f"{NAME}.txt", "axisAlignment = 1 0 0"), r"\.txt line 1: axisAlignment holds 3 numbers"),
    (
        put(f"{NAME}.txt", "a = b\naxisAlignment = " + "x " * 16),
        r"line 2: axisAlignment: could not",
    ),
    (put(f"{NAME}.txt", "axisAlignment = " + "nan " * 16), r"expected 16 finite ones"),
    (put(f"{NAME}.txt", "axisAlignment = " + "2 " * 16), r"is no rotation and translation"),
    (lambda folder: (folder / SEGS).unlink(), r"segs\.json does not exist"),
    (lambda folder: (folder / f"{NAME}.txt").unlink(), r"\.txt does not exist"),
    (
        lambda folder: (folder / SEGS).open("wb").truncate(MAX_JSON + 1),
        rf"has {MAX_JSON + 1} bytes, expected at most {MAX_JSON}",
    ),
    (put(f"{NAME}_vh_clean_2.ply", "ply"), r"_vh_clean_2\.ply is not a whole PLY file"),
]


@pytest.mark.parametrize("change, message", REFUSED)
def test_what_is_refused(tmp_path: Path, change: Callable[[Path], None], message: str) -> None:
    folder = write_labelled_scene(tmp_path)
    scenes = open_scenes(tmp_path)
    change(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        scenes.load(NAME)
    assert NAME in str(caught.value)


@pytest.mark.parametrize(
    "table, message",
    [
        ("", "has no column 'raw_category'"),
        (TABLE[0].replace("nyu40id", "nyu"), "has no column 'nyu40id'"),
        ("\n".join([*TABLE, "8\tbroken"]), "line 8 has 2 columns, expected 8"),
        ("\n".join([*TABLE, "8\tx\tx\t1\tfive\t\t\t"]), "line 8: nyu40id is 'five'"),
        ("\n".join([*TABLE, "8\tx\tx\t1\t-5\t\t\t"]), "line 8: nyu40id is '-5'"),
        (TABLE[0] + "\n" + "x" * 200_000, "field larger than field limit"),
    ],
)
def test_label_tables_that_are_refused(tmp_path: Path, table: str, message: str) -> None:
    write_labelled_scene(tmp_path)
    (tmp_path / "scannetv2-labels.combined.tsv").write_text(table)
    with pytest.raises(ValueError, match=rf"combined\.tsv.*{message}"):
        open_scenes(tmp_path)


def test_labels_ply_of_another_mesh(tmp_path: Path) -> None:
    folder = write_labelled_scene(tmp_path)
    labels = folder / f"{NAME}_vh_clean_2.labels.ply"
    scenes = open_scenes(tmp_path, labels_from="labels_ply")
    write_mesh(labels)
    with pytest.raises(ValueError, match=r"labels\.ply: vertices have no property 'label'"):
        scenes.load(NAME)
    labels.write_text(
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
        "property float z\nproperty ushort label\nend_header\n0 0 0 1\n"
    )
    with pytest.raises(ValueError, match=r"has 1 vertices, but .* has 12"):
        scenes.load(NAME)


def test_names_inside_the_json_are_no_paths(tmp_path: Path) -> None:
    folder = write_labelled_scene(tmp_path)
    expected = open_scenes(tmp_path).load(NAME)
    for file, key in ((SEGS, "sceneId"), (AGGREGATION, "segmentsFile"), (AGGREGATION, "sceneId")):
        value = json.loads((folder / file).read_text())
        value[key] = "../../../../etc/passwd"
        (folder / file).write_text(json.dumps(value))
    assert open_scenes(tmp_path).load(NAME).semantic.equal(expected.semantic)


def test_label_sets() -> None:
    assert [len(each) for each in (NYU40, SCANNET20, SCANNET18, SCANNET200)] == [40, 20, 18, 200]
    assert SCANNET20.names[-1] == "otherfurniture" and SCANNET20.ids[-1] == 39
    assert set(SCANNET20.names) - set(SCANNET18.names) == {"wall", "floor"}
    assert SCANNET200.ids[SCANNET200.names.index("mattress")] == 1191
    assert SCANNET20.colors[0] == SCANNET200.colors[0] == (174, 199, 232)
    ids = np.array([0, 1, 13, 39, 40, -1, 10**12])
    assert SCANNET20.indices(ids).tolist() == [-1, 0, -1, 19, -1, -1, -1]
    assert SCANNET20.indices(np.zeros(0, np.int64)).shape == (0,)
    shuffled = LabelSet("x", (5, 2, 9), ("a", "b", "c"), ((1, 1, 1),) * 3)
    assert shuffled.indices(np.array([9, 5, 2, 3])).tolist() == [2, 0, 1, -1]
    table = SCANNET20.color_table()
    assert table.shape == (21, 3) and table[-1].tolist() == [0, 0, 0]
    for bad in (((5, 5), ("a", "b")), ((5,), ("a", "b"))):
        with pytest.raises(ValueError, match="label set x"):
            LabelSet("x", *bad, ((1, 1, 1),) * 2)


def test_boxes_against_a_loop() -> None:
    random = np.random.default_rng(0)
    for count, num_instances in ((0, 0), (1, 1), (33, 4), (257, 9)):
        points = random.normal(size=(count, 3)).astype(np.float32)
        instances = random.integers(-1, max(num_instances, 0), count)
        labels = random.integers(-1, 3, num_instances)
        boxes = instance_boxes(points, instances, labels)
        expected = []
        for instance in range(num_instances):
            inside = points[instances == instance]
            if len(inside) and labels[instance] >= 0:
                low, high = inside.min(0), inside.max(0)
                expected.append([*(low + high) / 2, *(high - low), labels[instance], instance])
        found = torch.cat(
            [boxes.centers, boxes.sizes, boxes.labels[:, None], boxes.instances[:, None]], 1
        )
        np.testing.assert_allclose(found, np.array(expected).reshape(-1, 8), rtol=1e-6)


def test_the_scene_checks_what_it_is_given() -> None:
    points, whole = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    scene = Scene("a", points, whole, whole)
    assert len(scene.boxes) == 0
    for change, message in (
        ({"points": points.double()}, "scene a: points is torch.float64"),
        ({"semantic": whole[:1]}, "semantic is torch.int64"),
        (
            {"points": torch.tensor([[0, 0, 0], [0, torch.nan, 0]])},
            "scene a: 1 of 2 points .*point 1",
        ),
        ({"semantic": whole - 2}, "semantic holds -2, expected -1 or a class index"),
        ({"instances": whole.int()}, "instances is torch.int32"),
        ({"colors": points}, "colors is torch.float32"),
        ({"normals": points[:1]}, "normals is"),
        ({"faces": points}, "faces is torch.float32"),
        ({"up": points[0]}, "up is torch.float32"),
        ({"world_to_scene": torch.eye(4)}, "world_to_scene is torch.float32"),
    ):
        fields: dict[str, Any] = {"points": points, "semantic": whole, "instances": whole}
        with pytest.raises(ValueError, match=message):
            Scene("a", **{**fields, **change})
    with pytest.raises(ValueError, match=r"boxes: sizes is torch.float32 \(1, 3\)"):
        Boxes(points, points[:1], points[:, 0], whole, whole)


def test_warnings_come_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2):
        write_labelled_scene(tmp_path, f"scene000{number}_00")
    scenes = open_scenes(tmp_path)
    with caplog.at_level(logging.WARNING):
        for name in scenes.names * 2:
            scenes.load(name)
    assert caplog.text.count("flux capacitor") == 1
    assert scenes.unknown_labels == {"flux capacitor": 6}
