"""The mesh of a room as fusing its frames would give it: vertices on the surfaces that some frame
measured, with the frames' mean depth error and mean colour. Labels stay exact."""

from dataclasses import dataclass

import numpy as np

from pcpt.data.rooms.linear import times
from pcpt.data.rooms.scene import Scene, blend, flat_normals, lattice
from pcpt.geometry.camera import Camera


@dataclass(frozen=True)
class FusedMesh:
    """A labelled mesh.

    Attributes:
        points: (N, 3) float64, metres, the room's axes.
        colors: (N, 3) uint8.
        faces: (F, 3) int64.
        instance: (N,) int64, index of the thing.
        segment: (N,) int64, an over-segmentation; each lies within one thing.
    """

    points: np.ndarray
    colors: np.ndarray
    faces: np.ndarray
    instance: np.ndarray
    segment: np.ndarray


@dataclass(frozen=True)
class Truth:
    """What a depth camera sees: ``depth`` (h, w) float32, metres, and ``instance`` (h, w) int16,
    index of the thing or -1."""

    depth: np.ndarray
    instance: np.ndarray


class Fusion:
    """Gathers what frames measure at the vertices of a room.

    Args:
        scene: the room.
        seen: (Q,) bool, quads that some ray met; the others are left out.
        spacing: metres between neighbouring vertices, about.
    """

    def __init__(self, scene: Scene, seen: np.ndarray, spacing: float) -> None:
        wanted = np.flatnonzero(seen)
        corners = scene.corners[wanted]
        quad, place, cells = lattice(corners, 0.75 * spacing)
        points = blend(corners, quad, place)
        owner = scene.instance[wanted][quad].astype(np.int64)
        cell = np.floor(points / spacing).astype(np.int64) + (1 << 12)
        key = ((owner << 13 | cell[:, 0]) << 13 | cell[:, 1]) << 13 | cell[:, 2]
        _, first, group = np.unique(key, return_index=True, return_inverse=True)
        counts = np.bincount(group)
        self.points = np.stack(
            [np.bincount(group, points[:, i]) / counts for i in range(3)], axis=1
        )
        self.instance = owner[first]
        self.faces = self._triangles(group[cells])
        self._part = scene.part[wanted][quad[first]].astype(np.int64)
        normal = flat_normals(corners)[quad[first]]
        axis = np.abs(normal).argmax(1)
        self._side = 2 * axis + (np.take_along_axis(normal, axis[:, None], 1)[:, 0] > 0)
        self._local = self.points.astype(np.float32)
        self._weight = np.zeros(len(first), np.float32)
        self._shift = np.zeros((len(first), 3), np.float32)
        self._color = np.zeros((len(first), 3), np.float32)

    @staticmethod
    def _triangles(cells: np.ndarray) -> np.ndarray:
        faces = cells[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
        a, b, c = faces.T
        return faces[(a != b) & (b != c) & (a != c)]

    def add(
        self,
        camera: Camera,
        truth: Truth,
        millimetres: np.ndarray,
        color_camera: Camera,
        image: np.ndarray,
    ) -> None:
        """One frame.

        Args:
            camera: of depth, in the room's axes.
            truth: of that camera.
            millimetres: (h, w) uint16 as measured.
            color_camera: at the same place.
            image: (H, W, 3) uint8.
        """
        pose = camera.camera_to_world.numpy().astype(np.float32)
        local = times(self._local - pose[:3, 3], pose[:3, :3].T)
        z = local[:, 2]
        index = np.flatnonzero((z > 0.3) & (np.abs(local[:, 0]) < z) & (np.abs(local[:, 1]) < z))
        local, z = local[index], z[index]
        column, row, inside = _pixels(camera, local)
        index, local, z, column, row = (a[inside] for a in (index, local, z, column, row))
        exact = truth.depth[row, column]
        measured = millimetres[row, column].astype(np.float32) / 1000
        seen = (
            (truth.instance[row, column] == self.instance[index])
            & (measured > 0)
            & (np.abs(exact - z) < 0.02 + 0.02 * z)
        )
        index, local, z = index[seen], local[seen], z[seen]
        error = (measured - exact)[seen]
        weight = 1 / (0.2 + z * z)
        self._weight[index] += weight
        self._shift[index] += (weight * error / z)[:, None] * times(local, pose[:3, :3])
        column, row, _ = _pixels(color_camera, local)
        column, row = (
            np.clip(column, 0, color_camera.width - 1),
            np.clip(row, 0, color_camera.height - 1),
        )
        self._color[index] += weight[:, None] * image[row, column]

    def finish(self) -> FusedMesh:
        """The vertices that some frame measured.

        Raises:
            ValueError: there are none.
        """
        kept = self._weight > 0
        if not kept.any():
            raise ValueError("no frame measured anything of the room; use more frames")
        weight = self._weight[kept][:, None]
        renumber = np.cumsum(kept) - 1
        points = self.points[kept] + np.clip(self._shift[kept] / weight, -0.04, 0.04)
        block = np.floor(self.points[kept] / 0.8).astype(np.int64) + 64
        key = (((self.instance[kept] << 20 | self._part[kept]) * 6 + self._side[kept]) << 21) + (
            (block[:, 0] << 14) | (block[:, 1] << 7) | block[:, 2]
        )
        _, segment = np.unique(key, return_inverse=True)
        return FusedMesh(
            points=points,
            colors=np.clip(np.round(self._color[kept] / weight), 0, 255).astype(np.uint8),
            faces=renumber[self.faces[kept[self.faces].all(1)]],
            instance=self.instance[kept],
            segment=segment,
        )


def _pixels(camera: Camera, local: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column, row and whether they lie in the image, of points (N, 3) in camera axes."""
    (fu, skew, cu), (_, fv, cv), _ = camera.intrinsics.tolist()
    x, y = local[:, 0] / local[:, 2], local[:, 1] / local[:, 2]
    column = np.floor(fu * x + skew * y + (cu + 0.5)).astype(np.int32)
    row = np.floor(fv * y + (cv + 0.5)).astype(np.int32)
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    return column, row, inside
