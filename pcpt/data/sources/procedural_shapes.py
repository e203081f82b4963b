"""Parametric shapes with parts, normals and meshes, made on the spot: needs no files."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pcpt.choices import check_choice, check_minimum
from pcpt.data.shape import ListedShapeSet, Shape
from pcpt.data.shape_models import MODELS, ModelMesh, mesh_of
from pcpt.data.splits import SPLITS
from pcpt.data.surface import sample_surface, seeded
from pcpt.registry import register


@register("datasets", "procedural_shapes")
class ProceduralShapes:
    """Airplanes, bottles, chairs, guitars, knives, lamps, laptops, mugs, rockets and tables.

    A shape is a function of its name, the seed and the number of points alone. Splits are drawn
    apart from each other. Parts may lie partly inside others, as in meshes that people draw.
    """

    @dataclass
    class Config:
        """Attributes:
        split: train, val or test.
        classes: names of the classes, by default all ten.
        per_class: shapes of each class.
        surface_points: sampled on the surface of each shape.
        seed: of all shapes.
        """

        name: str = "procedural_shapes"
        split: str = "train"
        classes: list[str] = field(default_factory=lambda: list(MODELS))
        per_class: int = 50
        surface_points: int = 2048
        seed: int = 0

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: an option that cannot be.
        """
        check_choice("split", config.split, SPLITS)
        for name in config.classes:
            check_choice("classes", name, MODELS)
        if not config.classes or len(set(config.classes)) < len(config.classes):
            raise ValueError(f"classes is {list(config.classes)}, expected names, each once")
        check_minimum("per_class", config.per_class, 1)
        check_minimum("surface_points", config.surface_points, 1)
        self.config = config

    def open(self) -> "ProceduralShapeSet":
        """The shapes of the split; none is made yet."""
        return ProceduralShapeSet(self.config)


class ProceduralShapeSet(ListedShapeSet):
    """What ``ProceduralShapes`` opens. Global parts are named ``class/part``."""

    source = "procedural_shapes"
    has_normals = True

    def __init__(self, config: ProceduralShapes.Config) -> None:
        self._config = config
        self.classes = tuple(config.classes)
        models = [MODELS[name] for name in self.classes]
        self.part_names = tuple(f"{m.name}/{part}" for m in models for part in m.parts)
        firsts = [sum(len(m.parts) for m in models[:i]) for i in range(len(models))]
        self.parts_of_class = tuple(
            tuple(range(first, first + len(model.parts)))
            for first, model in zip(firsts, models, strict=True)
        )
        # class by class in turn, so that the first few shapes show several classes
        self.labels = {
            f"{config.split}_{name}_{index:05d}": label
            for index in range(config.per_class)
            for label, name in enumerate(self.classes)
        }
        self.names: Sequence[str] = list(self.labels)

    def load(self, name: str) -> Shape:
        label = self.label_of(name)
        mesh = self._mesh(name)
        points, normals, face = sample_surface(
            mesh.vertices,
            mesh.faces,
            self._config.surface_points,
            seeded("points", self._config.seed, name),
        )
        first = self.parts_of_class[label][0]
        return Shape(
            name,
            torch.from_numpy(points),
            torch.from_numpy(normals),
            label,
            torch.from_numpy(mesh.part[face] + first),
        )

    def mesh(self, name: str) -> tuple[Tensor, Tensor]:
        mesh = self._mesh(name)
        return torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.faces)

    def _mesh(self, name: str) -> ModelMesh:
        model = MODELS[self.classes[self.label_of(name)]]
        return mesh_of(model, seeded("shape", self._config.seed, name))
