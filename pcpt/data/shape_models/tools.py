"""Guitars, knives and laptops."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import numpy as np

from pcpt.data.rooms.shapes import box, loft, loft_between, rod, rotated
from pcpt.data.shape_models.model import Part

Rng = np.random.RandomState


def guitar(rng: Rng) -> list[Part]:
    """Lying on its back, the neck along +y."""
    length, width = rng.uniform(0.40, 0.52), rng.uniform(0.15, 0.21)
    waist, upper = rng.uniform(0.55, 0.8), rng.uniform(0.7, 0.9)
    thick, reach = rng.uniform(0.04, 0.12), rng.uniform(0.35, 0.5)
    outline = _outline(width, length, waist, upper)
    flat = [np.column_stack([outline, np.full(len(outline), z)]) for z in (0.0, thick)]
    narrow = rng.uniform(0.022, 0.03)
    end = length / 2 + reach
    neck = box((-narrow, length / 2 - 0.06, thick - 0.01), (narrow, end, thick + 0.015))
    head = box(
        (-narrow * 1.5, end, thick - 0.012),
        (narrow * 1.5, end + rng.uniform(0.12, 0.2), thick + 0.01),
    )
    head = rotated(head, -rng.uniform(0.0, 0.25), (0, end, thick), axis=0)
    return [("body", loft(np.stack(flat))), ("neck", neck), ("head", head)]


def _outline(width: float, length: float, waist: float, upper: float) -> np.ndarray:
    """(32, 2): an oval with a waist, counter-clockwise."""
    angle = np.arange(32) * (2 * np.pi / 32)
    y = np.sin(angle)
    pinch = 1 - (1 - waist) * np.exp(-(((y - 0.15) / 0.3) ** 2))
    narrowing = 1 - (1 - upper) * np.clip(y, 0, 1)
    return np.stack([np.cos(angle) * width * pinch * narrowing, y * length / 2], axis=1)


def knife(rng: Rng) -> list[Part]:
    """Lying flat, its point along +y."""
    length, height = rng.uniform(0.12, 0.24), rng.uniform(0.018, 0.05)
    spine, tip = rng.uniform(0.0015, 0.004), rng.uniform(0.1, 0.9)
    low = np.array([(-height / 2, 0, -spine), (height / 2, 0, -spine / 4),
                    (height / 2, 0, spine / 4), (-height / 2, 0, spine)])  # fmt: skip
    middle = low + [0, length * rng.uniform(0.6, 0.85), 0]
    point = low * [0.08, 1, 0.5] + [height * (tip - 0.5), length, 0]
    handle_length, grip = rng.uniform(0.09, 0.14), rng.uniform(0.010, 0.016)
    if rng.rand() < 0.5:
        handle = rod((0, -handle_length, 0), (0, 0.005, 0), grip, grip * rng.uniform(0.7, 1.0))
    else:
        handle = box((-grip, -handle_length, -grip * 0.6), (grip, 0.005, grip * 0.6))
    blade = [("blade", loft_between(low, middle)), ("blade", loft_between(middle, point))]
    return [*blade, ("handle", handle)]


def laptop(rng: Rng) -> list[Part]:
    """Opened by 60 to 150 degrees, the hinge along x."""
    width, depth = rng.uniform(0.28, 0.40), rng.uniform(0.20, 0.28)
    base, lid = rng.uniform(0.012, 0.03), rng.uniform(0.005, 0.012)
    keyboard = box((-width / 2, 0.0, 0.0), (width / 2, depth, base))
    screen = box((-width / 2, 0.0, base), (width / 2, depth, base + lid))
    opening = np.radians(rng.uniform(60, 150))
    return [("keyboard", keyboard), ("screen", rotated(screen, opening, (0, 0, base), axis=0))]
