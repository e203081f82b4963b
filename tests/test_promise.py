"""The promise: a new method, dataset, teacher or student is one file and one config, no change
elsewhere. Here is one of each, in this file, trained for five steps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

import pcpt
from pcpt.config import load_config
from pcpt.data.batch import Batch
from pcpt.data.frame import BrokenFrame, Frame, Scan
from pcpt.engine.checkpoint import checkpoint_path, load_checkpoint
from pcpt.engine.run import build, load_run, train
from pcpt.geometry import Camera
from pcpt.methods.base import Method, Output
from pcpt.ops import sample_pixels
from pcpt.registry import register
from pcpt.teachers.base import Teacher

HEIGHT, WIDTH = 12, 16


class Corridor(Scan):
    """A camera that walks towards a painted wall; its third frame is broken."""

    def __init__(self, name: str, num_frames: int) -> None:
        self.name = name
        self.names = [f"{i:03d}" for i in range(num_frames)]
        self.held_out = frozenset(self.names[-1:])
        self.up = torch.tensor([0.0, -1.0, 0.0])

    def load(self, name: str) -> Frame:
        if name == "002":
            raise BrokenFrame(f"{name}.png: tracking lost")
        step = float(name)
        pose = torch.eye(4)
        pose[2, 3] = 0.1 * step
        intrinsics = [[20.0, 0, WIDTH / 2], [0, 20.0, HEIGHT / 2], [0, 0, 1]]
        camera = Camera(intrinsics, HEIGHT, WIDTH, pose)
        generator = torch.Generator().manual_seed(int(step))
        image = torch.randint(0, 256, (3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
        depth = torch.full((HEIGHT, WIDTH), 3.0 - 0.1 * step)
        return Frame(name, image, depth, camera, camera)


@register("datasets", "promise_corridor")
class Corridors:
    @dataclass
    class Config:
        name: str = "promise_corridor"
        scans: list[str] = field(default_factory=lambda: ["north", "south"])
        num_frames: int = 6

    def __init__(self, config: Config) -> None:
        self.config = config

    def open(self) -> list[Scan]:
        return [Corridor(name, self.config.num_frames) for name in self.config.scans]


@register("teachers", "promise_edges")
class Edges(Teacher):
    @dataclass
    class Config:
        name: str = "promise_edges"
        gain: float = 1.0

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.channels, self.stride, self.offset = 6, 2, 0.5
        self.filters = nn.Conv2d(3, 6, 2, stride=2)
        nn.init.normal_(self.filters.weight, std=config.gain)

    def features(self, images: Tensor) -> Tensor:
        return self.filters(images.float() / 255)


@register("students", "promise_points")
class Points(nn.Module):
    @dataclass
    class Config:
        name: str = "promise_points"
        width: int = 16
        out_channels: int = 6

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, config.width), nn.ReLU(), nn.Linear(config.width, config.out_channels)
        )

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        return self.layers(torch.cat([points, colors], 1))


@register("methods", "promise_regression")
class Regression(Method):
    @dataclass
    class Config:
        name: str = "promise_regression"
        weight: float = 1.0

    def __init__(self, config: Config, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.weight = config.weight
        self.student = student
        self.freeze("teacher", teacher)

    def forward(self, batch: Batch) -> Output:
        size = (batch.images.shape[2], batch.images.shape[3])
        target = sample_pixels(
            self.frozen["teacher"](batch.images), batch.view_index, batch.pixel, size
        )
        features = self.student(batch.points, batch.colors)[batch.point_index]
        loss = self.weight * F.mse_loss(features, target)
        return Output(loss, {"num_pairs": float(batch.num_pairs)})


def write_config(path: Path, **sections: Mapping[str, Any]) -> Path:
    tree: dict[str, Any] = {
        "run": str(path.parent / "run"),
        "device": "cpu",
        "method": {"name": "promise_regression", "weight": 2.0},
        "student": {"name": "promise_points"},
        "teacher": {"name": "promise_edges", "gain": 0.5},
        "data": {"source": {"name": "promise_corridor"}, "image_size": [HEIGHT, WIDTH]},
        "optim": {"name": "adamw", "lr": 0.02},
        "train": {"steps": 5, "batch_size": 4, "log_every": 1},
    }
    path.write_text(yaml.safe_dump({**tree, **sections}))
    return path


@pytest.mark.parametrize("workers", [0, 2])
def test_five_steps(tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config([write_config(tmp_path / "mine.yaml")], [f"train.workers={workers}"])
    teacher = build(config).teacher.state_dict()
    assert train(config).step == 5

    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[-1]["loss"] < lines[0]["loss"] and lines[0]["num_pairs"] > 100
    assert caplog.text.count("002.png: tracking lost") <= 2  # one in each scan
    assert "skipped 2 broken frames" in caplog.text

    state = load_checkpoint(checkpoint_path(tmp_path / "run", 5))
    assert not any("teacher" in name for name in state["method"])
    _, parts = load_run(tmp_path / "run", device="cpu")
    for name, value in parts.teacher.state_dict().items():
        assert torch.equal(value, teacher[name])


def test_each_is_listed_like_the_built_in_ones() -> None:
    assert "promise_regression" in pcpt.list("methods")
    assert "promise_corridor" in pcpt.list("datasets")
    assert "promise_edges" in pcpt.list("teachers")
    assert "promise_points" in pcpt.list("students")


def test_each_works_with_the_built_in_ones(tmp_path: Path) -> None:
    unet = {
        "name": "sparse_unet", "variant": "small", "planes": [4] * 8, "blocks": [1] * 8,
        "stem_channels": 4, "out_channels": 8, "voxel_size": 0.2,
    }  # fmt: skip
    path = write_config(tmp_path / "ppkt.yaml", method={"name": "ppkt", "pairs": 64}, student=unet)
    assert train(load_config([path])).step == 5
