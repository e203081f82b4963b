"""Correspondence as Concerto prepares it (Zhang et al., "Concerto: Joint 2D-3D Self-Supervised
Learning Emerges Spatial Representations", NeurIPS 2025; arXiv 2510.23607; preprocessing of its
public release): a KD-tree over the whole cloud, made anew for every frame, is asked for the nearest
point of every back-projected pixel. The release renders its depth from the mesh first; that time is
not counted here."""

import numpy as np
from numpy.typing import NDArray

RADIUS = 0.01  # metres, as published


def nearest_points(
    points: NDArray[np.float64],
    depth: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    camera_to_world: NDArray[np.float64],
    radius: float = RADIUS,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The nearest point of every measured pixel of one view, if it is near enough.

    Args:
        points: (N, 3) metres.
        depth: (H, W) metres, 0 for no measurement.
        intrinsics: (3, 3).
        camera_to_world: (4, 4).
        radius: metres; farther points do not count.

    Returns:
        pixel: (M, 2) column and row.
        point_index: (M,).

    Raises:
        ImportError: SciPy is not installed.
    """
    from scipy.spatial import cKDTree

    height, width = depth.shape
    column, row = (axis.ravel() for axis in np.meshgrid(np.arange(width), np.arange(height)))
    z = depth.ravel()
    measured = z > 0
    pixel = np.stack((column[measured], row[measured]), axis=1)
    homogeneous = np.concatenate((pixel, np.ones((len(pixel), 1))), axis=1)
    camera = z[measured, None] * (homogeneous @ np.linalg.inv(intrinsics).T)
    world = camera @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]
    distance, index = cKDTree(points).query(world, k=1)
    near = distance < radius
    return pixel[near], index[near]
