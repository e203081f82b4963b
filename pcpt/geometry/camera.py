"""A pinhole camera and how it changes when its image is resized, cropped or mirrored. Frames carry
two of them, one for colour and one for depth."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

# Poses on disk are rounded: measured determinants differ from 1 by 5e-4, never by more than this.
DETERMINANT_TOLERANCE = 2e-2
ORTHONORMALITY_TOLERANCE = 5e-2


@dataclass(frozen=True, eq=False)
class Camera:
    """Pinhole camera with OpenCV axes (x right, y down, z forward), in metres and pixels.

    Pixel (u, v) has its centre at integer coordinates; u is the column. Matrices may be given as
    anything ``torch.as_tensor`` takes and are stored as float64 on the CPU.

    Attributes:
        intrinsics: (3, 3), upper triangular with last row 0 0 1, in pixels of an image of
            ``height`` x ``width``. A negative focal length along u is a mirrored image.
        height: of the image, pixels.
        width: of the image, pixels.
        camera_to_world: (4, 4), maps camera to world points; need not be exactly orthonormal.

    Raises:
        ValueError: a shape, a non-finite value, a focal length or a rotation that cannot be.

    Example:
        >>> camera = Camera([[500, 0, 320], [0, 500, 240], [0, 0, 1]], 480, 640)
        >>> uv, z = camera.project(torch.tensor([[0.0, 0.0, 2.0], [0.4, 0.0, 2.0]]))
        >>> uv.tolist(), z.tolist()
        ([[320.0, 240.0], [420.0, 240.0]], [2.0, 2.0])
    """

    intrinsics: Tensor
    height: int
    width: int
    camera_to_world: Tensor = field(default_factory=lambda: _eye(4))

    def __post_init__(self) -> None:
        for name, size in (("intrinsics", 3), ("camera_to_world", 4)):
            object.__setattr__(self, name, _matrix(getattr(self, name), name, size))
        for name in ("height", "width"):
            value = getattr(self, name)
            if int(value) != value or value < 1:
                raise ValueError(f"camera {name} is {value}, expected a positive number of pixels")
            object.__setattr__(self, name, int(value))
        _check_intrinsics(self.intrinsics)
        _check_pose(self.camera_to_world)

    @property
    def world_to_camera(self) -> Tensor:
        """(4, 4) float64, the inverse of ``camera_to_world``."""
        inverse = torch.linalg.inv(self.camera_to_world)
        inverse[3] = _eye(4)[3]  # exact, whatever the solver rounded
        return inverse

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel coordinates and depth of world points; computed in float64, differentiable.

        Args:
            points: (N, 3) floating point, metres, world frame, any device.

        Returns:
            uv: (N, 2), column and row in pixels, not limited to the image. Only meaningful where
                ``z > 0``: behind the camera it is mirrored, at z = 0 it is not finite.
            z: (N,), metres along the optical axis. Both in the dtype and on the device of points.
        """
        if points.dim() != 2 or points.shape[1] != 3 or not points.is_floating_point():
            raise ValueError(
                f"points are {points.dtype} {tuple(points.shape)}, expected floating (N, 3)"
            )
        device, dtype = points.device, points.dtype
        pose = self.world_to_camera.to(device)
        camera_points = points.double() @ pose[:3, :3].T + pose[:3, 3]
        z = camera_points[:, 2]
        affine = self.intrinsics[:2].to(device)
        uv = (camera_points[:, :2] / z[:, None]) @ affine[:, :2].T + affine[:, 2]
        return uv.to(dtype), z.to(dtype)

    def unproject(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """World points of the measured pixels of a depth image.

        Args:
            depth: (H, W) floating point, z in metres; pixels <= 0 or not finite are skipped.

        Returns:
            points: (M, 3) float32, metres, world frame, row by row through the image.
            pixel_index: (M,) int64, ``row * W + column`` of each point.

        Raises:
            ValueError: depth is not floating point or not of the size of this camera.
        """
        if tuple(depth.shape) != (self.height, self.width) or not depth.is_floating_point():
            raise ValueError(
                f"depth is {depth.dtype} {tuple(depth.shape)}, the camera takes floating point "
                f"{(self.height, self.width)} in metres; use .resized() or .cropped() of the camera"
            )
        flat = depth.reshape(-1)
        pixel_index = torch.nonzero((flat > 0) & torch.isfinite(flat)).squeeze(1)
        row = torch.div(pixel_index, self.width, rounding_mode="floor")
        column = pixel_index - row * self.width
        # The ray of pixel (u, v) is linear in u and v.
        pose = self.camera_to_world.to(depth.device)
        terms = pose[:3, :3] @ torch.linalg.inv(self.intrinsics).to(depth.device)
        rays = row[:, None] * terms[:, 1] + (column[:, None] * terms[:, 0] + terms[:, 2])
        points = rays * flat[pixel_index].double()[:, None] + pose[:3, 3]
        return points.float(), pixel_index

    def resized(self, height: int, width: int) -> "Camera":
        """The camera of the image resampled to ``height`` x ``width`` (half-pixel convention:
        u becomes (u + 0.5) * width' / width - 0.5)."""
        scale_u, scale_v = width / self.width, height / self.height
        return self._changed(
            [[scale_u, 0, 0.5 * scale_u - 0.5], [0, scale_v, 0.5 * scale_v - 0.5], [0, 0, 1]],
            height,
            width,
        )

    def cropped(self, top: int, left: int, height: int, width: int) -> "Camera":
        """The camera of the window whose first pixel is (left, top). The window may reach beyond
        the image, which describes padding."""
        return self._changed([[1, 0, -left], [0, 1, -top], [0, 0, 1]], height, width)

    def flipped(self) -> "Camera":
        """The camera of the image mirrored left to right: u becomes W - 1 - u. The pose stays; the
        focal length along u changes its sign."""
        return self._changed(
            [[-1, 0, self.width - 1], [0, 1, 0], [0, 0, 1]], self.height, self.width
        )

    def _changed(self, pixel_map: list[list[float]], height: int, width: int) -> "Camera":
        intrinsics = torch.tensor(pixel_map, dtype=torch.float64, device="cpu") @ self.intrinsics
        return replace(self, intrinsics=intrinsics, height=height, width=width)


def _eye(size: int) -> Tensor:
    """Where cameras live, whatever the default device."""
    return torch.eye(size, dtype=torch.float64, device="cpu")


def _matrix(value: Tensor, name: str, size: int) -> Tensor:
    matrix = torch.as_tensor(value, device="cpu").detach().to(torch.float64, copy=True)
    if tuple(matrix.shape) != (size, size):
        raise ValueError(f"camera {name} is {tuple(matrix.shape)}, expected {(size, size)}")
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError(f"camera {name} holds inf or nan (tracking lost?): {matrix.tolist()}")
    last_row = [0.0] * (size - 1) + [1.0]
    if matrix[-1].tolist() != last_row:
        raise ValueError(
            f"camera {name} has last row {matrix[-1].tolist()}, expected {last_row}; "
            "is the matrix transposed?"
        )
    return matrix


def _check_intrinsics(intrinsics: Tensor) -> None:
    focal_u, focal_v = float(intrinsics[0, 0]), float(intrinsics[1, 1])
    if focal_u == 0 or focal_v <= 0:
        raise ValueError(
            f"camera intrinsics have focal lengths {focal_u}, {focal_v} pixels; expected u != 0 "
            "(negative: mirrored) and v > 0"
        )
    if float(intrinsics[1, 0]) != 0:
        raise ValueError(
            f"camera intrinsics[1][0] is {float(intrinsics[1, 0])}, expected 0 (upper triangular)"
        )


def _check_pose(camera_to_world: Tensor) -> None:
    rotation = camera_to_world[:3, :3]
    determinant = float(torch.linalg.det(rotation))
    if abs(determinant - 1) > DETERMINANT_TOLERANCE:
        raise ValueError(
            f"camera_to_world has a rotation of determinant {determinant:.4f}, expected 1 within "
            f"{DETERMINANT_TOLERANCE}; a mirrored or scaled pose must be converted first"
        )
    deviation = float((rotation @ rotation.T - _eye(3)).abs().max())
    if deviation > ORTHONORMALITY_TOLERANCE:
        raise ValueError(
            f"camera_to_world has a rotation R with R R^T off the identity by {deviation:.3f}, "
            f"expected at most {ORTHONORMALITY_TOLERANCE}"
        )
