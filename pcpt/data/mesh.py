"""What follows from a triangle mesh."""

import numpy as np


def vertex_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals of the vertices: the mean over their triangles, weighted by area.

    Args:
        points: (N, 3) floating point.
        faces: (F, 3) whole numbers, counter-clockwise seen from outside.

    Returns:
        (N, 3) float32; zeros where a vertex has no triangle, or only degenerate ones.
    """
    corners = points[faces].astype(np.float64)
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.empty((len(points), 3))
    index = faces.ravel()
    for axis in range(3):
        weights = np.repeat(doubled[:, axis], 3)
        total[:, axis] = np.bincount(index, weights, minlength=len(points))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0).astype(np.float32)
