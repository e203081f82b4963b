"""All pictures of one scan or labelled scene, written into a folder."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pcpt.data.dataset import up_of
from pcpt.data.frame import BrokenFrame, Frame, LostPose, Scan
from pcpt.data.label_set import LabelSet
from pcpt.data.ply import write_ply
from pcpt.data.scene import Scene, SceneSet
from pcpt.data.shape import ShapeSet
from pcpt.doctor.open_scan import make_source, open_scan
from pcpt.geometry.correspondence import back_project
from pcpt.viz.labels import label_picture
from pcpt.viz.picture import save_png
from pcpt.viz.scan import camera_path, cloud_overview, contact_sheet

SHEET_FRAMES = 16
FUSED_FRAMES = 40
MAX_POINTS = 1_500_000
VOXEL = 0.01  # metres; one point of the fused cloud a cell


def visualize_scan(
    path: Path | str, folder: Path | str, source: str = "", options: Sequence[str] = ()
) -> list[Path]:
    """Writes the pictures of what lies at a path: a scan, or labelled scenes.

    Args:
        path: of one scan, as ``open_scan`` takes it; or of a folder of a ScanNet scene; or what a
            named source of labelled scenes takes, all of which are drawn.
        folder: made if need be; files of the pictures' names are replaced.
        source: one of ``pcpt.list("datasets")``; found from the files where it is empty.
        options: ``key=value`` of the source.

    Raises:
        FileNotFoundError: no such path.
        ValueError: no source or several know the layout, an option that the source has not, or
            single shapes.
    """
    opened = open_any(path, source, options)
    if isinstance(opened, SceneSet):
        return [
            write_label_picture(opened.load(name), opened.label_set, folder)
            for name in opened.names
        ]
    if isinstance(opened, ShapeSet):
        raise ValueError(f"{path} holds single shapes; pcpt view shows one, as --scene NAME")
    return write_scan_pictures(opened, folder)


def open_any(
    path: Path | str, source: str = "", options: Sequence[str] = ()
) -> Scan | SceneSet | ShapeSet:
    """The scan, the labelled scenes or, of a source of them, the shapes at a path; arguments and
    errors as ``visualize_scan``. Of a folder of one ScanNet scene a set of this one."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    only = path.resolve().name if any(path.glob("*_vh_clean_2.ply")) else ""
    if source or only:
        root = path.resolve().parent if only else path
        opened = make_source(source or "scannet_scenes", root, options).open()
        if isinstance(opened, SceneSet) and only:
            opened.names = [only]
        if isinstance(opened, SceneSet | ShapeSet):
            return opened
    return open_scan(path, source, options)


def fused_cloud(scan: Scan, *, max_frames: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """What the frames of a scan measured, as one cloud.

    Args:
        scan: any scan; broken frames are passed over.
        max_frames: read at most, evenly spread; images of fewer are fused.

    Returns:
        points: (N, 3) metres, world frame, one a centimetre or fewer.
        colors: (N, 3) uint8.
        up: (3,) against gravity; a guess where the scan does not know it.

    Raises:
        ValueError: no frame can be used, or the colour camera sees nothing of their depth.
    """
    sheet, _, points, colors = _read(scan, max_frames)
    return points, colors, scan.up if scan.up is not None else up_of(sheet)


def write_scan_pictures(scan: Scan, folder: Path | str, *, max_frames: int = 400) -> list[Path]:
    """Writes ``contact_sheet.png``, ``camera_path.png``, ``cloud.png`` and ``cloud.ply``.

    Args:
        scan: any scan; broken frames are passed over.
        folder: made if need be; files of these names are replaced.
        max_frames: read for the path, evenly spread; images of fewer are kept.

    Raises:
        ValueError: no frame can be used, or the colour camera sees nothing of their depth.
    """
    sheet, poses, points, colors = _read(scan, max_frames)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    up = scan.up if scan.up is not None else up_of(sheet)
    write_ply(folder / "cloud.ply", points.numpy(), colors.numpy())
    return [
        save_png(folder / "contact_sheet.png", contact_sheet(sheet)),
        save_png(folder / "camera_path.png", camera_path(points, colors, poses, up)),
        save_png(folder / "cloud.png", cloud_overview(points, colors, poses, up)),
        folder / "cloud.ply",
    ]


def write_label_picture(scene: Scene, label_set: LabelSet, folder: Path | str) -> Path:
    """Writes ``NAME.labels.png``: colours, classes and objects of a scene, with a legend."""
    name = scene.name.replace("/", "_")
    return save_png(Path(folder) / f"{name}.labels.png", label_picture(scene, label_set))


def _read(scan: Scan, max_frames: int) -> tuple[list[Frame], Tensor, Tensor, Tensor]:
    """Frames of the contact sheet, poses (F, 4, 4), and the fused points and colours (N, 3)."""
    chosen = _spread(scan.names, max_frames)
    in_sheet = set(_spread(chosen, SHEET_FRAMES))
    fused = set(_spread(chosen, FUSED_FRAMES))
    sheet: list[Frame] = []
    poses: list[Tensor] = []
    points: list[Tensor] = []
    colors: list[Tensor] = []
    limit = MAX_POINTS // max(1, len(fused))
    first_error = "it lists none"
    for name in chosen:
        try:
            frame = scan.load(name)
        except LostPose:
            continue
        except BrokenFrame as error:
            first_error = str(error) if first_error == "it lists none" else first_error
            continue
        poses.append(frame.depth_camera.camera_to_world)
        if name in in_sheet or not sheet:
            sheet.append(frame)
        if name in fused or not points:
            world, tints = back_project(frame)
            step = max(1, -(-len(world) // limit))
            points.append(world[::step])
            colors.append((tints[::step] * 255).round().to(torch.uint8))
    if not poses:
        raise ValueError(f"scan {scan.name}: no frame can be used: {first_error}")
    if not any(map(len, points)):
        raise ValueError(
            f"scan {scan.name}: the colour camera sees no pixel of depth of {len(points)} frames, "
            "so no point has a colour; correct the colour camera or depth_to_color"
        )
    cloud, tint = _thinned(torch.cat(points), torch.cat(colors))
    return sheet, torch.stack(poses), cloud, tint


def _spread(names: Sequence[str], count: int) -> list[str]:
    """At most ``count`` names, evenly spaced, the first and the last included."""
    if len(names) <= count:
        return list(names)
    return [names[i] for i in torch.linspace(0, len(names) - 1, count).round().long().tolist()]


def _thinned(points: Tensor, colors: Tensor) -> tuple[Tensor, Tensor]:
    """One point a cell of ``VOXEL``, the first."""
    cells = torch.floor((points - points.amin(0)) / VOXEL).long()
    key = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    _, inverse = torch.unique(key, return_inverse=True)
    first = torch.full((int(inverse.max()) + 1,), len(points)).scatter_reduce_(
        0, inverse, torch.arange(len(points)), "amin"
    )
    first = first.sort().values
    return points[first], colors[first]
