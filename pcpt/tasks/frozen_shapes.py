"""What is asked of a network on single shapes that never changes: its embeddings, computed once.
Registers no task."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pcpt.choices import check_choice, check_minimum
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_dataset import ShapeDataConfig, Shapes
from pcpt.students.norms import measuring_norms
from pcpt.tasks.objects import POOLINGS, ObjectTask
from pcpt.tasks.shape_features import Embeddings, embed_shapes


@dataclass
class FrozenShapesConfig:
    """Keys of the ``task`` section that all tasks on frozen embeddings have.

    Attributes:
        pooling: see ``classification``.
        standardize: bring each channel to zero mean and unit variance, by statistics of the
            labelled shapes.
        norm_shapes: set the statistics of the network's batch norms on so many training shapes
            first. For networks with random weights, whose norms have seen nothing; 0, for all
            others, leaves the network as it is.
        batch_size: shapes of one forward pass.
        cache: folder that keeps embeddings for later runs, found by weights and points; empty
            keeps none.
    """

    pooling: str = "pooled"
    standardize: bool = True
    norm_shapes: int = 0
    batch_size: int = 32
    cache: str = ""

    def __post_init__(self) -> None:
        check_choice("task.pooling", self.pooling, POOLINGS)
        check_minimum("task.norm_shapes", self.norm_shapes, 0)
        check_minimum("task.batch_size", self.batch_size, 1)


class FrozenShapes(ObjectTask):
    """Base of tasks on frozen embeddings. Frozen means frozen: the network stays in eval mode,
    without gradients, and weights and running statistics are saved as they came (but see
    ``norm_shapes``).

    Nothing is trained by steps: ``train.steps: 1`` is the whole run. The trainer wants a parameter
    to move; it is given one that has no effect.
    """

    def __init__(self, config: Any, student: Any, data: ShapeDataConfig) -> None:
        super().__init__(config, student, data)
        self.data = data
        student.eval().requires_grad_(False)
        self.unused = nn.Parameter(torch.zeros(()))

    def train(self, mode: bool = True) -> "FrozenShapes":
        """As ``nn.Module.train``, but the network stays in eval mode."""
        super().train(mode)
        self.student.eval()
        return self

    def make_dataset(self, config: ShapeDataConfig, split: str, seed: int) -> Shapes:  # type: ignore[override]
        """Shapes as they are; those of "train" limited. Augmentation is for networks that learn."""
        shapes = Shapes(config, split, seed, training=False, limited=split == "train")
        return self.checked_split(shapes)

    def prepare(self, batches: Iterable[ShapeBatch]) -> None:
        """Sets the statistics of the network's norms where ``norm_shapes`` asks for it."""
        wanted = self.config.norm_shapes
        if not wanted:
            return
        shapes = Shapes(self.data, "train", 0, training=False)
        device = next(self.student.parameters()).device
        step = max(1, len(shapes) // wanted)  # over all of the list, which may be class by class
        chosen = list(range(0, len(shapes), step))[:wanted]
        size = self.config.batch_size
        with torch.no_grad(), measuring_norms(self.student):
            for start in range(0, len(chosen), size):
                part = [shapes[number] for number in chosen[start : start + size]]
                batch = self.collate(part).to(device)
                self.student(batch.points, batch.normals)

    def embed(self, batches: Iterable[ShapeBatch]) -> Embeddings:
        """The embeddings of shapes, before standardisation."""
        config = self.config
        return embed_shapes(
            self.student,
            (self.checked(batch) for batch in batches),
            pooling=config.pooling,
            batch_size=config.batch_size,
            cache=config.cache,
        )

    def embed_split(self, split: str) -> Embeddings:
        """The embeddings of a split that the run may learn from: the limited "train", or "val"."""
        shapes = self.make_dataset(self.data, split, 0)
        return self.embed(shapes[number] for number in range(len(shapes)))


def with_labels(embeddings: Embeddings, what: str) -> Embeddings:
    """Only the shapes that have a class.

    Raises:
        ValueError: none has.
    """
    labelled = embeddings.labels >= 0
    if not bool(labelled.any()):
        raise ValueError(f"no shape of {what} has a label")
    return Embeddings(*(values[labelled] for values in embeddings))


def scaled(features: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """(S, D) features of zero mean and unit variance, float64."""
    return (features.double() - mean.double()) * scale.double()
