"""Rotations as recordings write them, turned into the one form used here: 4x4 camera_to_world with
OpenCV axes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Quaternions in text files are rounded to four digits or more. One further from unit length than
# this is not a rounded rotation but a damaged or shifted line.
NORM_TOLERANCE = 0.05


def pose_from_quaternion(translation: Sequence[float], quaternion: Sequence[float]) -> Tensor:
    """A pose from a position and a quaternion, which is normalised.

    Args:
        translation: x, y, z in metres.
        quaternion: qx, qy, qz, qw (the real part last).

    Returns:
        (4, 4) float64.

    Raises:
        ValueError: not finite, or a quaternion whose length is not 1 within 0.05.

    Example:
        >>> pose_from_quaternion([0, 0, 2], [0, 0, 1, 0])[:2, :2].tolist()  # half a turn about z
        [[-1.0, 0.0], [0.0, -1.0]]
    """
    norm = math.sqrt(sum(value * value for value in quaternion))
    if not abs(norm - 1) <= NORM_TOLERANCE:
        raise ValueError(
            f"quaternion {[*quaternion]} has length {norm:g}, expected 1; a rotation is written as "
            "qx qy qz qw"
        )
    x, y, z, w = (value / norm for value in quaternion)
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return rigid(torch.tensor(rotation, dtype=torch.float64), translation)


def pose_from_axis_angle(translation: Sequence[float], axis_angle: Sequence[float]) -> Tensor:
    """A rigid motion from a translation and a rotation vector.

    Args:
        translation: x, y, z in metres.
        axis_angle: the axis times the angle in radians.

    Returns:
        (4, 4) float64.

    Raises:
        ValueError: not finite.
    """
    x, y, z = axis_angle
    generator = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    if not bool(torch.isfinite(generator).all()):
        raise ValueError(f"rotation vector {[*axis_angle]} holds inf or nan (tracking lost?)")
    return rigid(torch.linalg.matrix_exp(generator), translation)


def rigid(rotation: Tensor, translation: Sequence[float]) -> Tensor:
    """(4, 4) float64 of a (3, 3) rotation and three numbers; ValueError if one is not finite."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = rotation
    pose[:3, 3] = torch.tensor(list(translation), dtype=torch.float64)
    if not bool(torch.isfinite(pose).all()):
        raise ValueError(f"rotation or position {[*translation]} holds inf or nan (tracking lost?)")
    return pose


def inverse(pose: Tensor) -> Tensor:
    """The inverse of a rigid motion (4, 4), with an exact last row."""
    rotation = pose[:3, :3].T
    return rigid(rotation, (-rotation @ pose[:3, 3]).tolist())


def opengl_to_opencv(camera_to_world: Tensor) -> Tensor:
    """The pose of a camera with OpenGL axes (x right, y up, z backward), as one with OpenCV axes (x
    right, y down, z forward). The world stays: only the camera's own axes are renamed."""
    return camera_to_world @ torch.diag(torch.tensor([1, -1, -1, 1], dtype=torch.float64))
