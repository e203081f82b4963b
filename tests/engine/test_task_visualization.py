"""Reports of task runs and ``pcpt view``: from the command line to pages on disk."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from pcpt import cli, registry
from pcpt.data.label_set import LabelSet
from pcpt.data.ply import write_ply
from pcpt.data.scene import Boxes, Scene, SceneSet
from pcpt.data.scene_dataset import to_sample
from pcpt.data.shape import Shape, ShapeSet
from pcpt.engine import task_visualization
from pcpt.engine.task_results import scene_result
from pcpt.registry import register
from pcpt.sparse import SparseTensor
from pcpt.students import SparseUNet
from pcpt.view import load_cloud, with_features
from pcpt.viz.scene_results import result_figures

LABELS = LabelSet("two", (0, 1), ("floor", "<b>"), ((90, 160, 90), (200, 60, 60)))


def scene(name: str) -> Scene:
    """A floor with a cube, off the origin."""
    generator = torch.Generator().manual_seed(len(name))
    floor = torch.rand(900, 3, generator=generator) * torch.tensor([2.0, 2.0, 0.0])
    cube = torch.rand(600, 3, generator=generator) * 0.5 + torch.tensor([0.5, 0.5, 0.0])
    semantic = torch.repeat_interleave(torch.arange(2), torch.tensor([900, 600]))
    box = Boxes(
        torch.tensor([[5.75, 0.75, 0.25]]), torch.full((1, 3), 0.5), torch.zeros(1),
        torch.ones(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64),
    )  # fmt: skip
    points = torch.cat((floor, cube)) + torch.tensor([5.0, 0.0, 0.0])
    colors = (semantic[:, None] * torch.tensor([200, 90, 40]) + 20).to(torch.uint8)
    return Scene(name, points, semantic, semantic - 1, box, colors)


class PictureScenes(SceneSet):
    label_set = LABELS
    names = ("one", "second", "a third")

    def load(self, name: str) -> Scene:
        return scene(name)


@register("datasets", "picture_scenes")
class PictureSource:
    """Three small scenes."""

    @dataclass
    class Config:
        name: str = "picture_scenes"
        root: str = ""

    def __init__(self, config: Any) -> None:
        self.config = config

    def open(self) -> SceneSet:
        return PictureScenes()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of segmentation."""
    folder = tmp_path_factory.mktemp("runs") / "task"
    tree = {
        "run": str(folder),
        "task": {"name": "segmentation"},
        "student": {
            "name": "sparse_unet", "variant": "small", "planes": [8] * 8, "stem_channels": 8,
            "out_channels": 0, "voxel_size": 0.1,
        },
        "data": {"source": {"name": "picture_scenes"}, "splits": {"train": {}, "val": {}}},
        "train": {"steps": 2, "batch_size": 1},
    }  # fmt: skip
    path = folder.parent / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert cli.main(["train", str(path)]) == 0
    return folder


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures large enough to look at take most of a report's time."""
    monkeypatch.setattr(task_visualization, "result_figures", partial(result_figures, height=48))


def viewed(page: Path) -> dict[str, Any]:
    """The data inside a viewer."""
    text = page.read_text()
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def test_report_of_a_task_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["visualize", str(run), "--scene", "0"]) == 0
    assert f"report: {run / 'report' / 'index.html'}" in capsys.readouterr().out
    page = (run / "report" / "index.html").read_text()
    assert 'href="viewer.html"' in page and "scene alone" in page and "<b>" not in page
    for name in ("segmentation", "instances", "boxes", "features", "confusion", "loss"):
        assert (run / "report" / f"{name}.png").is_file(), name
    data = viewed(run / "report" / "viewer.html")
    assert data["name"] == "one" and data["total"] == 1500 and data["dims"] == 8
    wanted = {"positions", "colors", "labels", "prediction", "instances", "pca", "features"}
    assert set(data["arrays"]) == wanted
    assert data["low"] == pytest.approx(scene("one").points.amin(0).tolist(), abs=1e-3)
    assert data["boxes"][0]["corners"][0] == pytest.approx([5.5, 0.5, 0.0], abs=1e-3)


