"""Hidden point removal (Katz, Tal and Basri, 2007) with SciPy's convex hulls, one a cloud and
viewpoint: what Open3D does, too."""

import numpy as np
import torch
from scipy.spatial import ConvexHull
from torch import Tensor


def hull_visibility(points: Tensor, viewpoints: Tensor, radius_factor: float) -> Tensor:
    """(B, V, N) bool; arguments as ``pcpt.ops.hidden_point_removal``."""
    clouds, eyes = points.double().numpy(), viewpoints.double().numpy()
    visible = np.zeros((len(clouds), eyes.shape[1], clouds.shape[1]), dtype=bool)
    for cloud, of_cloud, row in zip(clouds, eyes, visible, strict=True):
        for eye, out in zip(of_cloud, row, strict=True):
            ray = cloud - eye
            distance = np.linalg.norm(ray, axis=1, keepdims=True)
            radius = radius_factor * distance.max()
            flipped = ray + 2 * (radius - distance) * ray / distance
            corners = ConvexHull(np.vstack((flipped, np.zeros((1, 3))))).vertices
            out[corners[corners < len(cloud)]] = True
    return torch.from_numpy(visible)
