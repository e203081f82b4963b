"""Rays against triangles, by Embree. The only file that knows embreex."""

from dataclasses import dataclass

import numpy as np

HINT = "synthetic rooms need the package embreex: pip install 'pcpt[rooms]'"


@dataclass(frozen=True)
class Hits:
    """Where rays met the surface.

    Attributes:
        triangle: (N,) int32, -1 where a ray met nothing.
        weight: (N, 2) float32, of the triangle's second and third corner.
        distance: (N,) float32 in lengths of the ray's direction: z for directions of z = 1.
    """

    triangle: np.ndarray
    weight: np.ndarray
    distance: np.ndarray


class Caster:
    """A set of triangles to cast rays at.

    Args:
        triangles: (F, 3, 3) corners, metres.

    Raises:
        ValueError: the extra ``rooms`` is not installed.
    """

    def __init__(self, triangles: np.ndarray) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise ValueError(HINT) from error
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(triangles, np.float32))

    def hits(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """The first triangle that each ray (N, 3), (N, 3) meets."""
        found = self._scene.run(_rows(origins), _rows(directions), query="INTERSECT", output=True)
        missed = found["geomID"] < 0
        triangle = np.where(missed, -1, found["primID"]).astype(np.int32)
        return Hits(triangle, np.stack([found["u"], found["v"]], axis=1), found["tfar"])

    def distance(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N,) how far each ray goes, in lengths of its direction; 1e37 when it meets nothing."""
        return self._scene.run(_rows(origins), _rows(directions), query="DISTANCE")

    def blocked(self, origins: np.ndarray, directions: np.ndarray, reach: float) -> np.ndarray:
        """(N,) whether something lies on the first ``reach`` of each direction's length."""
        if not len(origins):
            return np.zeros(0, bool)
        return self.distance(origins, directions) < reach


def _rows(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)
