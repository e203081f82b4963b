"""Features as colours: their three principal components as red, green and blue."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PcaColors:
    """A fixed way from features to colours, so that pictures made with it compare.

    Attributes:
        mean: (C,) float64.
        axes: (C, 3) float64, orthonormal columns; zero where there is no further component.
        low: (3,) float64, what becomes black in each colour.
        high: (3,) float64, what becomes full colour.
    """

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def fit(cls, *features: Tensor, clip: float = 0.01) -> "PcaColors":
        """Fits to one or several sets of features of one space, each counting alike.

        Rows are scaled to unit length first, as only their directions are ever compared. The sign
        of a component is such that its largest coefficient is positive.

        Args:
            features: (N_i, C) float each, such as pixel features and point features.
            clip: share of the features beyond either end of the colour range, against outliers.

        Raises:
            ValueError: without features, if they differ in channels, or are not finite.
        """
        rows = _unit_rows(features)
        mean = torch.stack([r.mean(0) for r in rows]).mean(0)
        covariance = torch.stack([(r - mean).T @ (r - mean) / len(r) for r in rows]).mean(0)
        values, vectors = torch.linalg.eigh(covariance)  # ascending
        count = min(3, len(mean))
        kept = vectors[:, -count:].flip(1)
        # what rounding leaves of constant features must not be blown up to a picture
        kept = kept * (values[-count:].flip(0) > 1e-12)
        largest = kept.gather(0, kept.abs().argmax(0, keepdim=True))
        kept = kept * torch.where(largest < 0, -1.0, 1.0)
        axes = F.pad(kept, (0, 3 - count))
        projected = [(r - mean) @ axes for r in rows]
        low, high = _weighted_quantiles(projected, (clip, 1 - clip))
        return cls(mean, axes, low, high)

    def __call__(self, features: Tensor) -> Tensor:
        """(N, C) features to (N, 3) uint8 colours; a component without spread becomes mid-grey."""
        (rows,) = _unit_rows((features,))
        if rows.shape[1] != len(self.mean):
            raise ValueError(
                f"features have {rows.shape[1]} channels, the colours were fitted to "
                f"{len(self.mean)}"
            )
        spread = self.high - self.low
        share = ((rows - self.mean) @ self.axes - self.low) / spread.clamp(min=1e-12)
        share = torch.where(spread > 1e-9, share.clamp(0, 1), 0.5)
        return (share * 255).round().to(torch.uint8)


def pca_colors(*features: Tensor, clip: float = 0.01) -> list[Tensor]:
    """Joint PCA colours of several sets of features: alike features get alike colours throughout.

    Args:
        features: (N_i, C) float each; a feature map goes through ``map_rows`` first.
        clip: as for ``PcaColors.fit``.

    Returns:
        (N_i, 3) uint8 for each.

    Raises:
        ValueError: as ``PcaColors.fit``.
    """
    colors = PcaColors.fit(*features, clip=clip)
    return [colors(f) for f in features]


def _unit_rows(features: Sequence[Tensor]) -> list[Tensor]:
    shapes = [tuple(f.shape) for f in features]
    if not features or any(f.ndim != 2 or f.numel() == 0 for f in features):
        raise ValueError(f"features are {shapes}, expected one or more (N, C), none empty")
    if len({shape[1] for shape in shapes}) > 1:
        raise ValueError(
            f"features are {shapes}, expected equal channels; colours compare only within one "
            "space, so project them into it or fit them apart"
        )
    if not all(bool(torch.isfinite(f).all()) for f in features):
        raise ValueError("features are not all finite; the network that made them has diverged")
    return [F.normalize(f.detach().cpu().double(), dim=1) for f in features]


def _weighted_quantiles(groups: Sequence[Tensor], shares: tuple[float, float]) -> list[Tensor]:
    """Per column, over all groups, each group carrying the same weight in all."""
    values, order = torch.cat(list(groups)).sort(dim=0)
    weight = torch.cat([torch.full((len(g),), 1 / len(g) / len(groups)) for g in groups]).double()
    reached = weight[order].cumsum(0)
    found = []
    for share in shares:
        index = (reached < share).sum(0).clamp(max=len(values) - 1)
        found.append(values.gather(0, index[None])[0])
    return found
