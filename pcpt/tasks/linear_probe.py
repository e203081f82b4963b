"""Linear probe: what a frozen student knows that one linear layer can read."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_dataset import SceneDataConfig
from pcpt.methods.base import Output
from pcpt.registry import register
from pcpt.tasks.frozen import FeatureBatch, FrozenConfig, FrozenProbe
from pcpt.tasks.segmentation import Prediction


@register("tasks", "linear_probe")
class LinearProbe(FrozenProbe):
    """One linear layer on the features of a frozen student, trained by cross-entropy on voxels.

    The same network may score far apart on its last layer and on all levels side by side: what a
    pretraining loss has no use for is gone from the last layer, but not from the network.
    """

    @dataclass
    class Config(FrozenConfig):
        """Keys of the ``task`` section; see :class:`pcpt.tasks.frozen.FrozenConfig`."""

        name: str = "linear_probe"

    def __init__(self, config: Config, student: Any, data: SceneDataConfig) -> None:
        super().__init__(config, student, data)
        self.head = nn.Linear(self.num_channels, len(self.label_set))

    def prepare(self, batches: Iterable[FeatureBatch]) -> None:
        """Sets the statistics of the features from the first training scenes."""
        super().prepare(batches)
        features, scenes = [], 0
        for batch in batches:
            features.append(batch.features)
            scenes += batch.num_samples
            if scenes >= self.config.calibration_scenes:
                break
        self.set_statistics(torch.cat(features))

    def forward(self, batch: FeatureBatch) -> Output:
        """Cross-entropy over the batch's voxels; zero where it has none."""
        logits = self.head(self.standardized(batch.features)).float()
        loss = F.cross_entropy(logits, batch.labels) if len(logits) else logits.sum() * 0
        accuracy = (logits.argmax(1) == batch.labels).float().sum() / max(1, len(logits))
        return Output(loss, {"accuracy": accuracy, "num_voxels": float(len(logits))})

    def predict(self, batch: SceneBatch) -> Prediction:
        """Class scores of every voxel, and where points find theirs."""
        features, point_to_voxel = self.features(batch)
        return Prediction(self.head(self.standardized(features)), point_to_voxel)
