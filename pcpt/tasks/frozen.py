"""What probes share: a student that never changes, and its features, computed once."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from pcpt.channels import channel_scale
from pcpt.choices import check_choice, check_minimum
from pcpt.data.scene import Scene
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_dataset import LabelledScenes, SceneDataConfig, to_sample
from pcpt.sparse import SparseTensor
from pcpt.students.cloud import inference
from pcpt.students.multi_level import multi_level_features
from pcpt.students.norms import measuring_norms
from pcpt.tasks.segmentation import PointClassifier, voxel_labels

LEVELS = ("last", "all")


@dataclass
class FeatureBatch:
    """Features of labelled voxels. A sample is a batch of one scene.

    Attributes:
        features: (M, C) float32.
        labels: (M,) int64, class.
        names: of the scenes.
        skipped: empty; what the trainer asks of any batch.
    """

    features: Tensor
    labels: Tensor
    names: list[str]
    skipped: list[tuple[str, str]]

    @property
    def num_samples(self) -> int:
        """Number of scenes."""
        return len(self.names)

    def to(self, device: torch.device | str) -> "FeatureBatch":
        """A copy on ``device``."""
        return replace(self, features=self.features.to(device), labels=self.labels.to(device))

    def pin_memory(self) -> "FeatureBatch":
        """The same: features are where the student is already."""
        return self


@dataclass
class FrozenConfig:
    """Keys of the ``task`` section that all probes have.

    Attributes:
        levels: last, the features that the student hands out; or all, those of its bottleneck and
            of every decoder stage side by side.
        standardize: bring each channel to zero mean and unit variance, by statistics of training
            scenes.
        calibration_scenes: training scenes for these statistics.
        voxels_per_scene: labelled voxels of each training scene that are used, drawn at random by
            the run's seed; 0 takes all.
        cache_features: keep the features of a scene once they are computed, which takes
            ``scenes * voxels_per_scene * channels * 4`` bytes.
        norm_scenes: set the statistics of the student's norms on so many training scenes before
            anything else. For networks with random weights, whose norms have seen nothing;
            0, for all others, leaves the student as it is.
    """

    levels: str = "last"
    standardize: bool = True
    calibration_scenes: int = 16
    voxels_per_scene: int = 4096
    cache_features: bool = True
    norm_scenes: int = 0

    def __post_init__(self) -> None:
        check_choice("task.levels", self.levels, LEVELS)
        check_minimum("task.calibration_scenes", self.calibration_scenes, 1)
        check_minimum("task.voxels_per_scene", self.voxels_per_scene, 0)
        check_minimum("task.norm_scenes", self.norm_scenes, 0)


class FrozenProbe(PointClassifier):
    """Base of probes. Frozen means frozen: the student stays in eval mode, without gradients, and
    its weights and running statistics are saved as they came (but see ``norm_scenes``).

    Subclasses implement ``classify``, ``forward`` and what else they need.

    Args:
        config: a ``FrozenConfig``.
        student, data: as :class:`pcpt.tasks.base.SceneTask`.

    Attributes:
        num_channels: C of the features.
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, config: FrozenConfig, student: Any, data: SceneDataConfig) -> None:
        super().__init__(config, student, data)
        student.eval().requires_grad_(False)
        self.num_channels = self._count_channels()
        self.register_buffer("feature_mean", torch.zeros(self.num_channels))
        self.register_buffer("feature_scale", torch.ones(self.num_channels))
        self._training_set: FrozenFeatures | None = None
        self.register_load_state_dict_post_hook(_forget_features)

    def _count_channels(self) -> int:
        if self.config.levels == "last":
            return int(self.student.feature_channels)
        parameter = next(self.student.parameters())
        # features are the input itself where a student looks them up, as `lifted` does
        width = getattr(self.student.config, "in_channels", self.student.feature_channels)
        one = SparseTensor(
            parameter.new_zeros(1, width),
            torch.zeros(1, 4, dtype=torch.int32, device=parameter.device),
        )
        with inference(self.student):
            return int(multi_level_features(self.student, one).shape[1])

    def train(self, mode: bool = True) -> "FrozenProbe":
        """As ``nn.Module.train``, but the student stays in eval mode."""
        super().train(mode)
        self.student.eval()
        return self

    def prepare(self, batches: Iterable[FeatureBatch]) -> None:
        """Sets the statistics of the student's norms where ``norm_scenes`` asks for it."""
        if self.config.norm_scenes > 0:
            scenes = self.training_set.scenes
            self._set_norms(scenes.load(name) for name in scenes.names[: self.config.norm_scenes])
            self.training_set.forget()

    @torch.no_grad()
    def _set_norms(self, scenes: Iterable[Scene]) -> None:
        device = next(self.student.parameters()).device
        with measuring_norms(self.student):
            for scene in scenes:
                self.student(self.voxels(to_sample(scene).to(device))[0])

    def features(self, batch: SceneBatch) -> tuple[Tensor, Tensor]:
        """(U, C) float32 features of the voxels, before standardisation, and (N,) int64 voxel of
        each point."""
        with inference(self.student):
            voxels, point_to_voxel = self.voxels(batch)
            if self.config.levels == "all":
                features = multi_level_features(self.student, voxels)
            else:
                features = self.student(voxels).features
        return features.float(), point_to_voxel

    def standardized(self, features: Tensor) -> Tensor:
        """(M, C) -> (M, C), as ``standardize`` says."""
        return (features - self.feature_mean) * self.feature_scale

    def make_dataset(self, config: SceneDataConfig, split: str, seed: int) -> Any:
        """Features of each scene of the training split; samples of others are scenes."""
        scenes = LabelledScenes(replace(config, cache=0), split, seed)
        if split != "train":
            return scenes
        self._training_set = FrozenFeatures(self, scenes)
        return self._training_set

    @property
    def training_set(self) -> "FrozenFeatures":
        """What ``make_dataset`` made for training; raises ``RuntimeError`` before."""
        if self._training_set is None:
            raise RuntimeError("call make_dataset(data, 'train', seed) first")
        return self._training_set

    def collate(self, samples: list[Any]) -> Any:
        """Joins features into a ``FeatureBatch``, or scenes into a ``SceneBatch``."""
        if not isinstance(samples[0], FeatureBatch):
            return super().collate(samples)
        return FeatureBatch(
            torch.cat([sample.features for sample in samples]),
            torch.cat([sample.labels for sample in samples]),
            [name for sample in samples for name in sample.names],
            [],
        )

    @torch.no_grad()
    def set_statistics(self, features: Tensor) -> None:
        """Takes mean and deviation of each channel from (M, C) features of training scenes."""
        self.feature_mean.zero_()  # ``init`` may have brought those of another probe
        self.feature_scale.fill_(1)
        if not self.config.standardize or len(features) < 2:
            return
        mean, scale = channel_statistics(features)
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(scale)


