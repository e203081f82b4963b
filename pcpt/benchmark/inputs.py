"""The inputs: a real scan with its fused cloud, and a generated room of so many voxels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import pcpt
from pcpt import registry
from pcpt.data.frame import BrokenFrame, Frame, Scan
from pcpt.geometry.correspondence import fuse_frames
from pcpt.geometry.views import look_at
from pcpt.ops import render_depth, voxelize

ROOT = Path(pcpt.__file__).resolve().parents[1]
DEFAULT_SCANS = (ROOT.parent / "shared/data/rgbd/hololens", ROOT / "examples/office")

ROOM = (4.4, 3.4, 2.5)  # metres; its scale follows from the number of voxels asked for
FURNITURE = (  # corner and size of boxes, metres
    (0.2, 0.2, 0.0, 1.2, 0.6, 0.75),
    (1.9, 0.1, 0.0, 0.8, 0.4, 1.8),
    (3.2, 0.3, 0.0, 1.0, 1.3, 0.5),
    (1.5, 1.4, 0.0, 1.1, 0.7, 0.74),
    (0.1, 2.3, 0.0, 0.5, 1.0, 2.0),
    (2.7, 2.7, 0.0, 1.4, 0.5, 0.85),
)
EYE, TARGET, UP = (3.3, 2.5, 1.9), (0.9, 0.4, 0.5), (0.0, 0.0, 1.0)  # of its camera
TURN = (0.31, 0.07)  # radians about z and x: walls along the grid would be of even thickness
NOISE = 0.002  # of a measured point, metres
POINTS_PER_SQUARE_METRE = 12_000


@dataclass
class Views:
    """A cloud and depth images that see it, ready for ``match_points_to_pixels``.

    Attributes:
        points: (N, 3) float32, metres.
        depth: (V, H, W) float32, metres.
        intrinsics: (V, 3, 3).
        camera_to_world: (V, 4, 4).
        source: name of the scan.
    """

    points: Tensor
    depth: Tensor
    intrinsics: Tensor
    camera_to_world: Tensor
    source: str


def default_scan() -> Path:
    """The HoloLens sample where it lies beside the checkout, else the scan that ships.

    Raises:
        FileNotFoundError: neither is there, as in an installation without the repository.
    """
    for folder in DEFAULT_SCANS:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"no scan at {' or '.join(map(str, DEFAULT_SCANS))}; pass --scan FOLDER"
    )


def source_of(folder: Path) -> str:
    """Name of the data source that reads a scan: "folder" where it has a scan.json.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: neither layout.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"scan {folder} is not a folder")
    if (folder / "scan.json").is_file():
        return "folder"
    if (folder / "poses.txt").is_file():
        return "hololens"
    raise ValueError(
        f"{folder} holds neither a scan.json (docs/data_layout.md) nor the poses.txt of a HoloLens "
        "sequence; pass another --scan"
    )


def real_views(
    folder: Path | None, num_points: int, num_views: int, size: tuple[int, int] = (480, 640)
) -> Views:
    """A scan's frames fused into one cloud, of which a random subset is kept, and its depth images.

    Args:
        folder: of the scan; None takes ``default_scan``.
        num_points: N, or as many as the fused cloud has, about one in each 2 cm voxel.
        num_views: frames to use, from the first; all if fewer.
        size: (height, width) that depth images are brought to, taking the nearest pixel.
    """
    folder = folder or default_scan()
    frames = _load(_open(folder), num_views)
    points, _ = fuse_frames(frames, voxel_size=0.02)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    cameras = [frame.depth_camera.resized(*size) for frame in frames]
    depth = torch.stack([frame.depth for frame in frames])
    return Views(
        points[order[:num_points].sort().values].contiguous(),
        F.interpolate(depth[:, None], size, mode="nearest-exact")[:, 0].contiguous(),
        torch.stack([camera.intrinsics for camera in cameras]),
        torch.stack([camera.camera_to_world for camera in cameras]),
        folder.name,
    )


def real_cloud(folder: Path | None, num_views: int) -> Tensor:
    """(N, 3) float32: every measured point of a scan's first frames."""
    return fuse_frames(_load(_open(folder or default_scan()), num_views))[0]


def _open(folder: Path) -> Scan:
    source: Any = registry.get("datasets", source_of(folder))
    return source(source.Config(roots=[str(folder)])).open()[0]


