"""Lens distortion, undone when a frame is loaded: beyond this point every camera is a pinhole."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from pcpt.geometry.camera import Camera

NUM_COEFFICIENTS = {"brown": 5, "fisheye": 4}


@dataclass(frozen=True)
class Lens:
    """Distortion in OpenCV's models and order of coefficients.

    Attributes:
        model: ``brown`` (k1, k2, p1, p2, k3: radial and tangential; Brown 1966) or ``fisheye``
            (k1, k2, k3, k4: polynomial in the angle; Kannala and Brandt 2006).
        coefficients: the numbers of that model.

    Raises:
        ValueError: unknown model, or a wrong number of coefficients or one that is not finite.
    """

    model: str
    coefficients: Sequence[float]

    def __post_init__(self) -> None:
        if self.model not in NUM_COEFFICIENTS:
            raise ValueError(f"lens model is {self.model!r}, expected one of {[*NUM_COEFFICIENTS]}")
        count = NUM_COEFFICIENTS[self.model]
        values = np.asarray(self.coefficients, dtype=np.float64)
        if values.shape != (count,) or not np.isfinite(values).all():
            raise ValueError(
                f"lens coefficients are {[*self.coefficients]}, expected {count} finite numbers"
            )

    def undistort_color(self, image: Tensor, camera: Camera) -> Tensor:
        """The image a pinhole camera would have taken, sampled bilinearly; black beyond the edge.

        Args:
            image: (3, H, W) uint8.
            camera: its camera; the intrinsics hold before and after.

        Returns:
            (3, H, W) uint8.
        """
        pixels = self._sample(image.permute(1, 2, 0).numpy(), camera, cv2.INTER_LINEAR)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    def undistort_depth(self, depth: Tensor, camera: Camera) -> Tensor:
        """Likewise for depth (H, W) float32, from the nearest pixel: a mean across an edge would
        lie in mid-air. 0 beyond the edge."""
        return torch.from_numpy(self._sample(depth.numpy(), camera, cv2.INTER_NEAREST))

    def _sample(self, pixels: np.ndarray, camera: Camera, how: int) -> np.ndarray:
        matrix = camera.intrinsics.numpy()
        size = (camera.width, camera.height)
        coefficients = np.asarray(self.coefficients, dtype=np.float64)
        make = (
            cv2.fisheye.initUndistortRectifyMap
            if self.model == "fisheye"
            else cv2.initUndistortRectifyMap
        )
        u, v = make(matrix, coefficients, np.eye(3), matrix, size, cv2.CV_32FC1)
        return cv2.remap(np.ascontiguousarray(pixels), u, v, how, borderValue=0)
