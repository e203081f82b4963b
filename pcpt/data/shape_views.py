"""Views of single shapes from a ring of cameras: their pictures, and which points they show."""

import hashlib
import json
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from pcpt.choices import check_choice, check_minimum
from pcpt.data.shape_dataset import ShapeDataConfig, Shapes
from pcpt.geometry.camera import Camera
from pcpt.geometry.shade_mesh import render_views
from pcpt.geometry.views import camera_ring, depth_visibility, fitting_intrinsics
from pcpt.ops import hidden_point_removal

VISIBILITIES = ("hidden_points", "depth")
PICTURES = ("auto", "mesh", "depth")
_ROUNDING = 1e-3  # pixels: pictures just hold the ball that shapes lie in
VERSION = 1  # of how pictures are drawn: raised when that changes, so that caches are made anew


@dataclass
class ViewConfig:
    """Cameras around the unit ball, and what is made of them.

    The angles of PointMCD's cameras are not known; these are the even ones.

    Attributes:
        num_views: a multiple of the number of elevations.
        elevations: degrees above the horizon.
        distance: of the cameras from the origin.
        image_size: (H, W) of the pictures.
        pictures: mesh, shaded surfaces; depth, the cloud's depth in grey; auto, mesh where the
            source has meshes.
        radius_pixels: of the squares drawn for the points of a cloud.
        visibility: of points: hidden_points, see ``hidden_point_removal``; or depth, of the cloud's
            own depth pictures, see ``depth_visibility``.
        radius_factor: of hidden_point_removal.
        tolerance: of depth visibility, in units of the shape's radius.
    """

    num_views: int = 12
    elevations: list[float] = field(default_factory=lambda: [30.0, -30.0])
    distance: float = 2.5
    image_size: list[int] = field(default_factory=lambda: [224, 224])
    pictures: str = "auto"
    radius_pixels: int = 3
    visibility: str = "hidden_points"
    radius_factor: float = 100.0
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        check_choice("data.views.visibility", self.visibility, VISIBILITIES)
        check_choice("data.views.pictures", self.pictures, PICTURES)
        check_minimum("data.views.radius_pixels", self.radius_pixels, 0)
        check_minimum("data.views.radius_factor", self.radius_factor, 1)
        check_minimum("data.views.tolerance", self.tolerance, 0)
        if len(self.image_size) != 2 or min(self.image_size) < 8:
            raise ValueError(
                f"data.views.image_size is {list(self.image_size)}, expected [H, W] from 8 up"
            )
        if not self.distance > 1:
            raise ValueError(
                f"data.views.distance is {self.distance}, expected above 1, the radius of shapes"
            )


@dataclass
class ViewedDataConfig(ShapeDataConfig):
    """Shapes and the cameras around them.

    Attributes:
        views: see ``ViewConfig``.
    """

    views: ViewConfig = field(default_factory=ViewConfig)


class ShapeViews:
    """The cameras of a ``ViewConfig`` and what they see of unaugmented shapes.

    Attributes:
        camera_to_world: (V, 4, 4) float64, in the frame of normalised, unaugmented shapes.
        intrinsics: (3, 3) float64, of all of them.
        size: (H, W).
    """

    def __init__(self, config: ViewConfig) -> None:
        """Raises ``ValueError`` for views that do not share the elevations evenly."""
        self.config = config
        self.size = (config.image_size[0], config.image_size[1])
        self.camera_to_world = camera_ring(
            config.num_views, elevations=config.elevations, distance=config.distance
        )
        self.intrinsics = fitting_intrinsics(self.size, config.distance)

    def __len__(self) -> int:
        return len(self.camera_to_world)

    def fingerprint(self) -> str:
        """A hash of cameras and of how pictures are drawn; visibility changes no picture."""
        ignored = ("visibility", "radius_factor", "tolerance")
        options = {key: value for key, value in asdict(self.config).items() if key not in ignored}
        digest = hashlib.sha256(json.dumps([VERSION, options], sort_keys=True).encode())
        for tensor in (self.camera_to_world, self.intrinsics):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def surface(self, shapes: Shapes, name: str) -> tuple[Tensor, Tensor | None]:
        """What is drawn of a shape: the vertices and faces of its mesh, or all its points and None.

        Raises:
            ValueError: ``pictures: mesh`` of a source without meshes, or a damaged mesh.
        """
        kind = self.config.pictures
        if kind == "mesh" or (kind == "auto" and shapes.shape_set.has_meshes):
            return shapes.mesh(name)
        return whole_shape(shapes, name), None

    def pictures(
        self, points: Tensor, faces: Tensor | None, chosen: Tensor | None = None
    ) -> Tensor:
        """(V, 3, H, W) uint8 pictures of a surface; of the ``chosen`` views (int64) alone."""
        cameras = self.camera_to_world if chosen is None else self.camera_to_world[chosen]
        return render_views(
            points,
            faces,
            self.intrinsics.expand(len(cameras), 3, 3),
            cameras,
            self.size,
            radius_pixels=self.config.radius_pixels,
        ).images

    def visible(self, points: Tensor) -> Tensor:
        """(V, N) bool: which points (N, 3) each view shows: not hidden, and in the picture."""
        return self._not_hidden(points) & self.place(points)[1]

    def _not_hidden(self, points: Tensor) -> Tensor:
        config = self.config
        if config.visibility == "hidden_points":
            viewpoints = self.camera_to_world[:, :3, 3].to(points.device)
            return hidden_point_removal(points[None], viewpoints[None], config.radius_factor)[0]
        return depth_visibility(
            points,
            self.intrinsics,
            self.camera_to_world,
            self.size,
            radius_pixels=config.radius_pixels,
            absolute_tolerance=config.tolerance,
        )

    def project(self, points: Tensor) -> Tensor:
        """(V, N, 2) float32 pixels (u, v) of points (N, 3)."""
        return self.place(points)[0]

    def place(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Where the pictures have points (N, 3), hidden or not.

        Returns:
            pixel: (V, N, 2) float32, (u, v).
            inside: (V, N) bool: before the camera and in the picture. Augmented shapes, and those
                that are not normalised, may reach beyond it.
        """
        height, width = self.size
        cameras = [Camera(self.intrinsics, height, width, pose) for pose in self.camera_to_world]
        found = [camera.project(points) for camera in cameras]
        pixel = torch.stack([uv.float() for uv, _ in found])
        z = torch.stack([depth for _, depth in found])
        last = torch.tensor([width, height], device=pixel.device) - 0.5
        within = (pixel > -0.5 - _ROUNDING) & (pixel < last + _ROUNDING)
        return pixel, within.all(2) & (z > 0)


def whole_shape(shapes: Shapes, name: str) -> Tensor:
    """(N, 3) float32: all points of a shape, where unaugmented samples lie."""
    linear, shift = shapes.frame_of(name)
    return (shapes.load(name).points.double() @ linear.T + shift).float()
