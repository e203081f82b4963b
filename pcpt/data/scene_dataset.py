"""Samples for tasks: labelled scenes of a split, limited, cropped and augmented."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcpt import registry
from pcpt.choices import check_minimum
from pcpt.data.limited import LimitConfig, limit_points, limit_scenes
from pcpt.data.order import EpochOrder, generator_for
from pcpt.data.scene import Scene, SceneSet
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_transforms import SceneAugmentConfig, augment_scene, keep_points
from pcpt.data.skips import load_or_next
from pcpt.data.splits import check_splits, split_source
from pcpt.data.transforms import rotation_to_z


@dataclass
class SceneDataConfig:
    """Where labelled scenes come from and what a training sample is made of.

    Attributes:
        source: of labelled scenes; ``source.name`` is one of ``pcpt.list("datasets")``.
        splits: for "train", "val" and "test" the keys of ``source`` that differ there, such as
            ``val: {split_file: val.txt}``. A split that is not named has no scenes.
        limit: how much of the training split is labelled, see ``LimitConfig``.
        crop_points: training samples hold at most so many points: those nearest, seen from above,
            to a random labelled one; 0 takes whole scenes.
        cache: scenes kept in memory, in each process that loads.
        augment: random changes of training samples; others are never changed.
    """

    source: Any = field(default_factory=lambda: {"name": "scannet_scenes"})
    splits: dict[str, Any] = field(default_factory=dict)
    limit: LimitConfig = field(default_factory=LimitConfig)
    crop_points: int = 0
    cache: int = 0
    augment: SceneAugmentConfig = field(default_factory=SceneAugmentConfig)

    def __post_init__(self) -> None:
        check_minimum("data.crop_points", self.crop_points, 0)
        check_minimum("data.cache", self.cache, 0)
        check_splits(self.splits)


def open_split(config: SceneDataConfig, split: str) -> SceneSet:
    """The scenes of a split, none of them read yet.

    Raises:
        ValueError: an unknown split or key, or a source without labels.
        FileNotFoundError: what the source raises.
    """
    source = split_source(config.source, config.splits, split)
    opened = registry.get("datasets", source.name)(source)
    scenes = opened.open()
    if not isinstance(scenes, SceneSet):
        raise ValueError(
            f"data source {source.name!r} holds posed frames, not labelled scenes; give "
            "data.source.name a source of scenes such as scannet_scenes"
        )
    return scenes


class LabelledScenes(Dataset[SceneBatch]):
    """Samples by global number: number n is scene ``permutation[n % len]`` of epoch ``n // len``.

    A sample depends on the seed and its number alone. A scene that its source calls broken is
    replaced by the next one and named in the sample's ``skipped``. With ``training=False`` scenes
    come whole, unchanged and in the order of the split's list, with all their labels.

    Args:
        config: see ``SceneDataConfig``.
        split: train, val or test.
        seed: of order and augmentation.
        training: limit, shuffle, crop and augment; by default of the training split alone.

    Attributes:
        names: of the scenes, after limiting.
        label_set: the classes.

    Raises:
        ValueError: no scenes in the split, see also ``open_split`` and ``limit_scenes``;
            ``__getitem__`` for a scene that cannot be used, or when all are broken.
    """

    def __init__(
        self, config: SceneDataConfig, split: str, seed: int, *, training: bool | None = None
    ) -> None:
        self.config = config
        self.split = split
        self.seed = seed
        self.training = split == "train" if training is None else training
        self.scene_set = open_split(config, split)
        self.label_set = self.scene_set.label_set
        names = list(self.scene_set.names)
        self.names = limit_scenes(names, config.limit) if self.training else names
        if not self.names:
            raise ValueError(f"split {split!r} of {config.source.name!r} holds no scenes")
        self._cache: dict[str, Scene] = {}
        self._order = EpochOrder(len(self), seed, shuffled=self.training)

    def __len__(self) -> int:
        return len(self.names)

    def scan_folders(self) -> dict[str, Path | None]:
        """The folder of every scene, by its name."""
        return {name: self.scene_set.folder_of(name) for name in self.names}

    def name_of(self, number: int) -> str:
        """The scene of a global sample number."""
        return self.names[self._order.place(number)]

    def load(self, name: str) -> Scene:
        """One scene as read, with the labels that training may see; kept as ``cache`` says."""
        scene = self._cache.pop(name, None)
        if scene is None:
            scene = replace(self.scene_set.load(name), faces=None, normals=None)
            if self.training:
                semantic = limit_points(name, scene.semantic, self.config.limit)
                scene = replace(scene, semantic=semantic)
        if self.config.cache > 0:
            self._cache[name] = scene  # last in, so that the first is the longest unused
            while len(self._cache) > self.config.cache:
                del self._cache[next(iter(self._cache))]
        return scene

    def __getitem__(self, number: int) -> SceneBatch:
        skipped: list[tuple[str, str]] = []
        place, what = self._order.place(number), f"scenes of split {self.split!r}"
        sample = to_sample(load_or_next(self.names, place, self.load, skipped, what), number)
        if self.training:
            generator = generator_for(self.seed, number)
            sample = crop(sample, self.config.crop_points, generator)
            sample = augment_scene(sample, self.config.augment, generator)
        sample.skipped = skipped
        return sample


def to_sample(scene: Scene, number: int = 0) -> SceneBatch:
    """A scene as a batch of one: z up, its middle above the origin."""
    turn = torch.eye(3, dtype=torch.float64) if scene.up is None else rotation_to_z(scene.up)
    count = len(scene.points)
    points = scene.points.double() @ turn.T
    middle = torch.zeros(3, dtype=torch.float64)
    if count:
        low, high = points.amin(0), points.amax(0)
        middle = torch.cat([(low + high)[:2] / 2, low[2:]])
    boxes = replace(scene.boxes, centers=(scene.boxes.centers.double() @ turn.T - middle).float())
    colors = scene.colors
    return SceneBatch(
        points=(points - middle).float(),
        original=scene.points,
        colors=torch.full((count, 3), 0.5) if colors is None else colors.float() / 255,
        batch_index=torch.zeros(count, dtype=torch.int64),
        semantic=scene.semantic,
        instances=scene.instances,
        point_number=torch.arange(count),
        number=torch.tensor([number]),
        boxes=[boxes],
        names=[scene.name],
        world_to_scene=scene.world_to_scene[None],
    )


def crop(sample: SceneBatch, most: int, generator: torch.Generator) -> SceneBatch:
    """At most ``most`` points: those nearest, seen from above, to a random labelled one; boxes
    whose centre lies farther away are left out. 0 keeps all."""
    count = len(sample.points)
    if most <= 0 or count <= most:
        return sample
    candidates: Tensor = (sample.semantic >= 0).nonzero()[:, 0]
    if not len(candidates):
        candidates = torch.arange(count)
    chosen = candidates[torch.randint(len(candidates), (), generator=generator)]
    middle = sample.points[chosen, :2]
    distance = (sample.points[:, :2] - middle).square().sum(1)
    limit = distance.kthvalue(most).values
    boxes = sample.boxes[0]
    near = (boxes.centers[:, :2] - middle).square().sum(1) <= limit
    inside = replace(boxes, **{f.name: getattr(boxes, f.name)[near] for f in fields(boxes)})
    keep = distance.argsort(stable=True)[:most].sort().values
    return replace(keep_points(sample, keep), boxes=[inside])
