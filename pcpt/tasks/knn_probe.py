"""Nearest-neighbour probe: what a frozen student knows without any training on top."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.choices import check_minimum
from pcpt.data.limited import limit_scenes
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_dataset import SceneDataConfig, open_split
from pcpt.methods.base import Output
from pcpt.registry import register
from pcpt.tasks.frozen import FeatureBatch, FrozenConfig, FrozenProbe
from pcpt.tasks.segmentation import Prediction

_MOST_SIMILARITIES = 1 << 24  # held in memory at once


@register("tasks", "knn_probe")
class KnnProbe(FrozenProbe):
    """Classes by vote of the most similar features of a bank of labelled training voxels.

    Similarity is the cosine, a neighbour's weight exp(similarity / temperature), as Caron et al.
    evaluate DINO (ICCV 2021, arXiv 2104.14294). Nothing is trained: the first training step fills
    the bank from all training scenes, so that ``train.steps: 1`` is the whole run. The trainer
    wants a parameter to move; it is given one that has no effect.
    """

    @dataclass
    class Config(FrozenConfig):
        """Keys of the ``task`` section; see also :class:`pcpt.tasks.frozen.FrozenConfig`.

        Attributes:
            neighbors: k.
            temperature: of the votes.
            voxels_per_scene: labelled voxels of each training scene in the bank.
        """

        name: str = "knn_probe"
        voxels_per_scene: int = 256
        neighbors: int = 20
        temperature: float = 0.07

        def __post_init__(self) -> None:
            super().__post_init__()
            check_minimum("task.voxels_per_scene", self.voxels_per_scene, 1)
            check_minimum("task.neighbors", self.neighbors, 1)
            if not self.temperature > 0:
                raise ValueError(f"task.temperature is {self.temperature}, expected above 0")

    bank: Tensor
    bank_labels: Tensor

    def __init__(self, config: Config, student: Any, data: SceneDataConfig) -> None:
        super().__init__(config, student, data)
        scenes = limit_scenes(open_split(data, "train").names, data.limit)
        rows = len(scenes) * config.voxels_per_scene
        self.register_buffer("bank", torch.zeros(rows, self.num_channels))
        self.register_buffer("bank_labels", torch.full((rows,), -1))  # -1: a row without use
        self.unused = nn.Parameter(torch.zeros(()))

    def prepare(self, batches: Iterable[FeatureBatch]) -> None:
        """Empties the bank: first weights may have brought that of other scenes along."""
        super().prepare(batches)
        self.bank.zero_()
        self.bank_labels.fill_(-1)

    @torch.no_grad()
    def fill(self, scenes: Iterable[FeatureBatch]) -> None:
        """Makes the bank of the features of all training scenes.

        Raises:
            ValueError: no labelled voxel in any of them.
        """
        parts = list(scenes)
        features = torch.cat([part.features for part in parts])
        if not len(features):
            raise ValueError("no training scene has a labelled point: the bank would be empty")
        self.set_statistics(features)
        self.bank[: len(features)] = F.normalize(self.standardized(features), dim=1)
        self.bank_labels.fill_(-1)
        self.bank_labels[: len(features)] = torch.cat([part.labels for part in parts])

    def forward(self, batch: FeatureBatch) -> Output:
        """Fills the bank if it is empty; the loss is zero."""
        if not bool((self.bank_labels >= 0).any()):
            training_set = self.training_set
            self.fill(training_set.of_scene(name) for name in training_set.names)
        return Output(self.unused * 0, {"num_bank": float((self.bank_labels >= 0).sum())})

    def votes(self, features: Tensor) -> Tensor:
        """(M, C) features -> (M, number of classes) shares of the votes."""
        used = self.bank_labels >= 0
        bank, labels = self.bank[used], self.bank_labels[used]
        queries = F.normalize(self.standardized(features), dim=1)
        most = min(self.config.neighbors, len(bank))
        rows = max(1, _MOST_SIMILARITIES // max(1, len(bank)))
        votes = [
            queries.new_zeros(len(part), len(self.label_set)).scatter_add_(
                1, labels[nearest.indices], (nearest.values / self.config.temperature).exp()
            )
            for part in queries.split(rows)
            for nearest in [(part @ bank.T).topk(most, dim=1)]
        ]
        return F.normalize(torch.cat(votes), p=1, dim=1)

    def predict(self, batch: SceneBatch) -> Prediction:
        """Shares of the votes for every voxel, and where points find theirs."""
        features, point_to_voxel = self.features(batch)
        return Prediction(self.votes(features), point_to_voxel)
