"""The base of tasks on single shapes, through the trainer's own interface."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from pcpt import registry
from pcpt.config import load_config
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_dataset import ShapeDataConfig
from pcpt.engine.run import train
from pcpt.engine.task_evaluation import evaluate_task
from pcpt.methods.base import Output
from pcpt.registry import register
from pcpt.students.point_features import PointFeatures
from pcpt.tasks.objects import ObjectTask
from tests.tasks.tiny_shapes import placed_data, tiny_points


@register("students", "toy_points")
class ToyPoints(nn.Module):
    @dataclass
    class Config:
        name: str = "toy_points"
        width: int = 16

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.point_channels = self.pooled_channels = config.width
        self.layers = nn.Sequential(nn.Linear(3, config.width), nn.ReLU())

    def forward(self, points: Tensor, normals: Tensor | None = None) -> PointFeatures:
        point = self.layers(points)
        return PointFeatures(point, point.amax(1))


@register("tasks", "toy_objects")
class ToyObjects(ObjectTask):
    @dataclass
    class Config:
        name: str = "toy_objects"
        unused: list[int] = field(default_factory=list)

    def __init__(self, config: Any, student: Any, data: ShapeDataConfig) -> None:
        super().__init__(config, student, data)
        self.head = nn.Linear(student.pooled_channels, len(self.classes))

    def forward(self, batch: ShapeBatch) -> Output:
        scores = self.head(self.student(batch.points).pooled)
        return Output(F.cross_entropy(scores, batch.label), {})

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ShapeBatch]) -> dict[str, float]:
        right = [
            float((self.head(self.student(b.points).pooled).argmax(1) == b.label).float().mean())
            for b in batches
        ]
        return {"accuracy": sum(right) / len(right), "shapes": float(len(right))}


def test_trains_and_scores_through_the_engine(tmp_path: Path) -> None:
    tree = {
        "run": str(tmp_path / "run"),
        "device": "cpu",
        "task": {"name": "toy_objects"},
        "student": {"name": "toy_points"},
        "data": {
            "source": {
                "name": "procedural_shapes", "classes": ["bottle", "table"], "per_class": 10,
                "surface_points": 64,
            },
            "num_points": 64, "augment": {"rotation": "up"},
        },
        "optim": {"name": "adamw", "lr": 0.02},
        "train": {"steps": 30, "batch_size": 6, "log_every": 10},
    }  # fmt: skip
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(tree))
    assert train(load_config([tmp_path / "toy.yaml"])).step == 30
    figures = evaluate_task(tmp_path / "run", split="test")["figures"]
    assert figures["shapes"] == 20
    assert figures["accuracy"] > 0.8  # of two classes that a plain look at the extents tells apart
    assert evaluate_task(tmp_path / "run", split="val")["figures"]["shapes"] == 2


def test_what_the_base_knows() -> None:
    from pcpt.data.sources.procedural_shapes import ProceduralShapes

    data = ShapeDataConfig(source=ProceduralShapes.Config(classes=["mug"], per_class=3))
    student = ToyPoints(ToyPoints.Config())
    task = ToyObjects(ToyObjects.Config(), student, data)
    assert task.classes == ("mug",) and task.part_names == ("mug/body", "mug/handle")
    assert task.parts_of_class == ((0, 1),)
    whole = task.evaluation_set(data, "train")
    assert not whole.training and task.make_dataset(data, "train", 0).training
    assert task.collate([whole[0], whole[1]]).num_samples == 2
    assert "single shapes" in task.protocol


def test_classes_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    from pcpt.data.sources.procedural_shapes import ProceduralShapes, ProceduralShapeSet

    class Bare(ProceduralShapeSet):
        def __init__(self, config: ProceduralShapes.Config) -> None:
            super().__init__(config)
            self.classes = ()

    monkeypatch.setattr(ProceduralShapes, "open", lambda self: Bare(self.config))
    with pytest.raises(ValueError, match="procedural_shapes' has no classes"):
        ToyObjects(
            ToyObjects.Config(),
            ToyPoints(ToyPoints.Config()),
            ShapeDataConfig(source=ProceduralShapes.Config()),
        )


@pytest.mark.parametrize("name", ["classification", "part_segmentation", "linear_svm", "few_shot"])
def test_splits_of_other_classes_are_refused(name: str) -> None:
    data = placed_data(num_parts=6)
    task = registry.get("tasks", name)(registry.get("tasks", name).Config(), tiny_points(), data)
    for classes, message in (
        (
            ["ant", "cat", "bee"],
            "class 1 of split '{}' is 'cat', but that of split 'train' is 'bee",
        ),
        (["ant", "bee"], "class 2 of split '{}' is none, but that of split 'train' is 'cat'; give"),
        ([], "class 0 of split '{}' is none, but"),
    ):
        for split in ("val", "test"):
            other = replace(data, splits={split: {"split": split, "classes": classes}})
            for opened in (task.evaluation_set, lambda *of: task.make_dataset(*of, seed=0)):
                with pytest.raises(ValueError, match=message.format(split)):
                    opened(other, split)
    parts = replace(data, splits={"test": {"split": "test", "num_parts": 5}})
    if name == "part_segmentation":
        with pytest.raises(ValueError, match=r"part 5 of split 'test' is none, but .* 'part5'"):
            task.evaluation_set(parts, "test")
    else:
        assert len(task.evaluation_set(parts, "test")) == 12  # whose parts nobody asks for
