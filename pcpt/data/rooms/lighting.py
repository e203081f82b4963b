"""Light, worked out once a room at points about ten centimetres apart: lamps and windows with
shadows, and a sky-like ambient light darkened in corners and under furniture."""

from dataclasses import dataclass

import numpy as np

from pcpt.data.rooms.raycast import Caster
from pcpt.data.rooms.scene import Scene

OPEN_AIR = 1.3  # metres beyond which something in the way no longer darkens a corner


@dataclass(frozen=True)
class Lamp:
    """A light of several points, so that its shadows are soft.

    Attributes:
        points: (P, 3) metres.
        color: (3,) linear power.
        facing: (3,) unit direction into which it shines most, or zeros: into all.
    """

    points: np.ndarray
    color: np.ndarray
    facing: np.ndarray


def place_lamps(
    rng: np.random.Generator, scene: Scene, size: tuple[float, float], height: float
) -> list[Lamp]:
    """Ceiling lights, windows by day, and the lamps that stand about."""
    warmth = rng.uniform(-0.12, 0.12)
    white = np.array([1.0 + warmth, 1.0, 1.0 - warmth])
    day = rng.random() < 0.7
    lamps = []
    if not day or rng.random() < 0.75:
        area = size[0] * size[1]
        count = 1 if area < 14 else int(rng.integers(1, 4))
        for k in range(count):
            middle = np.array(
                [
                    size[0] * rng.uniform(0.3, 0.6),
                    size[1] * (k + rng.uniform(0.35, 0.65)) / count,
                    height - 0.12,
                ]
            )
            spread = rng.uniform(-0.22, 0.22, (4, 3)) * [1, 1, 0.1]
            power = rng.uniform(1.2, 2.2) * max(area, 8.0) ** 0.5 / count**0.7
            lamps.append(Lamp(middle + spread, white * power, np.array([0, 0, 0.0])))
    for thing in scene.things:
        if thing.label == "window" and day:
            low, high = thing.bounds()
            across = np.array([np.cos(thing.heading), np.sin(thing.heading), 0])
            inward = np.array([-across[1], across[0], 0])
            middle = (low + high) / 2 + inward * 0.10
            wide, tall = abs((high - low) @ np.abs(across)), high[2] - low[2]
            grid = np.array([(-0.3, -0.25), (0.3, -0.25), (-0.3, 0.25), (0.3, 0.25), (0.0, 0.0)])
            points = (
                middle + grid[:, :1] * wide * across + grid[:, 1:] * tall * np.array([0, 0, 1.0])
            )
            sky = np.array([0.92, 1.0, 1.12]) * rng.uniform(1.5, 4.0) * wide * tall
            lamps.append(Lamp(points, sky, inward))
        elif thing.label in ("lamp", "floor lamp") and rng.random() < 0.5:
            low, high = thing.bounds()
            head = np.append((low + high)[:2] / 2, high[2] + 0.03)
            lamps.append(
                Lamp(head[None], np.array([1.0, 0.82, 0.6]) * rng.uniform(0.3, 0.7), np.zeros(3))
            )
    return lamps


def bake(
    rng: np.random.Generator,
    caster: Caster,
    points: np.ndarray,
    normals: np.ndarray,
    lamps: list[Lamp],
    ambient: float,
) -> np.ndarray:
    """Light that falls on points of the surface.

    Args:
        rng: draws the directions in which corners are looked for.
        caster: of the room.
        points: (N, 3) on the surface.
        normals: (N, 3) unit.
        lamps: see ``place_lamps``.
        ambient: strength of the light that comes from everywhere.

    Returns:
        (N, 3) float32 linear light.
    """
    origin = points + normals * 0.012
    light = np.repeat((ambient * _openness(rng, caster, origin, normals))[:, None], 3, axis=1)
    for lamp in lamps:
        share = lamp.color / len(lamp.points)
        for point in lamp.points:
            towards = point - origin
            distance = np.linalg.norm(towards, axis=1)
            cosine = (towards * normals).sum(1) / np.maximum(distance, 1e-6)
            if lamp.facing.any():
                cosine = cosine * np.clip(
                    -((towards * lamp.facing).sum(1)) / np.maximum(distance, 1e-6), 0, 1
                )
            lit = np.flatnonzero(cosine > 0)
            blocked = caster.blocked(origin[lit], towards[lit], 0.97)
            strength = cosine[lit] / (distance[lit] ** 2 + 0.35) * ~blocked
            light[lit] += strength[:, None] * share
    return light.astype(np.float32)


def _openness(
    rng: np.random.Generator, caster: Caster, origin: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """(N,) share of the directions above each point that are open; the same directions everywhere,
    so that flat walls stay even."""
    count = 14
    angle = 2.399963 * np.arange(count) + rng.uniform(0, 6)
    radius = np.sqrt((np.arange(count) + 0.5) / count)
    helper = np.where(np.abs(normals[:, 2:]) > 0.9, [[1.0, 0, 0]], [[0, 0, 1.0]])
    tangent = np.cross(helper, normals)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    other = np.cross(normals, tangent)
    total = np.zeros(len(origin))
    for r, a in zip(radius, angle):
        direction = (
            tangent * (r * np.cos(a)) + other * (r * np.sin(a)) + normals * np.sqrt(1 - r * r)
        )
        total += np.minimum(caster.distance(origin, direction), OPEN_AIR) / OPEN_AIR
    return 0.15 + 0.85 * total / count