def test_report_takes_the_figures_of_the_split(run: Path) -> None:
    assert cli.main(["test", str(run)]) == 0
    assert cli.main(["visualize", str(run), "--scene", "a third"]) == 0
    page = (run / "report" / "index.html").read_text()
    assert "points of the split" in page and "by class" in page and "points/iou" in page
    assert cli.main(["visualize", str(run), "--split", "train"]) == 0
    page = (run / "report" / "index.html").read_text()
    assert "scene alone" in page and "Scene second" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scene", "secnd"], "no scene 'secnd' in split 'val'; did you mean 'second'"),
        (["--scene", "3"], "a number from 0 to 2"),
        (["--frame", "0"], "give --scene"),
        (["--split", "test"], "names no 'test'"),
    ],
)
def test_mistakes(
    run: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["visualize", str(run), *words]) == 2
    assert message in capsys.readouterr().err


class _Student(torch.nn.Module):
    def forward(self, x: SparseTensor) -> SparseTensor:
        return x


class _Task(torch.nn.Module):
    """Stands for a task that predicts what it is told."""

    label_set = LABELS

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.student = _Student()
        self.found = found

    def voxels(self, batch: Any) -> Any:
        count = len(batch.points)
        coordinates = torch.arange(count * 4, dtype=torch.int32).view(count, 4) % 30000
        coordinates[:, 0] = 0
        return SparseTensor(batch.colors, coordinates), torch.arange(count)

    def predict(self, batch: Any) -> Any:
        return self.found


def test_objects_go_to_the_surest() -> None:
    batch = to_sample(scene("one"))
    masks = torch.zeros(2, 1500, dtype=torch.bool)
    masks[0, :900], masks[1, 800:1000] = True, True
    found = SimpleNamespace(
        masks=masks, labels=torch.tensor([1, 0]), scores=torch.tensor([0.9, 0.4])
    )
    result = scene_result(_Task([found]), batch)
    owner = result.predicted_instances
    assert owner is not None and result.prediction is not None
    assert owner[[0, 850, 950, 1200]].tolist() == [0, 0, 1, -1]
    assert result.prediction[[0, 850, 950, 1200]].tolist() == [1, 1, 0, -1]


def test_boxes_come_in_the_frame_of_the_scene() -> None:
    batch = to_sample(scene("one"))
    rows = torch.cat((batch.boxes[0].centers, batch.boxes[0].sizes, torch.zeros(1, 1)), dim=1)
    found = SimpleNamespace(boxes=rows, labels=torch.ones(1).long(), scores=torch.tensor([0.5]))
    task = _Task([found]).train()
    result = scene_result(task, batch)
    assert task.training
    assert result.predicted_boxes.centers[0].tolist() == pytest.approx([5.75, 0.75, 0.25], abs=1e-3)
    assert result.boxes.centers[0].tolist() == pytest.approx([5.75, 0.75, 0.25], abs=1e-3)
    assert torch.equal(result.points, scene("one").points)