def channel_statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) of the channels of (M, C) features, M >= 2, and one over their deviation (C,), see
    ``channel_scale``."""
    mean = features.mean(0)
    return mean, channel_scale(mean, features.std(0))


class FrozenFeatures(Dataset[FeatureBatch]):
    """Features of labelled voxels of training scenes, computed when a scene is first asked for and
    kept as ``cache_features`` says.

    Scenes come whole and unchanged, limited as ``data.limit`` says; crops and augmentation are for
    networks that learn. Numbers are global sample numbers, as of ``LabelledScenes``.
    """

    def __init__(self, probe: FrozenProbe, scenes: LabelledScenes) -> None:
        self.probe = probe
        self.scenes = scenes
        self.names = scenes.names
        self._kept: dict[str, FeatureBatch] = {}

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, number: int) -> FeatureBatch:
        return self.of_scene(self.scenes.name_of(number))

    def scan_folders(self) -> dict[str, Path | None]:
        """As of ``LabelledScenes``."""
        return self.scenes.scan_folders()

    def forget(self) -> None:
        """Drops what is kept: the student has other weights now."""
        self._kept.clear()

    def of_scene(self, name: str) -> FeatureBatch:
        """Features of a scene by name.

        Raises:
            RuntimeError: in a worker process, which has a copy of the student and cannot share
                what it computes.
        """
        if get_worker_info() is not None:
            raise RuntimeError("probes keep features in this process: set train.workers=0")
        if name in self._kept:
            return self._kept[name]
        features = self._compute(name)
        if self.probe.config.cache_features:
            self._kept[name] = features
        return features

    def _compute(self, name: str) -> FeatureBatch:
        device = next(self.probe.student.parameters()).device
        batch = to_sample(self.scenes.load(name)).to(device)
        features, point_to_voxel = self.probe.features(batch)
        classes = len(self.probe.label_set)
        labels = voxel_labels(point_to_voxel, batch.semantic, len(features), classes)
        chosen = torch.nonzero(labels >= 0).flatten()
        most = self.probe.config.voxels_per_scene
        if 0 < most < len(chosen):
            key = np.frombuffer(f"{self.scenes.seed} {name}".encode(), np.uint8)
            drawn = np.random.RandomState(key).permutation(len(chosen))[:most]
            chosen = chosen[torch.from_numpy(np.sort(drawn)).to(device)]
        return FeatureBatch(features[chosen], labels[chosen], [name], [])


def _forget_features(probe: Any, _: Any) -> None:
    if probe._training_set is not None:
        probe._training_set.forget()
