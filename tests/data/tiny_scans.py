"""Tiny scans on disk, written without any code of the package: OpenCV, numpy and json only."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

INTRINSICS = np.array([[20.0, 0, 11.5], [0, 20.0, 7.5], [0, 0, 1]])
HEIGHT, WIDTH = 16, 24


def pose(index: int = 0) -> np.ndarray:
    """A camera that moves and turns about y with the index."""
    angle = 0.1 * index
    matrix = np.eye(4)
    matrix[0, 0] = matrix[2, 2] = np.cos(angle)
    matrix[0, 2], matrix[2, 0] = np.sin(angle), -np.sin(angle)
    matrix[:3, 3] = [0.25 * index, 0.5, -1.0]
    return matrix


def write_color(path: Path, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Writes random RGB and returns it (H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), rgb[..., ::-1])
    return rgb


def write_depth(path: Path, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Writes random millimetres with some 0 and 65535 and returns them (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    units = np.random.default_rng(seed).integers(500, 5000, (height, width)).astype(np.uint16)
    units[0, :3] = [0, 65535, 1000]
    assert cv2.imwrite(str(path), units)
    return units


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, matrix)


def folder_json(num_frames: int = 3) -> dict[str, Any]:
    """A scan.json in full: colour and depth of different cameras and sizes."""
    depth_to_color = np.eye(4)
    depth_to_color[0, 3] = -0.025
    return {
        "version": 1,
        "name": "tiny",
        "up": [0, -2, 0],
        "color": {"width": 32, "height": 24, "fx": 30, "fy": 31, "cx": 15.5, "cy": 11.5},
        "depth": {
            "width": WIDTH,
            "height": HEIGHT,
            "intrinsics": INTRINSICS.tolist(),
            "scale": 1000,
            "depth_to_color": depth_to_color.tolist(),
        },
        "frames": [
            {
                "name": f"f{index}",
                "image": f"rgb/{index}.png",
                "depth": f"d/{index}.png",
                "camera_to_world": pose(index).tolist(),
                "held_out": index == 2,
            }
            for index in range(num_frames)
        ],
    }


def write_folder(folder: Path, description: dict[str, Any] | None = None) -> Path:
    """Writes a folder scan of three frames; ``description`` replaces its scan.json."""
    for index in range(3):
        write_color(folder / "rgb" / f"{index}.png", 24, 32, seed=index)
        write_depth(folder / "d" / f"{index}.png", seed=index)
    (folder / "scan.json").write_text(json.dumps(description or folder_json()))
    return folder


def write_seven_scenes(folder: Path, num_frames: int = 3, suffix: str = "jpg") -> Path:
    """Writes a folder of frames as RedKitchen in tsdf-fusion-python."""
    for index in range(num_frames):
        stem = f"frame-{4 * index:06d}"
        write_color(folder / f"{stem}.color.{suffix}", seed=index)
        write_depth(folder / f"{stem}.depth.png", seed=index)
        write_matrix(folder / f"{stem}.pose.txt", pose(index))
    write_matrix(folder / "camera-intrinsics.txt", INTRINSICS)
    write_matrix(folder / "gravity-direction.txt", np.array([0.0, 0.0, -1.0]))
    return folder


def write_hololens(folder: Path, num_frames: int = 3) -> Path:
    """Writes a sequence as deep-video-mvs lays it out, with frames.txt."""
    names = [f"{4 * index + 3:05d}.png" for index in range(num_frames)]
    for index, name in enumerate(names):
        write_color(folder / "images" / name, seed=index)
        write_depth(folder / "depth" / name, seed=index)
    write_matrix(folder / "K.txt", INTRINSICS)
    write_matrix(folder / "poses.txt", np.stack([pose(i).ravel() for i in range(num_frames)]))
    (folder / "frames.txt").write_text("\n".join(names) + "\n")
    return folder


def write_scannet(folder: Path, numbers: range, digits: int = 1, release: bool = False) -> Path:
    """Writes frames as ScanNet's SensReader does, or as the 25k release names the intrinsics."""
    for number in numbers:
        stem = f"{number:0{digits}d}"
        write_color(folder / "color" / f"{stem}.jpg", 2 * HEIGHT, 2 * WIDTH, seed=number)
        write_depth(folder / "depth" / f"{stem}.png", seed=number)
        write_matrix(folder / "pose" / f"{stem}.txt", pose(number))
    color = np.eye(4)
    color[:3, :3] = np.diag([2, 2, 1]) @ INTRINSICS
    depth = np.eye(4)
    depth[:3, :3] = INTRINSICS
    for kind, matrix in (("color", color), ("depth", depth)):
        beside, inside = f"intrinsics_{kind}.txt", f"intrinsic/intrinsic_{kind}.txt"
        write_matrix(folder / (beside if release else inside), matrix)
    return folder


def mark_text_files(folder: Path) -> None:
    """Puts a byte order mark before every text file, as some editors do."""
    for suffix in ("txt", "off", "json"):
        for path in folder.rglob(f"*.{suffix}"):
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
