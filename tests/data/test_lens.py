"""Undistortion against OpenCV's own forward model: a point is found where a pinhole puts it."""

import cv2
import numpy as np
import pytest
import torch

from pcpt.data.lens import Lens
from pcpt.geometry.camera import Camera

MATRIX = np.array([[60.0, 0, 47.5], [0, 62.0, 35.5], [0, 0, 1]])
CAMERA = Camera(torch.tensor(MATRIX), 72, 96)
LENSES = {
    "brown": Lens("brown", (0.2, -0.3, 0.004, -0.006, 0.1)),
    "fisheye": Lens("fisheye", (0.1, -0.05, 0.02, -0.01)),
}


def distort(lens: Lens, points: np.ndarray) -> np.ndarray:
    """Pixels (N, 2) at which the real lens shows points (N, 3)."""
    coefficients = np.array(lens.coefficients)
    zero = np.zeros(3)
    if lens.model == "fisheye":
        return cv2.fisheye.projectPoints(points[None], zero, zero, MATRIX, coefficients)[0][0]
    return cv2.projectPoints(points, zero, zero, MATRIX, coefficients)[0][:, 0]


@pytest.mark.parametrize("model", LENSES)
def test_a_dot_lands_where_the_pinhole_puts_it(model: str) -> None:
    lens = LENSES[model]
    for point in ([0.0, 0.0, 2.0], [0.5, 0.2, 2.0], [-0.8, 0.6, 2.0], [0.9, -0.5, 2.0]):
        u, v = distort(lens, np.array([point]))[0]
        yy, xx = np.mgrid[:72, :96]
        blob = 255 * np.exp(-((xx - u) ** 2 + (yy - v) ** 2) / 8)
        image = torch.from_numpy(np.repeat(blob[None], 3, 0).astype(np.uint8))
        out = lens.undistort_color(image, CAMERA)[1].numpy().astype(float)
        out[out < 40] = 0
        found = (out * xx).sum() / out.sum(), (out * yy).sum() / out.sum()
        wanted = CAMERA.project(torch.tensor([point]))[0][0]
        assert np.allclose(found, wanted, atol=0.35), (point, found, wanted)


@pytest.mark.parametrize("model", LENSES)
def test_depth_is_never_mixed(model: str) -> None:
    depth = torch.where(torch.arange(96) < 48, 1.0, 3.0).expand(72, 96).clone()
    out = LENSES[model].undistort_depth(depth, CAMERA)
    assert out.shape == depth.shape and out.dtype == torch.float32
    assert set(out.unique().tolist()) <= {0.0, 1.0, 3.0}


@pytest.mark.parametrize("model", LENSES)
def test_beyond_the_turning_point_there_is_nothing(model: str) -> None:
    """r + k1 r^3 turns back at sqrt(-1 / (3 k1)): what is further out would be seen twice."""
    lens = Lens(model, (-0.9, 0, 0, 0, 0)[: len(LENSES[model].coefficients)])
    yy, xx = np.mgrid[:72, :96]
    radius = np.hypot((xx - 47.5) / 60, (yy - 35.5) / 62)
    radius = np.arctan(radius) if model == "fisheye" else radius
    beyond = radius - np.sqrt(1 / 2.7)
    color = lens.undistort_color(torch.full((3, 72, 96), 255, dtype=torch.uint8), CAMERA).numpy()
    depth = lens.undistort_depth(torch.ones(72, 96), CAMERA).numpy()
    assert (color[:, beyond < -0.02] == 255).all() and (depth[beyond < -0.02] == 1).all()
    assert (beyond > 0.02).any()
    assert not color[:, beyond > 0.02].any() and not depth[beyond > 0.02].any()


def test_refusals() -> None:
    for model, coefficients in (
        ("pinhole", ()),
        ("brown", (1.0, 2.0)),
        ("fisheye", (0.0, 0.0, 0.0, float("nan"))),
    ):
        with pytest.raises(ValueError, match="lens"):
            Lens(model, coefficients)
