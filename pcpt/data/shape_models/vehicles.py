"""Airplanes and rockets."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import numpy as np

from pcpt.data.rooms.shapes import loft_between, mirrored, rotated, turned
from pcpt.data.shape_models.model import Part

Rng = np.random.RandomState
SIDES = 20


def airplane(rng: Rng) -> list[Part]:
    """Swept wings, a tail, and engines under the wings or none."""
    length, radius = rng.uniform(2.0, 3.2), rng.uniform(0.14, 0.24)
    span, chord = rng.uniform(0.9, 1.7), rng.uniform(0.35, 0.65)
    sweep, lift = rng.uniform(0.1, 0.8), rng.uniform(-0.05, 0.2)
    nose = rng.uniform(0.12, 0.25) * length
    profile = [
        (radius * 0.15, 0.0), (radius * 0.7, length * 0.2), (radius, length * 0.4),
        (radius, length - nose), (radius * 0.7, length - nose * 0.4), (radius * 0.05, length),
    ]  # fmt: skip
    # turned about z, then laid down along y: the nose looks to +y
    body = rotated(turned(profile, SIDES), -np.pi / 2, axis=0) - [0, length / 2, 0]
    root = rng.uniform(-0.1, 0.25) * length / 2
    wing = _blade((0, root, -radius * 0.4), span, chord, sweep, lift, rng.uniform(0.3, 0.7))
    tail_at = -length / 2 + 0.12 * length
    tail = _blade((0, tail_at, radius * 0.3), span * 0.35, chord * 0.5, sweep * 0.4, 0.05, 0.6)
    # a fin is a blade that stands up
    fin = rotated(
        _blade((0, tail_at, 0), rng.uniform(0.35, 0.6), chord * 0.6, 0.25, 0.0, 0.5),
        -np.pi / 2,
        axis=1,
    ) + [0, 0, radius * 0.3]
    parts = [("body", body), *[("wing", skin) for skin in (wing, mirrored(wing))]]
    parts += [("tail", skin) for skin in (tail, mirrored(tail), fin)]
    if rng.rand() < 0.75:
        share, size = rng.uniform(0.3, 0.6), rng.uniform(0.05, 0.1)
        engine = rotated(
            turned([(size, 0.0), (size * 1.2, 0.4), (size, 0.45)], 12), -np.pi / 2, axis=0
        )
        at = [share * span, root - share * sweep, share * lift - radius * 0.4 - size * 1.2]
        parts += [("engine", skin) for skin in (engine + at, mirrored(engine + at))]
    return parts


def _blade(
    root: tuple[float, float, float],
    span: float,
    chord: float,
    sweep: float,
    lift: float,
    taper: float,
) -> np.ndarray:
    """A flat wing from the root to +x: its tip lies back by ``sweep`` and up by ``lift``."""
    thick = chord * 0.06
    section = np.array([(-0.5, -1.0), (0.5, -1.0), (0.5, 1.0), (-0.5, 1.0)])
    near = np.stack([np.zeros(4), section[:, 0] * chord, section[:, 1] * thick], axis=1)
    far = near * [1.0, taper, taper] + [span, -sweep, lift]
    return loft_between(near, far) + np.asarray(root)


def rocket(rng: Rng) -> list[Part]:
    """A tube with a pointed nose and three to five fins."""
    radius, height = rng.uniform(0.08, 0.16), rng.uniform(0.8, 1.6)
    nose = rng.uniform(0.2, 0.5)
    body = turned([(radius * rng.uniform(0.7, 1.0), 0.0), (radius, 0.1), (radius, height)], SIDES)
    bulge = rng.uniform(0.55, 0.85)
    tip = turned(
        [(radius, height), (radius * bulge, height + nose / 2), (radius * 0.02, height + nose)],
        SIDES,
    )
    reach, chord = rng.uniform(0.12, 0.3), rng.uniform(0.2, 0.4)
    # a blade lies in x and y; stood on its edge it lies in x and z
    fin = rotated(
        _blade((0, 0, 0), reach, chord, rng.uniform(0.0, 0.25), 0.0, 0.6), np.pi / 2, axis=0
    )
    fin = fin + [radius * 0.8, 0, chord / 2 + rng.uniform(0.02, 0.2)]
    count = int(rng.randint(3, 6))
    fins = [("fin", rotated(fin, 2 * np.pi * i / count)) for i in range(count)]
    return [("body", body), ("nose", tip), *fins]
