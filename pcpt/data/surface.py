"""Points on triangle meshes."""

import hashlib

import numpy as np

CHUNK = 1 << 20  # faces whose corners are gathered at once


def seeded(*key: object) -> np.random.RandomState:
    """A stream of random numbers that is a function of the key alone, on every machine and with
    every NumPy: RandomState is the one that NumPy promises never to change."""
    digest = hashlib.sha256(" ".join(map(str, key)).encode()).digest()
    return np.random.RandomState(np.frombuffer(digest, "<u4"))


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions and sizes of triangles.

    Args:
        vertices: (V, 3) floating.
        faces: (F, 3) whole numbers, counter-clockwise seen from outside.

    Returns:
        normals: (F, 3) float64, unit length; zero for a triangle without area.
        areas: (F,) float64.
    """
    normals = np.empty((len(faces), 3))
    for start in range(0, len(faces), CHUNK):
        a, b, c = (vertices[faces[start : start + CHUNK, i]].astype(np.float64) for i in range(3))
        normals[start : start + CHUNK] = np.cross(b - a, c - a)
    doubled = np.linalg.norm(normals, axis=1)
    normals /= np.where(doubled > 0, doubled, 1)[:, None]
    return normals, doubled / 2


def sample_surface(
    vertices: np.ndarray, faces: np.ndarray, count: int, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points spread evenly over the surface of a mesh: triangles drawn by area, places in them
    evenly.

    Args:
        vertices: (V, 3) floating, finite.
        faces: (F, 3) whole numbers.
        count: of points.
        random: stream to draw from.

    Returns:
        points: (count, 3) float32.
        normals: (count, 3) float32, those of the triangles.
        face_index: (count,) int64, the triangle of each point.

    Raises:
        ValueError: a mesh without area.
    """
    normals, areas = face_normals(vertices, faces)
    total = np.cumsum(areas)
    if not len(total) or not 0 < total[-1] < np.inf:
        area = total[-1] if len(total) else 0.0
        raise ValueError(f"a mesh of {len(faces)} triangles has the area {area}, expected above 0")
    drawn = random.random_sample((count, 3))
    index = np.searchsorted(total, drawn[:, 0] * total[-1], side="right")
    # rounding may draw just behind the last triangle, and one without area has no width there
    index = np.minimum(index, int(np.flatnonzero(areas)[-1]))
    root, along = np.sqrt(drawn[:, 1]), drawn[:, 2]
    weights = np.stack([1 - root, root * (1 - along), root * along], axis=1)
    corners = vertices[faces[index]].astype(np.float64)
    points = np.einsum("nk,nkd->nd", weights, corners)
    return points.astype(np.float32), normals[index].astype(np.float32), index.astype(np.int64)
