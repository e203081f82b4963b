"""Any teacher with random weights: the control that tells what pretraining adds to architecture."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from pcpt import registry
from pcpt.teachers.base import RANDOM, Teacher


@registry.register("teachers", "random")
class Random(Teacher):
    """The teacher ``of`` with weights drawn from ``seed``; calibrate it where it asks for that."""

    @dataclass
    class Config:
        """
        Attributes:
            of: name of a teacher whose Config has ``weights`` and ``seed``.
            seed: of its weights.
            options: other fields of that teacher's Config, for example ``{stage: 4}``.
        """

        name: str = "random"
        of: str = "lite0"
        seed: int = 0
        options: dict[str, Any] = field(default_factory=dict)

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: a teacher without random weights, or an option that it does not have.
        """
        super().__init__()
        self.config = config
        family = registry.get("teachers", config.of)
        known = {entry.name for entry in fields(family.Config)}
        if not {"weights", "seed"} <= known:
            raise ValueError(
                f"teacher random: of is {config.of!r}, which offers no random weights; its Config "
                "needs the fields weights and seed"
            )
        allowed = known - {"name", "weights", "seed"}
        unknown = sorted(set(config.options) - allowed)
        if unknown:
            raise ValueError(
                f"teacher random: {config.of} has no option {unknown[0]!r}; "
                f"it has {', '.join(sorted(allowed))}"
            )
        chosen = {**config.options, "weights": RANDOM, "seed": config.seed}
        self.teacher: Teacher = family(family.Config(**chosen))
        self.channels, self.stride = self.teacher.channels, self.teacher.stride
        self.offset = self.teacher.offset
        self.needs_calibration = self.teacher.needs_calibration
        self.freeze()

    def features(self, images: Tensor) -> Tensor:
        """See ``Teacher.features``."""
        return self.teacher.features(images)

    def features_and_saliency(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Teacher.features_and_saliency``."""
        return self.teacher.features_and_saliency(images)

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """See ``Teacher.calibrate``."""
        self.teacher.calibrate(batches)
        self.needs_calibration = False
