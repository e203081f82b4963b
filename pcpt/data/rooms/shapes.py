"""Closed shapes out of quads, the one primitive of a room: (Q, 4, 3) corners, counter-clockwise
seen from outside. Metres, z up."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

from collections.abc import Sequence

import numpy as np

Quads = np.ndarray
Point = Sequence[float] | np.ndarray


def signed_volume(quads: Quads) -> float:
    """Volume enclosed by a closed shape, cubic metres; negative when its quads face inwards."""
    a, b, c, d = (quads[:, i] for i in range(4))
    first = np.einsum("ij,ij->i", a, np.cross(b, c))
    second = np.einsum("ij,ij->i", a, np.cross(c, d))
    return float((first.sum() + second.sum()) / 6)


def facing_out(quads: Quads) -> Quads:
    """The same closed shape with all its quads facing outwards."""
    return quads[:, ::-1] if signed_volume(quads - quads.mean((0, 1))) < 0 else quads


def box(low: Sequence[float], high: Sequence[float]) -> Quads:
    """(6, 4, 3): the box between two corners; raises ValueError when it has no volume."""
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise ValueError(f"box from {tuple(low)} to {tuple(high)} has no volume")
    ring = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=float)
    return loft_between(
        np.column_stack([ring, np.zeros(4)]) * (np.subtract(high, low)) + low,
        np.column_stack([ring, np.ones(4)]) * (np.subtract(high, low)) + low,
    )


def loft_between(bottom: np.ndarray, top: np.ndarray) -> Quads:
    """(6, 4, 3): the solid between two quadrilaterals (4, 3) each."""
    sides = [(bottom[i], bottom[(i + 1) % 4], top[(i + 1) % 4], top[i]) for i in range(4)]
    return facing_out(np.array([*sides, bottom[::-1], top]))


def slab(length: float, depth: float, low: float, high: float, taper: float = 0.0) -> Quads:
    """A board of ``length`` along x, centred, from y = 0 to ``depth``; its top is smaller by
    ``taper`` on every side."""
    x, t = length / 2, taper
    bottom = np.array([(-x, 0, low), (x, 0, low), (x, depth, low), (-x, depth, low)])
    top = bottom + [
        (t, t, high - low),
        (-t, t, high - low),
        (-t, -t, high - low),
        (t, -t, high - low),
    ]
    return loft_between(bottom, top)


def loft(rings: np.ndarray) -> Quads:
    """The closed skin through rings (R, M, 3) of equally many corners, M even, flat caps at both
    ends. The rings may turn back inside, which makes bowls and tubs."""
    following = np.roll(rings, -1, axis=1)
    sides = np.stack([rings[:-1], following[:-1], following[1:], rings[1:]], axis=2)
    caps = [_fan(rings[0])[:, ::-1], _fan(rings[-1])]
    return facing_out(np.concatenate([sides.reshape(-1, 4, 3), *caps]))


def _fan(ring: np.ndarray) -> Quads:
    """A flat lid: kites from the ring's centre, each over two of its edges."""
    centre = np.broadcast_to(ring.mean(0), (len(ring) // 2, 3))
    return np.stack([centre, ring[0::2], ring[1::2], np.roll(ring, -2, axis=0)[0::2]], axis=1)


def circle(corners: int, squareness: float = 0.0) -> np.ndarray:
    """(corners, 2) on the unit circle; ``squareness`` from 0 to 1 bulges it towards a square."""
    angle = np.arange(corners) * (2 * np.pi / corners)
    power = 1.0 - 0.75 * squareness
    both = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.sign(both) * np.abs(both) ** power


def turned(
    profile: Sequence[tuple[float, float]],
    corners: int = 12,
    stretch: tuple[float, float] = (1.0, 1.0),
    squareness: float = 0.0,
) -> Quads:
    """A shape turned on a lathe about z: ``profile`` lists (radius, height) from the bottom outside
    up and, for a vessel, down again inside. ``stretch`` makes it oval."""
    ring = circle(corners, squareness) * stretch
    rings = [np.column_stack([ring * radius, np.full(corners, z)]) for radius, z in profile]
    return loft(np.array(rings))


def rod(
    start: Point,
    end: Point,
    radius: float,
    end_radius: float = 0.0,
    corners: int = 8,
) -> Quads:
    """A round bar between two points, conical when ``end_radius`` is given."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    along = (b - a) / np.linalg.norm(b - a)
    helper = np.array([1.0, 0, 0]) if abs(along[2]) > 0.9 else np.array([0, 0, 1.0])
    side = np.cross(along, helper)
    side /= np.linalg.norm(side)
    ring = circle(corners) @ np.stack([side, np.cross(along, side)])
    return loft(np.stack([a + ring * radius, b + ring * (end_radius or radius)]))


def cushion(low: Point, high: Point, squareness: float = 0.7, corners: int = 16) -> Quads:
    """A box with round edges and bulging faces between two corners."""
    half = np.subtract(high, low) / 2
    middle = np.add(high, low) / 2
    angles = np.radians([-78, -52, -24, 0, 24, 52, 78])
    power = 1.0 - 0.6 * squareness
    ring = circle(corners, squareness) * half[:2]
    heights = np.sign(angles) * np.abs(np.sin(angles)) ** power * half[2]
    rings = [
        np.column_stack([ring * np.cos(a) ** (power * 0.6), np.full(corners, z)])
        for a, z in zip(angles, heights, strict=True)
    ]
    return loft(np.array(rings)) + middle


def sheet(grid: np.ndarray, thickness: float) -> Quads:
    """Cloth: the closed skin around a surface (A, B, 3) of points."""
    along, across = np.gradient(grid, axis=0), np.gradient(grid, axis=1)
    normal = np.cross(along, across)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True) + 1e-12
    front, back = grid + normal * thickness / 2, grid - normal * thickness / 2
    rim_front, rim_back = _rim(front), _rim(back)
    sides = np.stack(
        [rim_back, np.roll(rim_back, -1, 0), np.roll(rim_front, -1, 0), rim_front], axis=1
    )
    return facing_out(np.concatenate([_cells(front), _cells(back)[:, ::-1], sides]))


def _cells(grid: np.ndarray) -> Quads:
    quads = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=2)
    return quads.reshape(-1, 4, 3)


def _rim(grid: np.ndarray) -> np.ndarray:
    """The border of a grid of points, in the order in which ``_cells`` turns."""
    return np.concatenate([grid[:-1, 0], grid[-1, :-1], grid[:0:-1, -1], grid[0, :0:-1]])


def rotated(
    quads: Quads, angle: float, about: Sequence[float] = (0.0, 0.0, 0.0), axis: int = 2
) -> Quads:
    """Turned by ``angle`` radians about an axis (0, 1, 2 for x, y, z) through a point."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return (quads - np.asarray(about)) @ matrix.T + np.asarray(about)


def mirrored(quads: Quads) -> Quads:
    """Left and right exchanged (x becomes -x), still facing outwards."""
    return (quads * [-1.0, 1.0, 1.0])[:, ::-1]
