"""What the doctor looks at: small depth and grey images of a scan's frames, and its cameras."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from pcpt.data.frame import BrokenFrame, Frame, LostPose, NoDepth, Scan
from pcpt.data.images import WrongSize
from pcpt.geometry.camera import Camera

MAX_FRAMES = 240
WINDOW = 40  # consecutive frames: neighbours are what most faults show in
DEPTH_WIDTH = 160  # pixels, about; a pixel is then half a degree
GREY_WIDTH = 320


@dataclass(frozen=True, eq=False)
class Observations:
    """F frames in recording order; frames that could not be read are left out and listed.

    Attributes:
        names: of the frames.
        place: (F,) int64, place of each frame in the recording's listing.
        window: (F,) int64, number of the run of consecutive frames that it belongs to.
        depth: (F, h, w) float32, metres, subsampled.
        intrinsics: (F, 3, 3) float64, of ``depth``: a lens that focuses changes them.
        camera_to_world: (F, 4, 4) float64, of the depth camera.
        grey: (F, H, W) float32 in 0..1, reduced.
        color_intrinsics: (F, 3, 3) float64, of ``grey``.
        depth_to_color: (4, 4) float64, maps points of the depth to the colour camera.
        color_camera: of the first frame, full size, as the scan has it.
        depth_size: (height, width) in full.
        lost: names of frames whose pose is missing or no rigid motion.
        without_depth: names of frames in which no depth was measured.
        wrong_size: the refusals of frames of another size than their camera.
        damaged: messages of frames unusable for other reasons.
    """

    names: list[str]
    place: Tensor
    window: Tensor
    depth: Tensor
    intrinsics: Tensor
    camera_to_world: Tensor
    grey: Tensor
    color_intrinsics: Tensor
    depth_to_color: Tensor
    color_camera: Camera
    depth_size: tuple[int, int]
    lost: list[str] = field(default_factory=list)
    without_depth: list[str] = field(default_factory=list)
    wrong_size: list[WrongSize] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def num_looked_at(self) -> int:
        left_out = len(self.lost) + len(self.without_depth) + len(self.wrong_size)
        return len(self.names) + left_out + len(self.damaged)

    @property
    def color_intrinsics_spread(self) -> float:
        """By how much the frames' colour intrinsics differ: of focal lengths as a share of them, of
        principal points as a share of the image's width, whichever is more."""
        k = self.color_intrinsics
        focal, centre = k[:, [0, 1], [0, 1]], k[:, :2, 2]
        apart = (focal.amax(0) / focal.amin(0) - 1).max()
        moved = (centre.amax(0) - centre.amin(0)).max() / self.grey.shape[2]
        return float(torch.maximum(apart, moved))


@dataclass(eq=False)
class Unreadable(Exception):
    """Fewer than two frames could be read; what was refused tells why."""

    lost: list[str]
    wrong_size: list[WrongSize]
    damaged: list[str]


def observe(scan: Scan) -> Observations:
    """Reads up to ``MAX_FRAMES`` frames, in runs of consecutive ones spread over the recording.

    Raises:
        Unreadable: fewer than two frames can be used.
    """
    lost: list[str] = []
    without_depth: list[str] = []
    wrong_size: list[WrongSize] = []
    damaged: list[str] = []
    frames: list[tuple[int, int, Frame, Tensor, Tensor]] = []
    for window, places in enumerate(windows(len(scan.names))):
        for place in places:
            name = scan.names[place]
            try:
                frame = scan.load(name)
            except LostPose:
                lost.append(name)
            except NoDepth:
                without_depth.append(name)
            except WrongSize as error:
                wrong_size.append(error)
            except BrokenFrame as error:
                damaged.append(str(error))
            else:
                small = _small_depth(frame.depth), _small_grey(frame.image)
                frames.append((place, window, _without_images(frame), *small))
    frames = _of_one_rig(frames, damaged)
    if len(frames) < 2:
        raise Unreadable(lost, wrong_size, damaged)
    first = frames[0][2]
    step = _step(first.depth_camera.width, DEPTH_WIDTH)
    intrinsics = torch.stack([frame.depth_camera.intrinsics for _, _, frame, _, _ in frames])
    intrinsics[:, :2] /= step  # every step-th pixel, so the centre of pixel 0 stays
    shrink = _step(first.color_camera.width, GREY_WIDTH)
    grey = torch.stack([frame.color_camera.intrinsics for _, _, frame, _, _ in frames])
    grey[:, :2, 2] -= (shrink - 1) / 2  # means of shrink x shrink pixels
    grey[:, :2] /= shrink
    return Observations(
        names=[frame.name for _, _, frame, _, _ in frames],
        place=torch.tensor([place for place, *_ in frames]),
        window=torch.tensor([window for _, window, *_ in frames]),
        depth=torch.stack([depth for *_, depth, _ in frames]),
        intrinsics=intrinsics,
        camera_to_world=torch.stack([f.depth_camera.camera_to_world for _, _, f, _, _ in frames]),
        grey=torch.stack([grey_image for *_, grey_image in frames]),
        color_intrinsics=grey,
        depth_to_color=first.color_camera.world_to_camera @ first.depth_camera.camera_to_world,
        color_camera=first.color_camera,
        depth_size=(first.depth_camera.height, first.depth_camera.width),
        lost=lost,
        without_depth=without_depth,
        wrong_size=wrong_size,
        damaged=damaged,
    )


def windows(count: int) -> list[range]:
    """Runs of consecutive places, all of a short recording, spread evenly over a long one."""
    if count <= MAX_FRAMES:
        return [range(count)]
    number = MAX_FRAMES // WINDOW
    starts = torch.linspace(0, count - WINDOW, number).long().tolist()
    return [range(start, start + WINDOW) for start in starts]


def _without_images(frame: Frame) -> Frame:
    """The cameras of a frame; its images, no longer needed, are not kept alive."""
    empty = object.__new__(Frame)
    for name in ("name", "color_camera", "depth_camera"):
        object.__setattr__(empty, name, getattr(frame, name))
    return empty


def _of_one_rig(
    frames: Sequence[tuple[int, int, Frame, Tensor, Tensor]], damaged: list[str]
) -> list[tuple[int, int, Frame, Tensor, Tensor]]:
    """Frames whose images have the sizes of the first's; the doctor compares images of one kind."""
    kept = []
    for entry in frames:
        if entry[3].shape == frames[0][3].shape and entry[4].shape == frames[0][4].shape:
            kept.append(entry)
        else:
            damaged.append(f"frame {entry[2].name}: images of another size than the first frame's")
    return kept


def _step(width: int, wanted: int) -> int:
    return max(1, round(width / wanted))


def _small_depth(depth: Tensor) -> Tensor:
    step = _step(depth.shape[1], DEPTH_WIDTH)
    return depth[::step, ::step].clone()


def _small_grey(image: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114]) / 255
    grey = torch.einsum("chw,c->hw", image.float(), weights)
    shrink = _step(image.shape[2], GREY_WIDTH)
    return F.avg_pool2d(grey[None], shrink)[0]
