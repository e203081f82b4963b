"""Keys of I2P-MAE, and what its two fidelities set them to. Every fault of the released code that
is mended here is a key of its own."""

import logging
from dataclasses import dataclass, field, replace
from typing import Any

from pcpt.choices import check_choice, check_minimum
from pcpt.geometry.axis_views import DEPTHS, view_axes

FIDELITIES = ("mended", "paper")
# Keys that the fidelities set: section -> key -> (mended, paper).
MENDS: dict[str, dict[str, tuple[Any, Any]]] = {
    "views": {
        "depth": ("z_buffer", "summed"),
        "directions": (["x", "y", "-z"], ["x", "y", "z"]),
        "upright": (True, False),
        "margin": (0.1, 0.0),
        "augmented": (False, True),
    },
    "masking": {
        "temperature": (0.5, 1.0),
        "standardize": (True, False),
        "visibility": (True, False),
        "always_visible_token": (False, True),
    },
    "targets": {
        "visibility": (True, False),
        "standardize": (True, False),
    },
}
_log = logging.getLogger(__name__)


@dataclass
class Views:
    """Pictures of the shape for the teacher; see ``pcpt.geometry.axis_views``.

    Attributes:
        size: of the square images, pixels.
        directions: that the views look along: x, y, z, -x, -y, -z.
        upright: z up in the images.
        depth: z_buffer or summed.
        radius_pixels: of the squares drawn for the points.
        margin: share of the image that stays empty at each side.
        tolerance: how far behind what is drawn a point still counts as visible; shapes have
            radius 1.
        augmented: draw the augmented shape rather than the shape as it is.
        cache: shapes whose teacher features are kept in memory, found again by their pictures, bit
            for bit; useful where these come again, as with all of a shape's points and
            ``augmented: false``. 0 keeps none.
    """

    size: int = 224
    directions: list[str] = field(default_factory=list)
    upright: bool | None = None
    depth: str | None = None
    radius_pixels: int = 2
    margin: float | None = None
    tolerance: float = 0.05
    augmented: bool | None = None
    cache: int = 0

    def __post_init__(self) -> None:
        if self.depth is not None:
            check_choice("method.views.depth", self.depth, DEPTHS)
        for direction in self.directions:
            view_axes(direction, upright=True)
        if len(set(self.directions)) < len(self.directions):
            raise ValueError(f"method.views.directions is {list(self.directions)}, with repeats")
        check_minimum("method.views.radius_pixels", self.radius_pixels, 0)
        check_minimum("method.views.size", self.size, 2 * self.radius_pixels + 2)
        if self.margin is not None and not 0 <= self.margin < 0.5:
            raise ValueError(f"method.views.margin is {self.margin}, expected a share below 0.5")
        check_minimum("method.views.tolerance", self.tolerance, 0)
        check_minimum("method.views.cache", self.cache, 0)


@dataclass
class Masking:
    """Which tokens are masked.

    Attributes:
        ratio: share of the coarsest tokens that is masked.
        guided: keep salient tokens more often; false draws them evenly.
        temperature: of the draw; see ``keep_odds``.
        standardize: count saliency in standard deviations.
        visibility: a token's saliency is the mean over the views that show it.
        always_visible_token: the first token of the first shape of a batch is always visible.
    """

    ratio: float = 0.8
    guided: bool = True
    temperature: float | None = None
    standardize: bool | None = None
    visibility: bool | None = None
    always_visible_token: bool | None = None

    def __post_init__(self) -> None:
        if self.temperature is not None and not self.temperature > 0:
            raise ValueError(f"method.masking.temperature is {self.temperature}, expected above 0")
        if not 0 < self.ratio < 1:
            raise ValueError(f"method.masking.ratio is {self.ratio}, expected between 0 and 1")


@dataclass
class Targets:
    """What is to be predicted.

    Attributes:
        images: visible tokens predict the teacher's features; false is a plain masked autoencoder.
        weight_points: of the 3D loss.
        weight_images: of the 2D loss.
        visibility: only features of views that show a point are asked for.
        standardize: bring each teacher channel to zero mean and unit variance, by statistics at the
            points of the first training batches.
    """

    images: bool = True
    weight_points: float = 1.0
    weight_images: float = 1.0
    visibility: bool | None = None
    standardize: bool | None = None

    def __post_init__(self) -> None:
        for key in ("weight_points", "weight_images"):
            check_minimum(f"method.targets.{key}", getattr(self, key), 0)
        if self.weight_points == 0 and (self.weight_images == 0 or not self.images):
            raise ValueError("method.targets: no loss is left; give one of them a weight above 0")


@dataclass
class I2PConfig:
    """Keys of the ``method`` section.

    Attributes:
        fidelity: mended, or paper for what the released code does. It sets the keys of ``MENDS``
            that are not given; a key that is given wins, so that every mend can be tried alone.
        views, masking, targets: see there.
        decoder_depths: blocks of the decoder's stages, the first at the coarsest scale; as many
            stages as it goes down scales. Its widths are the student's.
        calibration_batches: training batches for the statistics of ``targets.standardize``, and for
            those of the batch norms of a teacher with random weights.
    """

    name: str = "i2p_mae"
    fidelity: str = "mended"
    views: Views = field(default_factory=Views)
    masking: Masking = field(default_factory=Masking)
    targets: Targets = field(default_factory=Targets)
    decoder_depths: list[int] = field(default_factory=lambda: [1, 1])
    calibration_batches: int = 4

    def __post_init__(self) -> None:
        check_choice("method.fidelity", self.fidelity, FIDELITIES)
        check_minimum("method.calibration_batches", self.calibration_batches, 1)
        for depth in self.decoder_depths:
            check_minimum("method.decoder_depths", depth, 0)
        which = FIDELITIES.index(self.fidelity)
        departures = []
        for section, keys in MENDS.items():
            values = getattr(self, section)
            for key, choices in keys.items():
                given = getattr(values, key)
                if given is None or given == []:
                    values = replace(values, **{key: choices[which]})
                elif given != choices[which]:
                    departures.append(f"{section}.{key}={given}")
            setattr(self, section, values)
        if departures:
            _log.info("method.fidelity=%s, but for %s", self.fidelity, ", ".join(departures))

    @property
    def needs_teacher(self) -> bool:
        """Whether anything is asked of a teacher."""
        return self.masking.guided or self.targets.images
