"""A teacher in a student's place: features of scenes from their recordings, and a probe on them."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt.config import make_config
from pcpt.data.frame import Scan
from pcpt.data.label_set import label_set
from pcpt.data.lifting import lift_features
from pcpt.data.scene import Scene, SceneSet
from pcpt.data.scene_batch import SceneBatch, collate_scenes
from pcpt.data.scene_dataset import to_sample
from pcpt.engine.export import export_student
from pcpt.engine.run import train
from pcpt.engine.task_evaluation import evaluate_task
from pcpt.ops import voxelize
from pcpt.registry import register
from pcpt.students.lifted import LiftedTeacher
from tests.data.test_lifting import HEIGHT, WIDTH, BoardAndWall, Colors

register("teachers", "lifting_colors")(Colors)


@register("datasets", "lifting_frames")
class Frames:
    @dataclass
    class Config:
        name: str = "lifting_frames"
        scans: list[str] = field(default_factory=lambda: ["a", "b"])
        broken: list[str] = field(default_factory=list)

    def __init__(self, config: Config) -> None:
        self.config = config

    def open(self) -> list[Scan]:
        scans: list[Scan] = []
        for name in self.config.scans:
            scan = BoardAndWall(2, broken=tuple(self.config.broken))
            scan.name = name
            scans.append(scan)
        return scans


def make_scene(name: str, seed: int = 0, turned: bool = False) -> Scene:
    """Points on the wall (class 0) and on the board (class 1)."""
    generator = torch.Generator().manual_seed(seed)
    flat = torch.rand(60, 2, generator=generator)
    wall = torch.cat(
        [flat * torch.tensor([1.5, 1.0]) + torch.tensor([0.5, -0.5]), torch.full((60, 1), 3.0)], 1
    )
    board = torch.cat(
        [flat * torch.tensor([-0.5, 0.6]) - torch.tensor([0.1, 0.3]), torch.ones(60, 1)], 1
    )
    points = torch.cat([wall, board])
    world_to_scene = torch.eye(4, dtype=torch.float64)
    if turned:
        world_to_scene[:2, :2] = torch.tensor([[0.0, -1], [1, 0]])
        world_to_scene[:3, 3] = torch.tensor([5.0, 6, 7])
        points = (points.double() @ world_to_scene[:3, :3].T + world_to_scene[:3, 3]).float()
    labels = torch.arange(2).repeat_interleave(60)
    up = torch.tensor([0.0, -1, 0], dtype=torch.float64)
    return Scene(name, points, labels, labels, up=up, world_to_scene=world_to_scene)


@register("datasets", "lifting_scenes")
class Scenes(SceneSet):
    @dataclass
    class Config:
        name: str = "lifting_scenes"
        scenes: list[str] = field(default_factory=lambda: ["a", "b"])

    def __init__(self, config: Config) -> None:
        self.names = config.scenes
        self.label_set = label_set("two", "1 200 0 0 wall\n2 0 0 200 board")

    def open(self) -> SceneSet:
        return self

    def load(self, name: str) -> Scene:
        return make_scene(name, turned=name == "b")


def student(**options: Any) -> LiftedTeacher:
    values: dict[str, Any] = {
        "teacher": {"name": "lifting_colors"},
        "frames": {"name": "lifting_frames"},
        "voxel_size": 0.2,
        "image_size": [HEIGHT, WIDTH],
    }
    return LiftedTeacher(LiftedTeacher.Config(**{**values, **options}))


def batch_of(*scenes: Scene) -> SceneBatch:
    return collate_scenes([to_sample(scene, number) for number, scene in enumerate(scenes)])


def test_voxels_have_the_lifted_features() -> None:
    """Of both scenes of a batch, the second turned along its walls."""
    batch = batch_of(make_scene("a", 1), make_scene("b", 2, turned=True))
    lifted = student()
    voxels, point_to_voxel = lifted.voxels_of_scenes(batch)
    assert lifted(voxels) is voxels and lifted.feature_channels == 3
    coordinates, rows = voxelize(batch.points, 0.2, batch.batch_index)
    assert torch.equal(voxels.coordinates, coordinates) and torch.equal(point_to_voxel, rows)
    for scene, seed in enumerate((1, 2)):
        mine = batch.batch_index == scene
        world, row = make_scene("a", seed).points, rows[mine]
        expected = lift_features(
            Colors(), BoardAndWall(2), world, row - row.min(), image_size=(HEIGHT, WIDTH)
        )
        found = voxels.features[int(row.min()) : int(row.max()) + 1]
        torch.testing.assert_close(found, expected.features, atol=0.1, rtol=1e-3)  # half precision


def test_cache_gives_the_same_and_reads_no_frame(tmp_path: Path) -> None:
    batch = batch_of(make_scene("a"))
    plain = student().voxels_of_scenes(batch)[0].features
    first = student(cache=str(tmp_path)).voxels_of_scenes(batch)[0].features
    again = student(cache=str(tmp_path))
    assert torch.equal(again.voxels_of_scenes(batch)[0].features, first)
    assert torch.equal(plain, first) and not again._scans and not again.teacher.calls
    for changed in ({"every": 2}, {"voxel_size": 0.25}, {"relative_tolerance": 0.1}):
        other = student(cache=str(tmp_path), **changed)
        other.voxels_of_scenes(batch)
        assert other.teacher.calls, changed  # what is kept is of another lifting
    other = student(cache=str(tmp_path))
    other.teacher.unused.data += 1  # other weights
    other.voxels_of_scenes(batch)
    assert other.teacher.calls


def test_random_teachers_are_calibrated_alike() -> None:
    teacher = {"name": "random", "of": "lite0", "options": {"stage": 3}}
    one, other = student(teacher=teacher), student(teacher=teacher)
    assert not one.teacher.needs_calibration and one.feature_channels == 40
    batch = batch_of(make_scene("a"))
    features = one.voxels_of_scenes(batch)[0].features
    assert torch.equal(features, other.voxels_of_scenes(batch)[0].features)
    assert features.std() > 0


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"scene c has no recording among the 2 scans"):
        student().voxels_of_scenes(batch_of(make_scene("c")))
    with pytest.raises(ValueError, match=r"none of 2 frames can be used"):
        frames = {"name": "lifting_frames", "broken": ["0", "1"]}
        student(frames=frames).voxels_of_scenes(batch_of(make_scene("a")))
    with pytest.raises(ValueError, match=r"student\.teacher: unknown key 'stge'"):
        student(teacher={"name": "lite0", "stge": 4})
    with pytest.raises(ValueError, match=r"student\.frames\.name is missing"):
        student(frames={"scans": ["a"]}).voxels_of_scenes(batch_of(make_scene("a")))
    with pytest.raises(ValueError, match="unknown teacher 'lite'"):
        student(teacher={"name": "lite"})
    with pytest.raises(ValueError, match=r"student\.every is 0"):
        student(every=0)


@pytest.mark.parametrize("levels", ["last", "all"])
def test_linear_probe_reads_it(tmp_path: Path, levels: str) -> None:
    """Wall and board differ in colour alone here, which the scenes do not have: points are grey."""
    config = make_config(
        {
            "run": str(tmp_path / "run"),
            "device": "cpu",
            "task": {"name": "linear_probe", "levels": levels},
            "student": {
                "name": "lifted",
                "teacher": {"name": "lifting_colors"},
                "voxel_size": 0.2,
                "frames": {"name": "lifting_frames"},
                "image_size": [HEIGHT, WIDTH],
                "cache": str(tmp_path / "cache"),
            },
            "data": {
                "source": {"name": "lifting_scenes"},
                "splits": {"train": {"scenes": ["a"]}, "val": {"scenes": ["b"]}},
            },
            "optim": {"name": "adamw", "lr": 0.1},
            "train": {"steps": 20, "batch_size": 1, "log_every": 20},
        }
    )
    assert train(config).step == 20
    figures = evaluate_task(tmp_path / "run", split="val")["figures"]
    assert figures["points/miou"] == 1.0 and figures["num_scenes"] == 1
    assert (tmp_path / "cache" / "a.safetensors").is_file()
    with pytest.raises(ValueError, match="'lifted' cannot be exported"):
        export_student(tmp_path / "run", tmp_path / "export")


def test_an_empty_scene_has_no_voxels() -> None:
    scene = make_scene("a")
    none = torch.zeros(0, dtype=torch.int64)
    empty = replace(scene, points=torch.zeros(0, 3), semantic=none, instances=none)
    voxels, point_to_voxel = student().voxels_of_scenes(batch_of(empty, scene))
    assert len(point_to_voxel) == 120 and (voxels.coordinates[:, 0] == 1).all()
