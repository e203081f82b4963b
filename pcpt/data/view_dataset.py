"""Samples for image networks on shapes: pictures of some views of a shape, with its labels."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcpt.choices import check_minimum
from pcpt.data.cloud_cache import load_cached, save_cached
from pcpt.data.dataset import generator_for
from pcpt.data.movable import Movable
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_dataset import Shapes
from pcpt.data.shape_transforms import ShapeAugmentConfig, unchanging
from pcpt.data.shape_views import ShapeViews, ViewedDataConfig, whole_shape


@dataclass
class ViewDataConfig(ViewedDataConfig):
    """Shapes, the cameras around them, and how many pictures a training sample has.

    Attributes:
        views_per_shape: drawn for each training sample; 0 takes all, as evaluation does.
        pictures_folder: where pictures are kept once they are drawn, since shading meshes takes
            longer than learning from them; empty draws them anew. Pictures there are of the same
            cameras, source options and shape's name; delete the folder if the files of the shapes
            have changed.
        augment: random changes of training shapes before their pictures are drawn; none by default,
            as in PointMCD. Noise and dropped points change ``pixel`` alone, not the pictures.
    """

    views_per_shape: int = 0
    pictures_folder: str = ""
    augment: ShapeAugmentConfig = field(default_factory=unchanging)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_minimum("data.views_per_shape", self.views_per_shape, 0)
        if self.pictures_folder and self.augment != unchanging():
            raise ValueError(
                "data.pictures_folder keeps pictures of shapes as they are, but data.augment "
                "changes them for every sample; leave one of the two out"
            )


@dataclass
class ViewBatch(Movable):
    """Pictures of B shapes from V views each.

    Attributes:
        images: (B, V, 3, H, W) uint8.
        label: (B,) int64, class index, -1 for none.
        pixel: (B, V, N, 2) float32, (u, v) of the shape's points in each picture.
        visible: (B, V, N) bool, which of them it shows; their pixels lie in the picture.
        parts: (B, N) int64, global part of each point, -1 for none.
        number: (B,) int64, the global sample numbers.
        names: of the shapes.
        skipped: empty; a shape that cannot be read is an error.
    """

    images: Tensor
    label: Tensor
    pixel: Tensor
    visible: Tensor
    parts: Tensor
    number: Tensor
    names: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def collate_views(samples: Sequence[ViewBatch]) -> ViewBatch:
    """Joins samples into one batch.

    Raises:
        ValueError: no samples.
    """
    if not samples:
        raise ValueError("collate_views needs at least one sample")
    names = ("images", "label", "pixel", "visible", "parts", "number")
    return ViewBatch(
        **{name: torch.cat([getattr(s, name) for s in samples]) for name in names},
        names=[name for s in samples for name in s.names],
        skipped=[line for s in samples for line in s.skipped],
    )


class ShapePictures(Dataset[ViewBatch]):
    """Samples by global number, of the shapes of ``Shapes`` with the same arguments: its order, its
    choice of points and its augmentation. Pictures show the whole shape, turned, scaled and moved
    like its points.

    Args:
        config: see ``ViewDataConfig``.
        split: train, val or test.
        seed: of order, choice of points and of views.
        training: limit, shuffle and choose views; by default of the training split alone.
        with_points: whether samples need ``pixel``, ``visible`` and ``parts``; else of no point.

    Attributes:
        shapes: the shapes.
        views: the cameras.
    """

    def __init__(
        self,
        config: ViewDataConfig,
        split: str,
        seed: int,
        *,
        training: bool | None = None,
        with_points: bool = True,
    ) -> None:
        self.shapes = Shapes(config, split, seed, training=training)
        self.views = ShapeViews(config.views)
        self.seed, self.with_points = seed, with_points
        self.per_shape = config.views_per_shape if self.shapes.training else 0
        self.augmented = self.shapes.training and config.augment != unchanging()
        self.names, self.classes = self.shapes.names, self.shapes.classes
        self.folder = Path(config.pictures_folder).expanduser() if config.pictures_folder else None
        options = [asdict(config.source), asdict(config)["splits"], split, config.normalise]
        described = json.dumps([self.views.fingerprint(), options], sort_keys=True, default=str)
        self._made_from = hashlib.sha256(described.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.shapes)

    def scan_folders(self) -> dict[str, Any]:
        """See ``Shapes.scan_folders``."""
        return self.shapes.scan_folders()

    def __getitem__(self, number: int) -> ViewBatch:
        sample = self.shapes[number]
        name = sample.names[0]
        chosen = self._choose(number)
        points = sample.points[0] if self.with_points else sample.points[0, :0]
        pixel, visible = self.views.place(points)
        if self.with_points:
            # judged among all points of the shape
            whole = self._placed(whole_shape(self.shapes, name), sample)
            shown = self.views.visible(whole)[:, sample.point_number[0]]
            visible = visible & shown  # noise moves the sample's points, not the picture
        return ViewBatch(
            images=self._pictures(name, chosen, sample)[None],
            label=sample.label,
            pixel=pixel[None, chosen],
            visible=visible[None, chosen],
            parts=sample.parts[:, : len(points)],
            number=sample.number,
            names=[name],
        )

    def _placed(self, points: Tensor, sample: ShapeBatch) -> Tensor:
        """Points (N, 3) of an unaugmented shape where the sample's lie."""
        if not self.augmented:
            return points
        return (points.double() @ sample.turn[0].T + sample.shift[0]).float()

    def _pictures(self, name: str, chosen: Tensor, sample: ShapeBatch) -> Tensor:
        """(V', 3, H, W) uint8 of the chosen views."""
        if self.folder is None:
            points, faces = self.views.surface(self.shapes, name)
            return self.views.pictures(self._placed(points, sample), faces, chosen)
        file = hashlib.sha256(name.encode()).hexdigest()[:32]
        path = self.folder / self._made_from[:16] / file[:2] / f"{file}.safetensors"
        found = load_cached(path, self._made_from)
        if found is None:
            drawn = self.views.pictures(*self.views.surface(self.shapes, name))
            # they are grey: one channel is enough
            save_cached(path, {"grey": drawn[:, 0].contiguous()}, name, self._made_from)
            return drawn[chosen]
        return found[0]["grey"][chosen][:, None].repeat(1, 3, 1, 1)

    def _choose(self, number: int) -> Tensor:
        if not 0 < self.per_shape < len(self.views):
            return torch.arange(len(self.views))
        # another stream than that of the points, which is the number's own
        generator = generator_for(self.seed, 2**61 + number)
        order = torch.randperm(len(self.views), generator=generator)
        return order[: self.per_shape].sort().values
