"""Samples for 2D networks: labelled images of one size, augmented, and the batch they join into."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcpt import registry
from pcpt.choices import check_image_size
from pcpt.data.label_set import LabelSet
from pcpt.data.labelled_image import LabelledImage, LabelledImageSource
from pcpt.data.movable import Movable
from pcpt.data.order import EpochOrder, generator_for
from pcpt.data.skips import SkipLog, load_or_next
from pcpt.data.splits import check_splits, split_source
from pcpt.data.transforms import resize_image, uniform


@dataclass
class ImageAugmentConfig:
    """Random changes of a training image.

    Attributes:
        flip: probability of mirroring it horizontally.
        resize: range of the factor by which it is enlarged before a crop of the given size.
        color_jitter: standard deviation of a gain and an offset per channel, the latter in parts of
            the full range.
    """

    flip: float = 0.5
    resize: list[float] = field(default_factory=lambda: [1.0, 1.5])
    color_jitter: float = 0.1


@dataclass
class ImageDataConfig:
    """What a labelled image sample is made of.

    Attributes:
        source: where images come from; one of ``pcpt.list("datasets")`` that has label images.
        splits: for "train", "val" and "test" the keys of ``source`` that differ there, such as
            ``val: {scan_list: val.txt}``. A split that is not named has no images.
        image_size: (H, W) that images and labels are resized to.
        augment: random changes of training samples.
    """

    source: Any = field(default_factory=lambda: {"name": "scannet_images"})
    splits: dict[str, Any] = field(default_factory=dict)
    image_size: list[int] = field(default_factory=lambda: [240, 320])
    augment: ImageAugmentConfig = field(default_factory=ImageAugmentConfig)

    def __post_init__(self) -> None:
        check_splits(self.splits)
        check_image_size("data.image_size", self.image_size)


@dataclass
class ImageBatch(Movable):
    """Labelled images of one size.

    Attributes:
        images: (B, 3, H, W) uint8, RGB.
        labels: (B, H, W) int64, class index, -1 for none.
        number: (B,) int64, the global sample numbers.
        names: of the images.
        skipped: (scan, reason) of every broken image met on the way.
    """

    images: Tensor
    labels: Tensor
    number: Tensor
    names: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def collate_images(samples: Sequence[ImageBatch]) -> ImageBatch:
    """Joins samples into one batch.

    Raises:
        ValueError: no samples.
    """
    if not samples:
        raise ValueError("collate_images needs at least one sample")
    return ImageBatch(
        images=torch.cat([s.images for s in samples]),
        labels=torch.cat([s.labels for s in samples]),
        number=torch.cat([s.number for s in samples]),
        names=[name for s in samples for name in s.names],
        skipped=[line for s in samples for line in s.skipped],
    )


def label_set_of(config: ImageDataConfig) -> LabelSet:
    """The classes of the training split's source of labelled images, which need not be there."""
    source = config.source
    if "train" in config.splits:
        source = split_source(source, config.splits, "train")
    return _images_of(source).label_set


def _images_of(source: Any) -> Any:
    owner = registry.get("datasets", source.name)
    if not issubclass(owner, LabelledImageSource):
        raise ValueError(
            f"data source {source.name!r} holds no label images; give data.source.name a source "
            "that does, such as scannet_images"
        )
    return owner(source)


class LabelledImages(Dataset[ImageBatch]):
    """Samples by global number: number n is image ``permutation[n % len]`` of epoch ``n // len``.

    A sample depends on the seed and its number alone. Only training samples are shuffled
    and augmented. A broken image is replaced by the next one and named in the sample's ``skipped``.

    Args:
        config: see ``ImageDataConfig``.
        split: train, val or test.
        training: shuffle and augment; by default the training split alone.
        seed: of the run.

    Raises:
        ValueError: a source without label images, or none in the split; ``__getitem__`` when every
            image is broken.
    """

    def __init__(
        self, config: ImageDataConfig, split: str, seed: int, *, training: bool | None = None
    ) -> None:
        self.config, self.split, self.seed = config, split, seed
        self.training = split == "train" if training is None else training
        source = split_source(config.source, config.splits, split)
        self.images = _images_of(source).open()
        self.names = self.images.names
        self.label_set = self.images.label_set
        if not len(self.names):
            raise ValueError(f"split {split!r} of data source {source.name!r} holds no images")
        self._order = EpochOrder(len(self.names), seed, shuffled=self.training)

    def __len__(self) -> int:
        return len(self.names)

    def scan_folders(self) -> dict[str, Path | None]:
        """The folder of every recording that images are of, by its name."""
        return self.images.scan_folders()

    def __getitem__(self, number: int) -> ImageBatch:
        skipped: list[tuple[str, str]] = []
        found = self._load(self._order.place(number), skipped)
        size = (self.config.image_size[0], self.config.image_size[1])
        image, labels = found.image, found.labels
        if self.training:
            generator = generator_for(self.seed, number)
            image, labels = augment_image(image, labels, size, self.config.augment, generator)
        else:
            image, labels = resize_image(image, *size), resize_labels(labels, *size)
        return ImageBatch(image[None], labels[None], torch.tensor([number]), [found.name], skipped)

    def check(self, skips: SkipLog) -> None:
        """Loads the first image of every recording, so that wrong labels are found before a run.

        Raises:
            ValueError: labels that no image of the source could have, or no image can be used.
        """
        firsts = {
            name.rpartition("/")[0]: index for index, name in reversed([*enumerate(self.names)])
        }
        for index in firsts.values():
            skipped: list[tuple[str, str]] = []
            self._load(index, skipped)
            for scan, reason in skipped:
                skips.add(scan, reason)

    def _load(self, index: int, skipped: list[tuple[str, str]]) -> LabelledImage:
        what = f"images of split {self.split!r}"
        return load_or_next(self.names, index, self.images.load, skipped, what)


def resize_labels(labels: Tensor, height: int, width: int) -> Tensor:
    """(H, W) labels at another size: each pixel takes the label at its centre."""
    rows = _nearest(labels.shape[0], height)
    return labels[rows[:, None], _nearest(labels.shape[1], width)]


def _nearest(old: int, new: int) -> Tensor:
    return ((torch.arange(new) + 0.5) * (old / new)).long().clamp(max=old - 1)


def augment_image(
    image: Tensor,
    labels: Tensor,
    size: tuple[int, int],
    config: ImageAugmentConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Random enlargement, crop to ``size`` (H, W), flip and change of colour of an image with its
    labels; (3, H, W) uint8 and (H, W) int64."""
    height, width = size
    factor = uniform(config.resize[0], config.resize[1], generator)
    large = (max(height, round(height * factor)), max(width, round(width * factor)))
    top = int(uniform(0, large[0] - height + 1, generator))
    left = int(uniform(0, large[1] - width + 1, generator))
    window = (slice(top, top + height), slice(left, left + width))
    image = resize_image(image, *large)[:, window[0], window[1]]
    labels = resize_labels(labels, *large)[window]
    if uniform(0, 1, generator) < config.flip:
        image, labels = image.flip(2), labels.flip(1)
    if config.color_jitter > 0:
        gain, offset = torch.randn((2, 3, 1, 1), generator=generator) * config.color_jitter
        changed = image.float() * (1 + gain) + 255 * offset
        image = changed.round().clamp(0, 255).to(torch.uint8)
    return image.contiguous(), labels.contiguous()
