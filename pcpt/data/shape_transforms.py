"""What happens to a shape between its file and the network: which points are taken, the unit
sphere, and random changes whose linear map is kept so that cameras can follow."""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pcpt.choices import check_choice, check_minimum
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.transforms import rotation_about, uniform
from pcpt.ops import farthest_points

SAMPLINGS = ("random", "farthest", "first")
NORMALISATIONS = ("unit_sphere", "none")
ROTATIONS = ("none", "up", "all")


@dataclass
class ShapeAugmentConfig:
    """Random changes of a training shape; the defaults are those of I2P-MAE and its predecessors,
    scale and translation alone.

    Attributes:
        scale: range of the factor of size.
        scale_axes: draw one factor for each axis rather than one for all.
        translate: largest shift along each axis; shapes have radius 1.
        rotation: none; up, about the vertical; or all, evenly over all rotations.
        degrees: largest angle about the vertical with ``rotation: up``.
        jitter: standard deviation of noise on every coordinate.
        jitter_clip: largest noise.
        drop_points: largest share of points that is replaced by copies of another point, as in
            PointNet++ (arXiv 1706.02413): their number stays.
    """

    scale: list[float] = field(default_factory=lambda: [2 / 3, 3 / 2])
    scale_axes: bool = True
    translate: float = 0.2
    rotation: str = "none"
    degrees: float = 180.0
    jitter: float = 0.0
    jitter_clip: float = 0.05
    drop_points: float = 0.0

    def __post_init__(self) -> None:
        check_choice("data.augment.rotation", self.rotation, ROTATIONS)
        for key in ("translate", "degrees", "jitter", "jitter_clip", "drop_points"):
            check_minimum(f"data.augment.{key}", getattr(self, key), 0)
        if self.drop_points > 1:
            raise ValueError(f"data.augment.drop_points is {self.drop_points}, expected at most 1")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(
                f"data.augment.scale is {list(self.scale)}, expected [low, high] above 0"
            )


def unchanging() -> ShapeAugmentConfig:
    """No change at all."""
    return ShapeAugmentConfig(scale=[1.0, 1.0], scale_axes=False, translate=0.0)


def sphere_of(points: Tensor) -> tuple[Tensor, float]:
    """The ball that normalisation makes the unit ball: around the mean of the points, through the
    farthest.

    Args:
        points: (N, 3) floating, N >= 1.

    Returns:
        center: (3,) float64.
        radius: of the ball; 1 where all points are one, so that nothing is divided by zero.
    """
    exact = points.double()
    center = exact.mean(0)
    radius = float((exact - center).norm(dim=1).max())
    # what rounding alone leaves of a single point that lies far from the origin
    spread = 1e-12 * float(exact.abs().max())
    return center, radius if radius > spread else 1.0


def choose_points(
    points: Tensor, count: int, sampling: str, generator: torch.Generator | None
) -> Tensor:
    """(count,) int64: which points of a shape to take.

    A shape with fewer points gives all of them, and then some again, drawn at random (or, with
    "first", from the first on): copies change neither a maximum over points nor the surface.

    Args:
        points: (N, 3) floating, N >= 1.
        count: of points; 0 takes all.
        sampling: random (without repetition), farthest (greedy, see ``farthest_points``; starts at
            a random point, or at the first without a generator), or first (in the file's order).
        generator: on the CPU; None always takes the same.
    """
    available = len(points)
    if count == 0 or (count == available and sampling != "random"):
        return torch.arange(available)
    if sampling == "first":
        return torch.arange(count) % available
    if generator is None:
        generator = torch.Generator().manual_seed(0)
        start = 0
    else:
        start = int(torch.randint(available, (), generator=generator))
    if count > available:
        again = torch.randint(available, (count - available,), generator=generator)
        return torch.cat([torch.arange(available), again])
    if sampling == "farthest":
        return farthest_points(points[None], count, start_index=start)[0]
    return torch.randperm(available, generator=generator)[:count]


def augment_shape(
    sample: ShapeBatch, config: ShapeAugmentConfig, generator: torch.Generator
) -> ShapeBatch:
    """A randomly changed copy of a sample of one shape; its map joins ``turn`` and ``shift``."""
    turn = _rotation(config, generator)
    factors = [uniform(config.scale[0], config.scale[1], generator) for _ in range(3)]
    if not config.scale_axes:
        factors = factors[:1] * 3
    turn = torch.tensor(factors, dtype=torch.float64)[:, None] * turn
    shift = torch.tensor(
        [uniform(-config.translate, config.translate, generator) for _ in range(3)],
        dtype=torch.float64,
    )
    moved = _drop_points(mapped(sample, turn, shift), config.drop_points, generator)
    if config.jitter > 0:
        noise = torch.randn(moved.points.shape, generator=generator) * config.jitter
        limit = config.jitter_clip
        moved = replace(moved, points=moved.points + noise.clamp(-limit, limit))
    return moved


def mapped(sample: ShapeBatch, turn: Tensor, shift: Tensor) -> ShapeBatch:
    """The sample with every point p moved to ``turn @ p + shift``, normals along.

    Args:
        sample: any batch.
        turn: (3, 3) float64, invertible.
        shift: (3,) float64.
    """
    normals = sample.normals
    if normals is not None:
        # normals stay square to the surface under the inverse transpose
        normals = (normals.double() @ torch.linalg.inv(turn)).float()
        normals = torch.nn.functional.normalize(normals, dim=-1)
    return replace(
        sample,
        points=(sample.points.double() @ turn.T + shift).float(),
        normals=normals,
        turn=turn @ sample.turn,
        shift=sample.shift @ turn.T + shift,
        plain=sample.plain_points(),
    )


def unit_normals(normals: Tensor) -> Tensor:
    """(..., 3) the same directions at unit length, as ``mapped`` leaves them; zero, which is
    unknown, stays. What is of unit length up to rounding in a file stays bit for bit."""
    length = normals.double().norm(dim=-1, keepdim=True)
    unit = (normals.double() / torch.where(length > 0, length, 1.0)).to(normals.dtype)
    return torch.where((length - 1).abs() < 1e-4, normals, unit)


def _rotation(config: ShapeAugmentConfig, generator: torch.Generator) -> Tensor:
    if config.rotation == "up":
        angle = uniform(-config.degrees, config.degrees, generator)
        return rotation_about(2, math.radians(angle))
    if config.rotation == "all":
        # a unit quaternion evenly over the sphere is a rotation evenly over all
        w, x, y, z = torch.nn.functional.normalize(
            torch.randn(4, generator=generator, dtype=torch.float64), dim=0
        ).tolist()
        return torch.tensor(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ],
            dtype=torch.float64,
        )
    return torch.eye(3, dtype=torch.float64)


def _drop_points(sample: ShapeBatch, most: float, generator: torch.Generator) -> ShapeBatch:
    share = uniform(0, most, generator)
    if share <= 0:
        return sample
    count = sample.points.shape[1]
    index = torch.arange(count)
    kept = int(torch.randint(count, (), generator=generator))
    index[torch.rand(count, generator=generator) < share] = kept
    every = ("points", "parts", "point_number", "normals", "plain")
    names = [name for name in every if getattr(sample, name) is not None]
    return replace(sample, **{name: getattr(sample, name)[:, index] for name in names})
