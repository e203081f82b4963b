"""Correspondence as OpenScene computes it (Peng et al., "OpenScene: 3D Scene Understanding with
Open Vocabularies", CVPR 2023; arXiv 2211.15654; preprocessing of its public release): each view by
itself, all points projected in float64 by NumPy, a depth test relative to the measured depth."""

import numpy as np
from numpy.typing import NDArray

VISIBILITY_THRESHOLD = 0.25  # of the measured depth, as published


def project_view(
    points: NDArray[np.float64],
    depth: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    camera_to_world: NDArray[np.float64],
    threshold: float = VISIBILITY_THRESHOLD,
) -> NDArray[np.int64]:
    """Row, column and visibility of every point in one view.

    Args:
        points: (N, 3) metres.
        depth: (H, W) metres, 0 for no measurement.
        intrinsics: (3, 3).
        camera_to_world: (4, 4).
        threshold: largest ``|z - depth| / depth`` of a visible point.

    Returns:
        (N, 3): row, column and 1 where visible, all 0 elsewhere.
    """
    height, width = depth.shape
    homogeneous = np.concatenate((points, np.ones((len(points), 1))), axis=1)
    camera = np.linalg.inv(camera_to_world) @ homogeneous.T
    z = camera[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        uv = camera[:2] / z * intrinsics[[0, 1], [0, 1]][:, None] + intrinsics[:2, 2][:, None]
        column, row = np.nan_to_num(uv, nan=-1.0, posinf=-1.0, neginf=-1.0).round().astype(np.int64)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    measured = depth[row[inside], column[inside]]
    inside[inside] = np.abs(measured - z[inside]) <= threshold * measured
    mapping = np.zeros((len(points), 3), dtype=np.int64)
    mapping[inside, 0] = row[inside]
    mapping[inside, 1] = column[inside]
    mapping[inside, 2] = 1
    return mapping
