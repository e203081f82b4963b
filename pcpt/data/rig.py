"""From the files of a frame to a Frame. Sources only list files; all that they share is here."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcpt.choices import check_depth_scale
from pcpt.data.files import content_digest, read_pose, size_of
from pcpt.data.frame import BrokenFrame, Frame, LostPose, Scan
from pcpt.data.images import read_color, read_depth
from pcpt.data.lens import Lens
from pcpt.geometry.camera import Camera


@dataclass(frozen=True, eq=False)
class Rig:
    """The colour and the depth camera of a scanner, which move as one.

    Attributes:
        color: its ``camera_to_world`` maps colour camera points to *depth camera* points.
        depth: at the origin of the rig; the pose of a frame is the pose of this camera.
        depth_scale: units of the depth images per metre.
        lens: distortion of both images, which is undone when they are read; depth is then
            registered to colour.
    """

    color: Camera
    depth: Camera
    depth_scale: float = 1000.0
    lens: Lens | None = None

    def __post_init__(self) -> None:
        check_depth_scale("depth_scale", self.depth_scale)

    def posed(self, camera_to_world: Tensor) -> tuple[Camera, Camera]:
        """Colour and depth camera when the depth camera stands at ``camera_to_world`` (4, 4).

        Raises:
            ValueError: not finite, or not a rotation and a translation.
        """
        depth = replace(self.depth, camera_to_world=camera_to_world)
        color_pose = depth.camera_to_world @ self.color.camera_to_world
        return replace(self.color, camera_to_world=color_pose), depth

    def evidence(self) -> list[Any]:
        """All of it as JSON, for ``Scan.evidence``."""
        cameras = [
            [each.height, each.width, rounded(each.intrinsics), rounded(each.camera_to_world)]
            for each in (self.color, self.depth)
        ]
        lens = [self.lens.model, *self.lens.coefficients] if self.lens is not None else []
        return [*cameras, self.depth_scale, lens]


def rounded(numbers: Tensor) -> list[float]:
    """To six digits behind the point: machines invert and multiply matrices differently in the
    last digits, and what is compared as ``Scan.evidence`` must not depend on that."""
    return [round(number, 6) + 0.0 for number in numbers.flatten().tolist()]


@dataclass(frozen=True, slots=True)
class FrameFiles:
    """Where one frame lies, relative to the folder of its scan.

    Attributes:
        image, depth: files.
        pose: a text file of 4x4 numbers, or those numbers (4, 4); maps depth camera to world.
        pose_origin: how messages call the pose when it is not a file of its own.
        rig: the cameras of this frame where they are not the scan's, or a function that reads them
            and may raise BrokenFrame.
        broken: why the frame cannot be used, where that is known from the listing.
        lost: likewise, why it has no pose.
    """

    image: str
    depth: str
    pose: str | Tensor
    pose_origin: str = ""
    rig: Rig | Callable[[], Rig] | None = None
    broken: str = ""
    lost: str = ""


class RigScan(Scan):
    """A scan whose frames were taken by one rig, or whose files name a rig for each frame.

    Args:
        name: of the scan.
        folder: that the files are relative to.
        rig: the two cameras; None if every frame has its own.
        files: of each frame, in recording order.
        held_out: names of frames that must not be trained on.
        up: vector against gravity in the world frame, of any length; empty where unknown.

    Raises:
        ValueError: no frames, or an ``up`` that is no direction.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        rig: Rig | None,
        files: Mapping[str, FrameFiles],
        *,
        held_out: Iterable[str] = (),
        up: Iterable[float] = (),
    ) -> None:
        if not files:
            raise ValueError(f"scan {name}: no frames are listed in {folder}")
        self.name = name
        self.names = list(files)
        self.held_out = frozenset(held_out)
        self.up = direction(list(up), folder)
        self.folder = folder
        self._folder, self._rig, self._files = folder, rig, dict(files)

    def _rig_of(self, files: FrameFiles) -> Rig:
        rig = files.rig() if callable(files.rig) else files.rig or self._rig
        if rig is None:
            raise ValueError(f"scan {self.name}: {files.image} has no cameras, nor has the scan")
        return rig

    def load(self, name: str) -> Frame:
        if name not in self._files:
            raise ValueError(f"scan {self.name} has no frame {name!r}; its names lists them")
        files = self._files[name]
        if files.broken:
            raise BrokenFrame(files.broken)
        if files.lost:
            raise LostPose(files.lost)
        rig = self._rig_of(files)
        if isinstance(files.pose, str):
            pose, origin = read_pose(self._folder / files.pose), str(self._folder / files.pose)
        else:
            pose, origin = files.pose, str(self._folder / files.pose_origin)
        try:
            color_camera, depth_camera = rig.posed(pose)
        except ValueError as error:
            raise LostPose(f"pose {origin}: {error}") from error
        image = read_color(self._folder / files.image, (color_camera.height, color_camera.width))
        depth = read_depth(
            self._folder / files.depth,
            (depth_camera.height, depth_camera.width),
            rig.depth_scale,
        )
        if rig.lens is not None:
            image = rig.lens.undistort_color(image, color_camera)
            depth = rig.lens.undistort_depth(depth, depth_camera)
            if not depth.any():
                raise BrokenFrame(
                    f"depth image {self._folder / files.depth}: nothing measured is left within "
                    "the undistorted image; are these the lens coefficients of these images?"
                )
        return Frame(name, image, depth, color_camera, depth_camera)

    def evidence(self) -> Iterator[Any]:
        """The cameras, and of every frame its pose and the sizes of its images."""
        yield self._rig.evidence() if self._rig is not None else []
        for files in self._files.values():
            if isinstance(files.pose, str):
                pose: Any = content_digest(self._folder / files.pose)
            else:
                pose = rounded(files.pose)
            images = [(file, size_of(self._folder / file)) for file in (files.image, files.depth)]
            yield [*images, pose, _own_evidence(files)]


def _own_evidence(files: FrameFiles) -> list[Any]:
    """Of the cameras of a frame that has its own."""
    try:
        rig = files.rig() if callable(files.rig) else files.rig
    except BrokenFrame:
        return ["broken"]
    return rig.evidence() if rig is not None else []


def direction(up: list[float], origin: Path) -> Tensor | None:
    """The unit vector of ``up`` (3,), float64; None if it is empty, ValueError if it is none."""
    if not up:
        return None
    vector = torch.tensor(up, dtype=torch.float64)
    length = float(vector.norm())
    if len(up) != 3 or not 0 < length < float("inf"):
        raise ValueError(
            f"{origin}: up is {up}, expected three finite numbers, not all 0: the direction "
            "against gravity in the world frame"
        )
    return vector / length