def _load(scan: Scan, most: int) -> list[Frame]:
    frames: list[Frame] = []
    for name in scan.names:
        try:
            frames.append(scan.load(name))
        except BrokenFrame:
            continue
        if len(frames) == most:
            break
    if not frames:
        raise ValueError(f"scan {scan.name} has no frame that can be used; pass another --scan")
    return frames


def room_points(seed: int = 0, scale: float = 1.0) -> Tensor:
    """Points measured on the surfaces of a furnished room: floor, walls, six boxes.

    Args:
        seed: of where the points lie; the room stays the same.
        scale: of all lengths; the density of points stays the same.

    Returns:
        (N, 3) float32, metres, in random order.
    """
    generator = torch.Generator().manual_seed(seed)
    width, depth, height = (scale * edge for edge in ROOM)
    zero = (0.0, 0.0, 0.0)
    patches = [  # corner, and the two edges of a rectangle
        (zero, (width, 0.0, 0.0), (0.0, depth, 0.0)),
        (zero, (width, 0.0, 0.0), (0.0, 0.0, height)),
        (zero, (0.0, depth, 0.0), (0.0, 0.0, height)),
        ((width, 0.0, 0.0), (0.0, depth, 0.0), (0.0, 0.0, height)),
        ((0.0, depth, 0.0), (width, 0.0, 0.0), (0.0, 0.0, height)),
    ]
    for box in FURNITURE:
        x, y, z, dx, dy, dz = (scale * value for value in box)
        a, b, c = (dx, 0.0, 0.0), (0.0, dy, 0.0), (0.0, 0.0, dz)
        patches += [((x, y, z), a, c), ((x, y, z), b, c), ((x, y, z + dz), a, b)]
        patches += [((x + dx, y, z), b, c), ((x, y + dy, z), a, c)]
    points = torch.cat([_sample(torch.tensor(patch), generator) for patch in patches])
    points += NOISE * torch.randn(points.shape, generator=generator)
    return points[torch.randperm(len(points), generator=generator)] @ _turn().T


def room_view(num_points: int, size: tuple[int, int] = (480, 640)) -> Views:
    """The generated room seen by one camera that stands in it, with depth at nearly every pixel, as
    depth that is rendered has it and a sensor's has not.

    Args:
        num_points: N, a random subset of the room's.
        size: (height, width).
    """
    points, turn = room_points(), _turn()
    eye, target, up = (turn @ torch.tensor(place) for place in (EYE, TARGET, UP))
    pose = look_at(eye[None], target.tolist(), up.tolist()).float()
    focal = 0.9 * size[1]
    centre = [(size[1] - 1) / 2, (size[0] - 1) / 2]
    intrinsics = torch.tensor([[[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]]])
    radius = round(2 * size[1] / 640)  # closes the gaps: there points are about 3 pixels apart
    depth = render_depth(points, intrinsics, pose, size, radius)
    return Views(points[:num_points].contiguous(), depth, intrinsics, pose, "generated room")


def _turn() -> Tensor:
    (cos_z, cos_x), (sin_z, sin_x) = torch.tensor(TURN).cos(), torch.tensor(TURN).sin()
    about_z = torch.tensor([[cos_z, -sin_z, 0.0], [sin_z, cos_z, 0.0], [0.0, 0.0, 1.0]])
    return about_z @ torch.tensor([[1.0, 0.0, 0.0], [0.0, cos_x, -sin_x], [0.0, sin_x, cos_x]])


def _sample(patch: Tensor, generator: torch.Generator) -> Tensor:
    corner, first, second = patch
    area = float(torch.linalg.cross(first, second).norm())
    place = torch.rand(max(1, round(area * POINTS_PER_SQUARE_METRE)), 2, generator=generator)
    return corner + place @ torch.stack((first, second))


def room_voxels(voxel_size: float, count: int, batch: int = 1) -> Tensor:
    """(about ``batch * count``, 4) int32 voxels of generated rooms, each sized to give ``count``.

    Surfaces grow with the square of the scale, which finds the right one in a few tries.
    """
    scale = 1.0
    for _ in range(5):
        found = len(voxelize(room_points(0, scale), voxel_size)[0])
        if abs(found - count) <= count // 50:
            break
        scale *= (count / found) ** 0.5
    clouds = [room_points(seed, scale) for seed in range(batch)]
    index = torch.repeat_interleave(torch.arange(batch), torch.tensor([len(c) for c in clouds]))
    return voxelize(torch.cat(clouds), voxel_size, index)[0]