def test_a_task_that_says_nothing_known() -> None:
    result = scene_result(_Task("nothing"), to_sample(scene("one")))
    assert result.prediction is None and result.features is not None


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported network."""
    torch.manual_seed(0)
    config = SparseUNet.Config(
        variant="small", planes=[8] * 8, stem_channels=8, out_channels=0, voxel_size=0.1
    )
    return SparseUNet(config).save_pretrained(tmp_path_factory.mktemp("export"))


def test_view_of_a_ply(student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = scene("one").points.numpy()
    write_ply(tmp_path / "cloud.ply", points, np.full((1500, 3), 90, np.uint8))
    page = tmp_path / "pages" / "page.html"
    words = ["view", str(student), str(tmp_path / "cloud.ply"), "--out", str(page)]
    assert cli.main([*words, "--points", "400"]) == 0
    assert str(page) in capsys.readouterr().out
    data = viewed(page)
    assert (data["count"], data["total"], data["dims"]) == (400, 1500, 8)
    assert set(data["arrays"]) == {"positions", "colors", "pca", "features"}
    write_ply(tmp_path / "empty.ply", np.zeros((0, 3), np.float32))
    assert cli.main(["view", str(student), str(tmp_path / "empty.ply"), "--out", str(page)]) == 0
    assert viewed(page)["count"] == 0


class OneShape(ShapeSet):
    """A chair lying on its side, in inches."""

    names = ("chair_1",)
    classes = ("chair",)
    part_names = ("leg", "seat")
    up = (1.0, 0.0, 0.0)

    def load(self, name: str) -> Shape:
        points = 40 + 10 * torch.rand(200, 3, generator=torch.Generator().manual_seed(1))
        normals = torch.tensor([1.0, 0.0, 0.0]).expand(200, 3).clone()
        return Shape(name, points, normals, 0, torch.arange(200) % 2)


@register("datasets", "one_shape")
class OneShapeSource:
    @dataclass
    class Config:
        name: str = "one_shape"
        root: str = ""

    def __init__(self, config: Config) -> None:
        self.config = config

    def open(self) -> OneShape:
        return OneShape()


def test_view_of_a_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = registry.get("students", "pointnet")
    torch.manual_seed(0)
    plain = made(made.Config(width=0.0625)).save_pretrained(tmp_path / "plain")
    with_normals = made(made.Config(width=0.0625, normals=True)).save_pretrained(tmp_path / "n")
    page = tmp_path / "page.html"
    shape = [str(tmp_path), "--source", "one_shape", "--out", str(page)]
    for student in (plain, with_normals):
        assert cli.main(["view", str(student), *shape]) == 0
        data = viewed(page)
        assert data["count"] == 200 and {"labels", "features"} < set(data["arrays"])
        assert data["up"] == [1.0, 0.0, 0.0]
    result, normals = load_cloud(tmp_path, "one_shape", scene="chair_1")
    assert float(result.points.norm(dim=1).max()) == pytest.approx(1, abs=1e-5)
    assert dict(result.facts) == {"class": "chair"} and normals is not None
    seen = []

    class Watched(type(made(made.Config(width=0.0625)))):  # type: ignore[misc]
        def features_at(self, points: Any, normals: Any = None) -> torch.Tensor:
            seen.append(normals)
            return super().features_at(points, normals)

    with_features(result, Watched(made.Config(width=0.0625)), normals)
    assert torch.allclose(seen[0], torch.tensor([0.0, 0.0, 1.0]).expand(200, 3), atol=1e-6)
    # the colours of a cloud are no normals
    cloud = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    write_ply(tmp_path / "c.ply", cloud, np.full((20_000, 3), 90, np.uint8))
    words = [str(tmp_path / "c.ply"), "--out", str(page)]
    assert cli.main(["view", str(plain), *words]) == 0
    assert viewed(page)["total"] == 1 << 14
    assert cli.main(["view", str(with_normals), *words]) == 2
    assert "needs normals" in capsys.readouterr().err
    assert cli.main(["view", str(plain), *shape, "--scene", "chair_2"]) == 2
    assert "did you mean 'chair_1'?; expected one of 1 shapes" in capsys.readouterr().err
    drawn = ["visualize", str(tmp_path), "--source", "one_shape", "--out", str(tmp_path / "out")]
    assert cli.main(drawn) == 2
    assert "pcpt view shows one" in capsys.readouterr().err


def test_view_by_a_network_on_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = registry.get("students", "view_network")
    network = made(made.Config(codeword_channels=8)).save_pretrained(tmp_path / "pictures")
    words = ["view", str(network), str(tmp_path / "c.ply"), "--out", str(tmp_path / "page.html")]
    assert cli.main(words) == 2
    assert "ViewNetwork, which gives no features at the points" in capsys.readouterr().err


def test_view_of_a_scene_by_the_student_of_a_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    words = ["view", str(run), str(tmp_path), "--source", "picture_scenes", "--out", str(page)]
    assert cli.main([*words, "--scene", "second"]) == 0
    assert {"labels", "instances", "features"} < set(viewed(page)["arrays"])
    assert cli.main(words) == 2
    assert "expected one of 3 scenes" in capsys.readouterr().err
    assert cli.main(["view", str(run), str(tmp_path / "no.ply"), "--out", str(page)]) == 2
