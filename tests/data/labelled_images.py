"""Scans with label images on disk, written by OpenCV and numpy alone."""

from pathlib import Path

import cv2
import numpy as np

from tests.data.scannet_files import TABLE

HEIGHT, WIDTH = 24, 32
# id in the table, and the colour that a thing of it has: wall, floor, chair
THINGS = {1: (200, 40, 40), 3: (40, 200, 40), 2: (40, 40, 200)}
PLACES = {1: 0, 3: 1, 2: 4}  # in ScanNet-20


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 RGB of blocks of things, and (H, W) uint16 ids; some pixels have none."""
    random = np.random.default_rng(seed)
    blocks = random.choice(list(THINGS), (height // 8, width // 8))
    ids = np.kron(blocks, np.ones((8, 8), int)).astype(np.uint16)
    image = np.zeros((height, width, 3), np.uint8)
    for one, color in THINGS.items():
        image[ids == one] = color
    ids[:2, :2] = 0
    return image, ids


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def write_labelled_scan(root: Path, name: str, frames: int = 3, seed: int = 0) -> Path:
    """``color/N.png`` and ``label-filt/N.png`` in root/name, and the label table in root."""
    folder = root / name
    for index in range(frames):
        image, ids = picture(seed + index)
        write_png(folder / "color" / f"{index}.png", image)
        write_png(folder / "label-filt" / f"{index}.png", ids)
    (root / "scannetv2-labels.combined.tsv").write_text("\n".join(TABLE))
    return folder
