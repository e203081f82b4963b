"""A picture of some rooms: frames, a depth image, and the labelled mesh from above.

python -m pcpt.data.rooms.sheet ROOMS PICTURE.jpg [--scenes 5]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pcpt.data.ply import read_mesh
from pcpt.data.rooms.linear import times
from pcpt.data.scannet_classes import NYU40
from pcpt.data.scannet_labels import read_axis_alignment
from pcpt.data.scannet_scene import ScanNetFiles
from pcpt.data.sens import SensReader

HEIGHT = 168
FRAMES = 4


def room_row(folder: Path) -> np.ndarray:
    """(HEIGHT, W, 3) uint8 RGB: frames, depth, labels from above."""
    reader = SensReader(folder / f"{folder.name}.sens")
    chosen = np.linspace(0, len(reader) - 1, FRAMES + 2).astype(int)[1:-1]
    images = [_fit(reader.color(int(index))) for index in chosen]
    depth = reader.depth(int(chosen[-1]))
    shade = cv2.applyColorMap(
        (np.clip(depth / 5, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS
    )
    shade[depth == 0] = 0
    return np.concatenate(
        [*images, _fit(shade[..., ::-1]), labels_from_above(ScanNetFiles(folder))], axis=1
    )


def labels_from_above(files: ScanNetFiles, size: int = HEIGHT) -> np.ndarray:
    """(size, size, 3): NYU40 colours of the highest vertices below 1.9 m, walls along the image."""
    mesh = read_mesh(files.labels)
    align = read_axis_alignment(files.description)
    points = times(mesh.points.astype(np.float64), align[:3, :3]) + align[:3, 3]
    keep = np.flatnonzero(points[:, 2] < 1.9)
    keep = keep[np.argsort(points[keep, 2], kind="stable")]
    reach = np.abs(points[:, :2]).max() * 1.03
    place = ((points[keep, :2] / reach + 1) / 2 * (size - 1)).round().astype(int)
    palette = np.zeros((41, 3), np.uint8)
    palette[list(NYU40.ids)] = np.asarray(NYU40.colors)
    picture = np.full((size, size, 3), 26, np.uint8)
    labels = palette[mesh.labels[keep]] if mesh.labels is not None else 200
    picture[size - 1 - place[:, 1], place[:, 0]] = labels
    return cv2.medianBlur(picture, 3)


def _fit(image: np.ndarray) -> np.ndarray:
    width = round(image.shape[1] * HEIGHT / image.shape[0])
    return cv2.resize(np.ascontiguousarray(image), (width, HEIGHT), interpolation=cv2.INTER_AREA)


def write_sheet(root: Path, picture: Path, scenes: int) -> None:
    """Writes the first scenes of a folder of rooms as one JPEG or PNG.

    Raises:
        FileNotFoundError: no scenes.
        OSError: the picture cannot be written.
    """
    folders = sorted((Path(root) / "scans").glob("scene*"))[:scenes]
    if not folders:
        raise FileNotFoundError(f"{root}/scans holds no scenes; make them with pcpt rooms {root}")
    rows = np.concatenate([room_row(folder) for folder in folders])
    if not cv2.imwrite(str(picture), rows[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82]):
        raise OSError(f"could not write {picture}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command above."""
    parser = argparse.ArgumentParser(prog="python -m pcpt.data.rooms.sheet", description=__doc__)
    parser.add_argument("rooms", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--scenes", type=int, default=5)
    options = parser.parse_args(arguments)
    write_sheet(options.rooms, options.picture, options.scenes)


if __name__ == "__main__":
    main()
