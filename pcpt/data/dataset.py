"""Samples for pretraining: one or several posed frames, back-projected, augmented and paired."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcpt import registry
from pcpt.choices import check_image_size, check_minimum
from pcpt.data.batch import Batch
from pcpt.data.frame import BrokenFrame, Frame, Scan
from pcpt.data.labelled_image import LabelledImageSet
from pcpt.data.order import EpochOrder, generator_for
from pcpt.data.scene import SceneSet
from pcpt.data.shape import ShapeSet
from pcpt.data.skips import SkipLog, first_valid
from pcpt.data.transforms import (
    AugmentConfig,
    augment_colors,
    augment_points,
    augment_view,
    fit_view,
    rotation_to_z,
)
from pcpt.geometry.correspondence import back_project, match_frames

SPLITS = ("train", "held_out", "all")
OTHER_KINDS: dict[type, str] = {
    SceneSet: "labelled scenes",
    LabelledImageSet: "labelled images",
    ShapeSet: "single shapes",
}


@dataclass
class DataConfig:
    """What a sample is made of.

    Attributes:
        source: where frames come from; ``source.name`` is one of ``pcpt.list("datasets")``.
        image_size: (H, W) of the teacher's input; images are resized to it.
        views: frames fused into one cloud; 1 is the paper, more is this toolkit's extension, in
            which each point is paired with every frame that sees it.
        view_spacing: distance in the recording between the fused frames.
        max_points: random subset of about so many of a cloud's points; 0 keeps all.
        min_depth, max_depth: measurements outside are left out, metres; 0 means no limit.
        held_out: last part of each recording kept for evaluation where the source marks none, as a
            share of its frames below 1; 0 keeps none.
        absolute_tolerance: a point is visible if its depth agrees with the image to this, metres.
        relative_tolerance: added tolerance per metre of depth.
        shuffle_block: training frames are shuffled by blocks of so many consecutive ones, and
            within windows of several blocks: locality for slow storage. 0 shuffles freely.
        cache: frames kept decoded in memory, in each process that loads; for small scans.
        border: pixels along the image edge that are never paired.
        augment: random changes of training samples; held-out ones are never changed.
    """

    source: Any = field(default_factory=lambda: {"name": "folder"})
    image_size: list[int] = field(default_factory=lambda: [480, 640])
    views: int = 1
    view_spacing: int = 1
    max_points: int = 0
    min_depth: float = 0.0
    max_depth: float = 0.0
    held_out: float = 0.1
    absolute_tolerance: float = 0.05
    relative_tolerance: float = 0.0
    border: int = 0
    shuffle_block: int = 0
    cache: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        check_minimum("data.shuffle_block", self.shuffle_block, 0)
        check_minimum("data.views", self.views, 1)
        check_minimum("data.view_spacing", self.view_spacing, 1)
        if not 0 <= self.held_out < 1:
            raise ValueError(
                f"data.held_out is {self.held_out}, expected a share of the frames: at least 0 and "
                "less than 1"
            )
        check_image_size("data.image_size", self.image_size)


def split_names(scan: Scan, split: str, fraction: float) -> list[str]:
    """Frames of ``split``: by the source's marks, or else the last ``fraction`` is held out."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; one of {', '.join(SPLITS)}")
    names = list(scan.names)
    held_out = set(scan.held_out)
    if not held_out and fraction > 0:
        held_out = set(names[len(names) - round(len(names) * fraction) :])
    keep = {"train": lambda n: n not in held_out, "held_out": held_out.__contains__}
    return [name for name in names if split == "all" or keep[split](name)]


