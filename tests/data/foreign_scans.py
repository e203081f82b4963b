"""Tiny recordings in formats of others, written from their documentation with OpenCV, numpy, scipy
and json: none of the package's own code."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from tests.data.tiny_scans import HEIGHT, INTRINSICS, WIDTH, pose, write_color, write_depth

FX, FY, CX, CY = INTRINSICS[0, 0], INTRINSICS[1, 1], INTRINSICS[0, 2], INTRINSICS[1, 2]


def write_tum(folder: Path, num_frames: int = 4) -> Path:
    """Colour at 30 Hz, depth 7 ms later, poses at 100 Hz; extended comments at the head."""
    rgb = ["# color images", "# file: 'rgbd_dataset_test.bag'", "# timestamp filename"]
    depth = ["# depth maps", "#   an indented remark, # again", "# timestamp filename"]
    truth = ["# ground truth trajectory", "# timestamp tx ty tz qx qy qz qw", ""]
    for index in range(num_frames):
        time = 1305031102.175304 + index / 30
        write_color(folder / f"rgb/{time:.6f}.png", seed=index)
        write_depth(folder / f"depth/{time + 0.007:.6f}.png", seed=index)
        rgb.append(f"{time:.6f} rgb/{time:.6f}.png")
        depth.append(f"{time + 0.007:.6f} depth/{time + 0.007:.6f}.png")
        for step, far in ((0.0, 0.0), (0.01, 9.0), (0.02, 9.0)):
            matrix = pose(index)
            x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
            a, b, c = matrix[:3, 3] + far
            truth.append(
                f"{time + 0.001 + step:.4f} {a:.6f} {b} {c} {x:.7f} {y:.7f} {z:.7f} {w:.7f}"
            )
    for name, lines in (("rgb", rgb), ("depth", depth), ("groundtruth", truth)):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def transforms_json(num_frames: int = 3) -> dict[str, Any]:
    """A transforms.json as nerfstudio writes it: OpenGL cameras, the first pixel centred at 0.5."""
    frames = []
    for index in range(num_frames):
        opengl = pose(index)
        opengl[:, 1] *= -1  # the camera's own y and z axes point the other way
        opengl[:, 2] *= -1
        frames.append(
            {
                "file_path": f"./images/frame_{9 + index}.png",
                "depth_file_path": f"./depths/frame_{9 + index}.png",
                "transform_matrix": opengl.tolist(),
            }
        )
    head: dict[str, Any] = {"fl_x": FX, "fl_y": FY, "cx": CX + 0.5, "cy": CY + 0.5}
    head.update({"w": WIDTH, "h": HEIGHT, "camera_model": "OPENCV"})
    return {**head, "frames": frames}


def write_transforms(folder: Path, description: dict[str, Any] | None = None) -> Path:
    """Three frames, numbered 9, 10 and 11; ``description`` replaces the transforms.json."""
    for index in range(3):
        write_color(folder / "images" / f"frame_{9 + index}.png", seed=index)
        write_depth(folder / "depths" / f"frame_{9 + index}.png", seed=index)
    (folder / "transforms.json").write_text(json.dumps(description or transforms_json()))
    return folder


def redwood_item(index: int, number: int) -> str:
    """Five lines of a log, separated as redwood-data.org shows them."""
    rows = "\n".join("\t".join(f"{value:.10f}" for value in row) for row in pose(index))
    return f"{index}\t{index}\t{number}\n{rows}\n"


def write_redwood(folder: Path, num_frames: int = 3, size: tuple[int, int] = (480, 640)) -> Path:
    """Colour and depth of one camera of PrimeSense, named by index and microseconds."""
    for index in range(num_frames):
        time = 33333 * index
        write_color(folder / f"rgb/{index + 1:07d}-{time:012d}.jpg", *size, seed=index)
        write_depth(folder / f"depth/{index + 1:07d}-{time + 4000:012d}.png", *size, seed=index)
    log = "".join(redwood_item(index, index + 1) for index in range(num_frames))
    (folder / "trajectory.log").write_text(log)
    return folder


def write_open3d_intrinsics(path: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    """PinholeCameraIntrinsic as Open3D writes it: the matrix column by column."""
    matrix = [FX, 0.0, 0.0, 0.0, FY, 0.0, CX, CY, 1.0]
    path.write_text(json.dumps({"width": width, "height": height, "intrinsic_matrix": matrix}))


def write_arkitscenes(folder: Path, num_frames: int = 3, focal_step: float = 0.25) -> Path:
    """A scan with its own focal length in each frame; lines hold world-to-camera."""
    video = folder.name.removesuffix("_frames")
    lines = []
    for index in range(num_frames):
        time = 6845.706 + 0.1 * index
        stem = f"{video}_{time:.3f}"
        write_color(folder / "lowres_wide" / f"{stem}.png", seed=index)
        write_depth(folder / "lowres_depth" / f"{stem}.png", seed=index)
        # the published loader knows names that are one millisecond off
        pincam = (
            folder / "lowres_wide_intrinsics" / f"{video}_{time + 0.001 * (index % 2):.3f}.pincam"
        )
        pincam.parent.mkdir(exist_ok=True)
        pincam.write_text(f"{WIDTH} {HEIGHT} {FX + focal_step * index} {FY} {CX} {CY}")
        world_to_camera = np.linalg.inv(pose(index))
        vector = cv2.Rodrigues(world_to_camera[:3, :3])[0].ravel()
        numbers = [*vector, *world_to_camera[:3, 3]]
        lines.append(f"{time + 0.0004:.8f} " + " ".join(f"{value:.10f}" for value in numbers))
    (folder / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    return folder


def write_sunrgbd(folder: Path, tilt: float = -0.3, objects: Any = None) -> np.ndarray:
    """One image of SUN RGB-D, depth a plane at 2 m; returns its tilt (3, 3).

    The tilt turns the camera, which looks down a little, to level: y stays down.
    """
    write_color(folder / "image" / "0000103.jpg")
    millimetres = np.full((HEIGHT, WIDTH), 2000, np.uint16)
    millimetres[0, :3] = [0, 9000, 8191]
    stored = (millimetres << 3) | (millimetres >> 13)  # rotated left: the reader rotates right
    for kind in ("depth", "depth_bfx"):
        (folder / kind).mkdir(parents=True)
        cv2.imwrite(str(folder / kind / "0000103.png"), stored)
    # counted from 1, as Matlab counts
    np.savetxt(folder / "intrinsics.txt", INTRINSICS + np.array([[0, 0, 1], [0, 0, 1], [0] * 3]))
    rotation = Rotation.from_rotvec([tilt, 0, 0]).as_matrix()
    (folder / "extrinsics").mkdir()
    for name, matrix in (("20140101", np.eye(3)), ("20150101", rotation)):  # the last one counts
        text = np.hstack([matrix, np.zeros((3, 1))])
        np.savetxt(folder / "extrinsics" / f"{name}000000.txt", text)
    (folder / "annotation3Dfinal").mkdir()
    index = {"date": "", "objects": objects if objects is not None else []}
    (folder / "annotation3Dfinal" / "index.json").write_text(json.dumps(index))
    return rotation


def sunrgbd_object(
    name: str, center: tuple[float, float, float], size: tuple[float, float, float], yaw: float
) -> dict[str, Any]:
    """A box with z up as the annotation tool keeps it: corners (X, Z) and heights with y down.

    ``size`` is along the heading, across it, and up; the first side of the footprint is the one
    that the heading points to.
    """
    along = np.array([np.cos(yaw), np.sin(yaw)])
    across = np.array([-np.sin(yaw), np.cos(yaw)])
    corners = [
        np.array(center[:2]) + sx * size[0] / 2 * along + sy * size[1] / 2 * across
        for sx, sy in ((1, -1), (1, 1), (-1, 1), (-1, -1))
    ]
    polygon = {
        "X": [float(corner[0]) for corner in corners],
        "Z": [float(corner[1]) for corner in corners],
        "Ymin": -(center[2] + size[2] / 2),
        "Ymax": -(center[2] - size[2] / 2),
        "rectangle": 1,
    }
    return {"name": name, "polygon": [polygon]}


def write_s3dis(
    folder: Path, room: str = "Area_5/hallway_6", seed: int = 0
) -> dict[str, np.ndarray]:
    """A room of three instances; the ceiling holds the known zero byte. Points by file name."""
    random = np.random.default_rng(seed)
    clouds = {}
    for name, count in (("ceiling_1", 40), ("chair_2", 25), ("stairs_1", 10)):
        xyz = random.uniform(-9, 9, (count, 3)).round(3)
        clouds[name] = np.hstack([xyz, random.integers(0, 256, (count, 3))])
        lines = [
            f"{x:.3f} {y:.3f} {z:.3f} {r:.0f} {g:.0f} {b:.0f}" for x, y, z, r, g, b in clouds[name]
        ]
        text = "\n".join(lines).encode()
        if name == "ceiling_1":
            head, _, tail = text.rpartition(b" ")
            text = head + b"\0" + tail  # between the last two colours of the last line
        path = folder / room / "Annotations" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text + b"\n")
    return clouds
