"""Small matrices times many points, without BLAS: its threads would spin against each other in
parallel runs, and how it splits sums is its own affair."""

import numpy as np


def times(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """``points @ matrix.T`` for points (N, 3) and a matrix (3, 3), in the dtype of the points."""
    m = matrix.astype(points.dtype)
    x, y, z = (np.ascontiguousarray(points[:, i]) for i in range(3))
    result = np.empty((len(points), 3), points.dtype)
    for row in range(3):
        result[:, row] = x * m[row, 0] + y * m[row, 1] + z * m[row, 2]
    return result