class PosedFrames(Dataset[Batch]):
    """Samples by global number: number n is frame ``permutation[n % len]`` of epoch ``n // len``.

    A sample depends on the seed and its number alone, so any worker, rank or resumed run makes the
    same one. With ``training=False`` frames are neither shuffled nor augmented. A broken frame is
    replaced by the next one of its scan and named in the sample's ``skipped``.

    Args:
        config: what they are made of.
        split: "train", "held_out" or "all".
        seed: of everything random.
        training: shuffle and augment; by default the training split alone.

    Raises:
        ValueError: no frame in the split; ``__getitem__`` when every frame is broken.
    """

    def __init__(
        self, config: DataConfig, split: str, seed: int, *, training: bool | None = None
    ) -> None:
        self.config = config
        self.split = split
        self.training = split == "train" if training is None else training
        self.seed = seed
        source = config.source
        opened = registry.get("datasets", source.name)(source).open()
        if isinstance(opened, tuple(OTHER_KINDS)):
            kind = next(kind for owner, kind in OTHER_KINDS.items() if isinstance(opened, owner))
            raise ValueError(
                f"data source {source.name!r} holds {kind}, not posed frames; give "
                "data.source.name a source of frames"
            )
        self.scans: list[Scan] = opened
        self.names = [split_names(scan, split, config.held_out) for scan in self.scans]
        self.ends = np.cumsum([len(names) for names in self.names]).tolist()
        if not self.ends or self.ends[-1] == 0:
            raise ValueError(
                f"split {split!r} of data source {source.name!r} holds no frames; "
                "check data.source.roots, data.source.every and data.held_out"
            )
        self._cache: dict[tuple[str, str], Frame] = {}
        self._order = EpochOrder(
            len(self), seed, block=config.shuffle_block, shuffled=self.training
        )

    def __len__(self) -> int:
        return self.ends[-1]

    def _read(self, scan: Scan, name: str) -> Frame:
        key = (scan.name, name)
        frame = self._cache.pop(key, None) or scan.load(name)
        if self.config.cache > 0:
            self._cache[key] = frame  # last in, so that the first is the longest unused
            while len(self._cache) > self.config.cache:
                del self._cache[next(iter(self._cache))]
        return frame

    def _load(self, index: int, skipped: list[tuple[str, str]]) -> tuple[Scan, int, Frame]:
        """The frame at ``index``, or the next whole one of its scan; past a broken image that is a
        scan of its own, that of the next scan."""
        which = bisect.bisect_right(self.ends, index)
        scan, names = self.scans[which], self.names[which]
        start = index - (self.ends[which - 1] if which else 0)
        for position in (*range(start, len(names)), *range(start)):
            try:
                return scan, position, self._read(scan, names[position])
            except BrokenFrame as error:
                skipped.append((scan.name, str(error)))
        if len(names) == 1 and len(skipped) < len(self):
            return self._load((index + 1) % len(self), skipped)
        raise ValueError(
            f"scan {scan.name}: none of the {len(names)} frames of split {self.split!r} can be "
            f"used; the first is refused because of {skipped[0][1]}. Mend the scan or take it out "
            "of data.source.roots"
        )

    def scan_folders(self) -> dict[str, Path | None]:
        """The folder of every scan with a frame in the split, by its name."""
        return {scan.name: scan.folder for scan, names in zip(self.scans, self.names) if names}

    def check(self, skips: SkipLog) -> None:
        """Loads one frame of every scan, so that a scan without any is found before a run begins.

        Of scans of a single frame, as sets of images make, some may be broken like other frames.

        Raises:
            ValueError: no frame of a scan can be used, or of all scans of single frames.
        """
        usable = 0
        for scan in self.scans:
            try:
                first_valid(scan, skips)
                usable += 1
            except ValueError:
                if len(scan.names) > 1 or (usable == 0 and scan is self.scans[-1]):
                    raise

    def _neighbours(self, scan: Scan, position: int, skipped: list[tuple[str, str]]) -> list[Frame]:
        """The further frames that are fused with the one at ``position`` of the split."""
        names = self.names[self.scans.index(scan)]
        steps = (s * sign for s in range(1, len(names)) for sign in (1, -1))
        frames: list[Frame] = []
        for step in steps:
            if len(frames) == self.config.views - 1:
                break
            place = position + step * self.config.view_spacing
            if 0 <= place < len(names):
                try:
                    frames.append(self._read(scan, names[place]))
                except BrokenFrame as error:
                    skipped.append((scan.name, str(error)))
        return frames

    def __getitem__(self, number: int) -> Batch:
        skipped: list[tuple[str, str]] = []
        scan, position, frame = self._load(self._order.place(number), skipped)
        frames = [frame, *self._neighbours(scan, position, skipped)]
        generator = generator_for(self.seed, number)
        sample = make_sample(frames, scan.up, self.config, generator, self.training)
        sample.names = [f"{scan.name}/{frame.name}"]
        sample.skipped = skipped
        sample.number = torch.tensor([number])
        return sample


def up_of(frames: Sequence[Frame]) -> Tensor:
    """A guess at the vertical where a source does not know it: the mean of the cameras' -y axes."""
    return -torch.stack([f.color_camera.camera_to_world[:3, 1] for f in frames]).mean(0)


def lift(
    frame: Frame, config: DataConfig, limit: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """World points (N, 3) and colours (N, 3) in [0, 1] of a frame's measured pixels that the colour
    camera sees too; each kept with the probability that leaves about ``limit``, all if 0."""
    depth = frame.depth
    measured = depth > max(config.min_depth, 0.0)
    if config.max_depth > 0:
        measured &= depth <= config.max_depth
    share = limit / max(1, int(measured.sum())) if limit else 1.0
    if share < 1:
        measured &= torch.rand(depth.shape, generator=generator) < share
    return back_project(replace(frame, depth=torch.where(measured, depth, 0.0)))


def make_sample(
    frames: Sequence[Frame],
    up: Tensor | None,
    config: DataConfig,
    generator: torch.Generator,
    augment: bool,
) -> Batch:
    """One cloud from ``frames``, with the pairs between its points and the frames' pixels.

    Pairs are found between the measured points and the augmented images' cameras; the student's
    input is the same points turned z-up, centred below the first camera, and augmented in 3D.
    """
    limit = -(-config.max_points // len(frames))
    lifted = [lift(frame, config, limit, generator) for frame in frames]
    world = torch.cat([points for points, _ in lifted])
    colors = torch.cat([color for _, color in lifted])

    size = (config.image_size[0], config.image_size[1])
    views = []
    for frame in frames:
        image, camera = frame.image, frame.color_camera
        if augment:
            image, camera = augment_view(image, camera, size, config.augment, generator)
        else:
            image, camera = fit_view(image, camera, size)
        views.append(replace(frame, image=image, color_camera=camera))
    pairs = match_frames(
        world,
        views,
        absolute_tolerance=config.absolute_tolerance,
        relative_tolerance=config.relative_tolerance,
        border=config.border,
    )

    turn = rotation_to_z(up if up is not None else up_of(frames))
    center = frames[0].color_camera.camera_to_world[:3, 3]
    points = ((world.double() - center) @ turn.T).float()
    if augment:
        points = augment_points(points, config.augment, generator)
        colors = augment_colors(colors, config.augment, generator)
    return Batch(
        images=torch.stack([view.image for view in views]),
        points=points,
        world=world,
        colors=colors,
        batch_index=torch.zeros(world.shape[0], dtype=torch.int64),
        view_batch=torch.zeros(len(frames), dtype=torch.int64),
        point_index=pairs.point_index,
        view_index=pairs.view_index,
        pixel=pairs.pixel,
        number=torch.zeros(1, dtype=torch.int64),
        names=[frames[0].name],
    )
