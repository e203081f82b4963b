"""A 2D network in a student's place: every voxel has the mean of that network's own features over
the frames that see it. A probe on it shows the ceiling of lifting."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pcpt import registry
from pcpt.choices import check_minimum
from pcpt.data.cloud_cache import load_cached, save_cached
from pcpt.data.frame import Scan
from pcpt.data.lifting import Lifted, lift_features
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.skips import SkipLog, first_valid
from pcpt.data.transforms import fit_view
from pcpt.ops import voxelize
from pcpt.registry import register
from pcpt.sparse import SparseTensor
from pcpt.students.pretrained import build_config

CALIBRATION_IMAGES = 32  # for a teacher with random weights


@register("students", "lifted")
class LiftedTeacher(nn.Module):
    """Features of labelled scenes from their recordings, by ``pcpt.data.lifting``.

    It needs to know which scene it looks at, and so works in tasks alone (``voxels_of_scenes``),
    not on bare clouds. Nothing of it is trained: use it in probes. Features are rounded to half
    precision, in which they are kept.

    Attributes:
        feature_channels: those of the teacher.
    """

    @dataclass
    class Config:
        """
        Attributes:
            teacher: section of a teacher, as that of a pretraining run.
            frames: section of a source of frames, whose scans are named as the scenes.
            voxel_size: metres.
            image_size: (H, W) of the teacher's input.
            every: take every Nth of the source's frames.
            absolute_tolerance: a point is seen if its depth agrees with the image to this, metres.
            relative_tolerance: added tolerance per metre of depth.
            cache: folder to keep features in between runs; empty keeps none.
        """

        name: str = "lifted"
        teacher: dict[str, Any] = field(default_factory=lambda: {"name": "lite0"})
        frames: dict[str, Any] = field(default_factory=lambda: {"name": "scannet_sens"})
        voxel_size: float = 0.05
        image_size: list[int] = field(default_factory=lambda: [240, 320])
        every: int = 1
        absolute_tolerance: float = 0.05
        relative_tolerance: float = 0.0
        cache: str = ""

        def __post_init__(self) -> None:
            check_minimum("student.every", self.every, 1)

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError, FileNotFoundError: of the teacher and, where that needs calibration, of the
                source of frames.
        """
        super().__init__()
        self.config = config
        self.voxel_size = config.voxel_size
        self.teacher = _component("teachers", config.teacher, "student.teacher")
        self.feature_channels = int(self.teacher.channels)
        self.out_channels = 0  # no projection
        self.skips = SkipLog()
        self._scans: dict[str, Scan] = {}
        if self.teacher.needs_calibration:
            self.teacher.calibrate(self._some_images())
        self.requires_grad_(False)

    def voxels_of_scenes(self, batch: SceneBatch) -> tuple[SparseTensor, Tensor]:
        """Voxels of a batch with their features, and the voxel of each point.

        Args:
            batch: unaugmented scenes; their names say which frames are looked at.

        Returns:
            voxels: (U, C) features.
            point_to_voxel: (N,) int64.

        Raises:
            ValueError: a scene without a recording, or without a usable frame.
        """
        coordinates, point_to_voxel = voxelize(batch.points, self.voxel_size, batch.batch_index)
        features = torch.zeros(len(coordinates), self.feature_channels)
        for scene, name in enumerate(batch.names):
            points = torch.nonzero(batch.batch_index == scene).squeeze(1)
            if len(points):
                row = point_to_voxel[points].cpu()
                first = int(row.min())
                to_world = torch.linalg.inv(batch.world_to_scene[scene].double().cpu())
                world = batch.original[points].double().cpu() @ to_world[:3, :3].T + to_world[:3, 3]
                lifted = self._lifted(name, world.float(), row - first)
                features[first : first + len(lifted.features)] = lifted.features
        return SparseTensor(features.to(batch.points.device), coordinates), point_to_voxel

    def forward(self, x: SparseTensor) -> SparseTensor:
        """The input: it holds the features already."""
        return x

    def levels(self, x: SparseTensor) -> list[SparseTensor]:
        """Its single level."""
        return [x]

    def _lifted(self, name: str, points: Tensor, row: Tensor) -> Lifted:
        """Features of a scene's voxels, from the cache where they are there."""
        made_from = self._digest(points, row)
        path = Path(self.config.cache).expanduser() / f"{name}.safetensors"
        found = load_cached(path, made_from) if self.config.cache else None
        if found is not None:
            return Lifted(found[0]["features"].float(), found[0]["num_views"])
        config = self.config
        lifted = lift_features(
            self.teacher,
            self._scan(name),
            points,
            row,
            image_size=(config.image_size[0], config.image_size[1]),
            every=config.every,
            absolute_tolerance=config.absolute_tolerance,
            relative_tolerance=config.relative_tolerance,
            skips=self.skips,
        )
        half = lifted.features.half()
        if config.cache:
            save_cached(path, {"features": half, "num_views": lifted.num_views}, name, made_from)
        return Lifted(half.float(), lifted.num_views)

    def _digest(self, points: Tensor, row: Tensor) -> str:
        """Of everything that features depend on but the frames' own bytes."""
        values = {**asdict(self.config), "cache": ""}
        digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=list).encode())
        for tensor in (points, row, *self.teacher.state_dict().values()):
            plain = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _scan(self, name: str) -> Scan:
        scans = self._open()
        if name not in scans:
            raise ValueError(
                f"student lifted: scene {name} has no recording among the {len(scans)} scans of "
                f"student.frames ({', '.join(list(scans)[:3])}, ...); add its folder to "
                "student.frames.roots"
            )
        return scans[name]

    def _open(self) -> dict[str, Scan]:
        if not self._scans:
            source = _component("datasets", self.config.frames, "student.frames")
            self._scans = {scan.name: scan for scan in source.open()}
        return self._scans

    def _some_images(self) -> Iterator[Tensor]:
        """(1, 3, H, W) first usable frames of scans spread over the source."""
        scans = list(self._open().values())
        size = (self.config.image_size[0], self.config.image_size[1])
        for scan in scans[:: max(1, len(scans) // CALIBRATION_IMAGES)][:CALIBRATION_IMAGES]:
            frame = first_valid(scan, self.skips)
            yield fit_view(frame.image, frame.color_camera, size)[0][None]


def _component(kind: str, values: dict[str, Any], where: str) -> Any:
    """The registered class that ``values["name"]`` names, made from the other values."""
    if "name" not in values:
        raise ValueError(f"{where}.name is missing; one of {', '.join(registry.list_names(kind))}")
    owner = registry.get(kind, str(values["name"]))
    return owner(build_config(values, owner.Config, where))
