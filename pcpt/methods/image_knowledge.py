"""What a frozen 2D network says of the points of shapes: views, its features and saliency, and both
read at points."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pcpt.data.shape_batch import ShapeBatch
from pcpt.geometry.axis_views import AxisViews, axis_views
from pcpt.methods.i2p_config import Views
from pcpt.teachers.base import sample_cells


@dataclass
class Knowledge:
    """Views of B shapes and what the teacher makes of them.

    Attributes:
        views: V of each shape.
        features: (B * V, C, h, w), the teacher's map.
        saliency: (B * V, h, w), or None where nobody asked.
        teacher: for where its cells lie.
    """

    views: AxisViews
    features: Tensor
    saliency: Tensor | None
    teacher: Any

    def saliency_at(self, points: Tensor) -> Tensor:
        """(B, V, M) saliency at points, in every view.

        Args:
            points: (B, M) int64, which of the shapes' points.
        """
        assert self.saliency is not None
        batch, views = self.views.pixel.shape[:2]
        pixel = _of_points(self.views.pixel, points).reshape(-1, 2)
        view = torch.arange(batch * views, device=points.device).repeat_interleave(points.shape[1])
        cells = self.saliency[:, None].contiguous()
        return sample_cells(self.teacher, cells, view, pixel).view(batch, views, points.shape[1])

    def visible_at(self, points: Tensor) -> Tensor:
        """(B, V, M) bool: which views show the points."""
        return _of_points(self.views.visible, points)

    def features_at(self, shape: Tensor, points: Tensor, seen: Tensor) -> Tensor:
        """(S, C) features of the pairs of a point and a view that are asked for, in order.

        Args:
            shape: (L,) int64, of each row of points.
            points: (L, K) int64, which of its shape's points.
            seen: (L, K, V) bool.
        """
        row, neighbor, view = seen.nonzero().unbind(1)
        pixel = self.views.pixel[shape[row], view, points[row, neighbor]]
        index = shape[row] * self.views.pixel.shape[1] + view
        return sample_cells(self.teacher, self.features, index, pixel)


def _of_points(values: Tensor, points: Tensor) -> Tensor:
    """(B, V, N, ...) at (B, M) points -> (B, V, M, ...)."""
    shape = torch.arange(len(points), device=points.device)[:, None]
    return values[shape, :, points].transpose(1, 2)


class Onlooker:
    """Draws shapes, shows them to a teacher, and remembers what it said of which pictures.

    With ``views.cache`` the teacher sees one shape at a time: what it says then depends on no other
    shape of the batch, and a run that remembers equals one that does not, bit for bit.

    Args:
        config: of the views.
        teacher: a ``Teacher``.
        salient: saliency is needed.
    """

    def __init__(self, config: Views, teacher: Any, *, salient: bool) -> None:
        self.config = config
        self.teacher = teacher
        self.salient = salient
        self._known: OrderedDict[bytes, tuple[Tensor, Tensor | None]] = OrderedDict()
        self.num_recalled = 0

    def views(self, batch: ShapeBatch) -> AxisViews:
        """The views of a batch."""
        config = self.config
        # all set by the fidelity
        assert config.upright is not None and config.depth is not None and config.margin is not None
        return axis_views(
            batch.points if config.augmented else batch.plain_points(),
            config.size,
            directions=config.directions,
            upright=config.upright,
            depth=config.depth,
            radius_pixels=config.radius_pixels,
            margin=config.margin,
            tolerance=config.tolerance,
        )

    @torch.no_grad()
    def look(self, batch: ShapeBatch) -> Knowledge:
        """Views of a batch, with the teacher's features and saliency."""
        views = self.views(batch)
        if self.config.cache:
            answers = [self._recall(images) for images in views.images]
            features = torch.cat([f for f, _ in answers])
            salient = torch.cat([s for _, s in answers if s is not None]) if self.salient else None
        else:
            features, salient = self._ask(views.rgb())
        return Knowledge(views, features, salient, self.teacher)

    def _ask(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.teacher.look(images) if self.salient else (self.teacher(images), None)

    def _recall(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        key = hashlib.blake2b(images.cpu().numpy().tobytes(), digest_size=16).digest()
        if key in self._known:
            self._known.move_to_end(key)
            self.num_recalled += 1
        else:
            self._known[key] = self._ask(images[:, None].repeat(1, 3, 1, 1))
            while len(self._known) > self.config.cache:
                self._known.popitem(last=False)
        return self._known[key]

    def statistics(self, batches: Sequence[ShapeBatch]) -> tuple[Tensor, Tensor]:
        """(C,) mean and standard deviation of the teacher's channels where views show points."""
        rows = []
        for batch in batches:
            known = self.look(batch)
            count = known.views.visible.shape[2]
            shape = torch.arange(batch.num_samples, device=batch.points.device)
            points = torch.arange(count, device=batch.points.device).expand(len(shape), count)
            rows.append(known.features_at(shape, points, known.views.visible.transpose(1, 2)))
        every = torch.cat(rows).double()
        return every.mean(0).float(), every.std(0, correction=0).float()
