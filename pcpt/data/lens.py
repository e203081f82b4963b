"""Lens distortion, undone when a frame is loaded: beyond this point every camera is a pinhole."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from pcpt.geometry.camera import Camera

NUM_COEFFICIENTS = {"brown": 5, "fisheye": 4}
RADIAL = {"brown": [0, 1, 4], "fisheye": [0, 1, 2, 3]}  # places of k1, k2, ...
NUM_RADII = 4096  # looked at between the axis and a corner: less than a pixel apart


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
        """The image a pinhole camera would have taken, sampled bilinearly; black beyond the edge
        and where the lens model holds no more.

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
        lie in mid-air. 0 where the image would be black."""
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
        u[self._folded(camera)] = -2  # beyond the edge, even of bilinear sampling
        return cv2.remap(np.ascontiguousarray(pixels), u, v, how, borderValue=0)

    def _folded(self, camera: Camera) -> np.ndarray:
        """(H, W) bool, where a pinhole's pixels lie beyond the radius up to which the polynomial
        increases. No lens turns back: it was fitted within, and beyond shows the scene again."""
        inverse = np.linalg.inv(camera.intrinsics.numpy())
        column, row = np.arange(camera.width), np.arange(camera.height)[:, None]
        x = inverse[0, 0] * column + inverse[0, 1] * row + inverse[0, 2]
        square = x**2 + (inverse[1, 1] * row + inverse[1, 2]) ** 2
        farthest = np.sqrt(square.max())
        fisheye = self.model == "fisheye"  # whose polynomial is of the angle
        radii = np.linspace(0, np.arctan(farthest) if fisheye else farthest, NUM_RADII)
        slope = np.ones(NUM_RADII)  # of r + k1 r^3 + k2 r^5 + ...
        for n, place in enumerate(RADIAL[self.model], start=1):
            slope += (2 * n + 1) * self.coefficients[place] * radii ** (2 * n)
        turned = ~(slope > 0)
        if not turned.any():
            return np.zeros(square.shape, bool)
        limit = radii[turned.argmax()]
        return square >= (np.tan(limit) if fisheye else limit) ** 2
