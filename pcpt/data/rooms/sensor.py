"""What a colour and a depth camera make of a perfect view.

Depth follows structured light as measured on Kinects (Khoshelham and Elberink, Sensors 2012;
Nguyen, Izadi and Lovell, 3DIM 2012): noise along the axis grows with the square of z, z comes in
steps of disparity, and nothing is measured at edges, on dark or grazing surfaces, and out of range.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pcpt.data.rooms.render import View

NEAR, FAR = 0.4, 7.0
# 1/8 pixel of disparity for a focal length of 580 pixels and a baseline of 75 mm
DISPARITY = 580 * 0.075 * 8


@dataclass
class ColorCamera:
    """A colour camera's settings during one scan; exposure follows the scene.

    Attributes:
        gains: (3,) white balance.
        bias: factor of the exposure.
        vignette: darkening at the corners, a share.
        noise: deviation at mid-grey, in 1/255.
        exposure: of the frame before, or 0.
        usual: slow mean of the exposure, which it keeps to within a factor of two.
    """

    gains: np.ndarray
    bias: float
    vignette: float
    noise: float
    exposure: float = 0.0
    usual: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "ColorCamera":
        """A camera for one scan."""
        warm = rng.normal(0, 0.06)
        gains = np.array([1 + warm, 1 + rng.normal(0, 0.02), 1 - warm], np.float32)
        return cls(
            gains,
            float(rng.uniform(0.8, 1.3)),
            float(rng.uniform(0.1, 0.35)),
            float(rng.uniform(1.0, 3.5)),
        )

    def shoot(self, rng: np.random.Generator, radiance: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a linear picture (H, W, 3)."""
        height, width = radiance.shape[:2]
        wanted = 0.36 / max(float(radiance[::4, ::4].mean()), 1e-3)
        if self.exposure == 0:
            self.exposure = self.usual = wanted
        self.usual = 0.92 * self.usual + 0.08 * wanted
        wanted = min(max(wanted, 0.6 * self.usual), 1.7 * self.usual)
        self.exposure = 0.6 * self.exposure + 0.4 * wanted
        v = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
        u = np.linspace(-1, 1, width, dtype=np.float32)[None] ** 2
        fall = (self.exposure * self.bias) * (1 - self.vignette * 0.5 * (u + v))
        light = radiance * (fall[..., None] * self.gains)
        bright = cv2.sqrt(np.clip(1.24 * (1 - np.exp(-1.35 * light)), 0, 1).astype(np.float32))
        blurred = cv2.GaussianBlur(bright, (3, 3), 0.55)
        grain = rng.standard_normal((height, width, 3), np.float32) * np.float32(self.noise / 255)
        return (np.clip(blurred + grain, 0, 1) * 255 + 0.5).astype(np.uint8)


def measure_depth(rng: np.random.Generator, view: View) -> np.ndarray:
    """(H, W) uint16 millimetres, 0 = not measured, of a perfect view."""
    z = view.depth
    shape = z.shape
    noise = rng.standard_normal((2, *shape), np.float32)
    # neighbouring pixels share a correlation window: half of the noise is common
    noise = 0.6 * noise[0] + 2.2 * cv2.GaussianBlur(noise[1], (5, 5), 1.2)
    sigma = 0.0008 + 0.0011 * np.square(np.maximum(z - 0.4, 0))
    sigma = sigma * (1 + 0.6 * np.square(1 - view.grazing))
    noisy = np.maximum(z + noise * sigma, 0.05)
    steps = np.round(DISPARITY / noisy)
    millimetres = np.round(1000 * DISPARITY / np.maximum(steps, 1))
    lost = _edges(rng, z)
    # failures come in patches more than in dots
    field = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 4.0) * 12.0
    field += 0.7 * cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (5, 5), 1.0) * 3.0
    chance = 1 / (1 + np.exp(-1.4 * field))
    lost |= view.loss > chance
    lost |= chance > (view.grazing - 0.06) * 9
    lost |= chance < (view.darkness - 0.955) * 14
    lost |= (z < NEAR) | (z > FAR) | (chance < np.power(z / FAR, 3) * 0.5)
    return np.where(lost, 0, np.minimum(millimetres, 65534)).astype(np.uint16)


def _edges(rng: np.random.Generator, z: np.ndarray) -> np.ndarray:
    """Where nothing is measured beside a jump in depth: ragged, and wider on the side that the
    projector, to the right of the camera, does not reach."""
    kernel = np.ones((3, 3), np.uint8)
    jump = cv2.dilate(z, kernel) - cv2.erode(z, kernel) > 0.04 + 0.03 * z
    ragged = rng.random(z.shape, np.float32) < 0.75
    shadow = np.zeros_like(jump)
    step = z[:, 1:] - z[:, :-1] > 0.12  # the background begins to the right of a near thing
    shadow[:, 1:] |= step
    shadow[:, 2:] |= step[:, :-1]
    return (jump & ragged) | shadow
