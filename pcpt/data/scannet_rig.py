"""The two cameras of a ScanNet recording, from the matrices that its files hold."""

import logging
from dataclasses import replace

import torch
from torch import Tensor

from pcpt.data.rig import Rig
from pcpt.geometry.camera import Camera

logger = logging.getLogger(__name__)


def scannet_rig(
    color: Camera,
    depth: Camera,
    extrinsic_color: Tensor,
    extrinsic_depth: Tensor,
    depth_scale: float,
    origin: str,
) -> Rig:
    """Colour and depth camera, the pose of a frame being the depth camera's.

    An extrinsic maps points of its camera to a frame that both share, in practice the colour
    camera's, and ``camera_to_world`` maps depth camera points: so say the comments of sensorData.h
    (github.com/ScanNet/ScanNet) and so computes its saveToPointCloud. In the released recordings
    depth was warped into the colour camera and both matrices are identities; what others hold was
    not checked against a recording, so that a line in the log says when they are applied.

    Args:
        color, depth: both at the origin.
        extrinsic_color, extrinsic_depth: (4, 4).
        depth_scale: units per metre.
        origin: the file, for messages.

    Raises:
        ValueError: extrinsics that are no rotation and translation.
    """
    matrices = {"color": extrinsic_color.double(), "depth": extrinsic_depth.double()}
    for kind, matrix in matrices.items():
        try:
            replace(depth, camera_to_world=matrix)
        except ValueError as error:
            raise ValueError(f"extrinsic_{kind} of {origin}: {error}") from error
    offset = torch.linalg.inv(matrices["depth"]) @ matrices["color"]
    offset[3] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    if not torch.equal(offset, torch.eye(4, dtype=torch.float64)):
        logger.info("%s: extrinsics set the colour camera apart from the depth camera", origin)
    return Rig(replace(color, camera_to_world=offset), depth, depth_scale)
