"""What surfaces look like. Kinds of furniture draw from the same woods, paints and cloths, so that
a colour says little about the label."""

from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]

# sRGB in [0, 1]
WOODS: tuple[Color, ...] = (
    (0.76, 0.60, 0.42), (0.62, 0.44, 0.27), (0.45, 0.29, 0.17), (0.32, 0.20, 0.13),
    (0.84, 0.73, 0.57), (0.55, 0.33, 0.22), (0.68, 0.58, 0.47), (0.88, 0.80, 0.68),
)  # fmt: skip
PAINTS: tuple[Color, ...] = (
    (0.93, 0.92, 0.90), (0.90, 0.88, 0.82), (0.80, 0.80, 0.80), (0.62, 0.65, 0.68),
    (0.86, 0.80, 0.68), (0.72, 0.78, 0.74), (0.70, 0.78, 0.86), (0.90, 0.78, 0.72),
    (0.35, 0.38, 0.42), (0.15, 0.15, 0.17), (0.50, 0.60, 0.52), (0.78, 0.70, 0.60),
)  # fmt: skip
CLOTHS: tuple[Color, ...] = (
    (0.85, 0.82, 0.76), (0.55, 0.52, 0.48), (0.30, 0.32, 0.36), (0.18, 0.22, 0.34),
    (0.55, 0.20, 0.18), (0.30, 0.42, 0.34), (0.76, 0.62, 0.40), (0.45, 0.32, 0.24),
    (0.62, 0.70, 0.80), (0.90, 0.90, 0.90), (0.12, 0.12, 0.13), (0.68, 0.50, 0.58),
    (0.80, 0.44, 0.24), (0.40, 0.56, 0.66),
)  # fmt: skip
METALS: tuple[Color, ...] = (
    (0.75, 0.76, 0.78), (0.55, 0.56, 0.58), (0.14, 0.14, 0.15), (0.88, 0.88, 0.89),
    (0.42, 0.36, 0.28),
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """A surface.

    Attributes:
        kind: of texture, a key of ``textures.KINDS``.
        colors: sRGB in [0, 1]; how many are used depends on the kind.
        scale: metres that one repetition of the texture covers.
        seed: of the texture.
        tint: sRGB factor; surfaces that differ in tint alone share a texture.
        emission: light it gives off by itself; what it shows does not depend on lamps.
        loss: probability that a depth camera measures nothing on it (glass, mirrors, polish).
    """

    kind: str
    colors: tuple[Color, ...]
    scale: float = 1.0
    seed: int = 0
    tint: Color = (1.0, 1.0, 1.0)
    emission: float = 0.0
    loss: float = 0.0

    def texture_key(self) -> tuple[object, ...]:
        """Equal for materials that share a texture."""
        return self.kind, self.colors, self.seed


def pick(rng: np.random.Generator, palette: tuple[Color, ...], spread: float = 0.05) -> Color:
    """A colour of the palette, changed a little in brightness and hue."""
    color = np.array(palette[rng.integers(len(palette))])
    color = color * rng.uniform(0.85, 1.1) + rng.normal(0, spread, 3)
    red, green, blue = np.clip(color, 0.04, 0.97).tolist()
    return red, green, blue


def _seed(rng: np.random.Generator, variants: int = 1 << 20) -> int:
    return int(rng.integers(variants))


def plain(color: Color, rng: np.random.Generator, loss: float = 0.0) -> Material:
    """Paint or plastic of one colour."""
    return Material("plain", ((1.0, 1.0, 1.0),), 1.2, _seed(rng, 3), tint=color, loss=loss)


def paint(rng: np.random.Generator) -> Material:
    """A painted surface."""
    return plain(pick(rng, PAINTS), rng)


def wood(rng: np.random.Generator) -> Material:
    """Bare or stained wood."""
    color = pick(rng, WOODS, 0.03)
    dark = tuple(float(c * rng.uniform(0.55, 0.9)) for c in color)
    return Material("wood", (color, dark), float(rng.uniform(0.6, 1.4)), _seed(rng))  # type: ignore[arg-type]


def board(rng: np.random.Generator) -> Material:
    """What flat furniture is made of: wood more often than paint."""
    return wood(rng) if rng.random() < 0.62 else paint(rng)


def metal(rng: np.random.Generator) -> Material:
    """Steel, chrome, black iron, brass."""
    return plain(pick(rng, METALS, 0.02), rng, loss=0.12)


def white_ware(rng: np.random.Generator) -> Material:
    """Ceramic and enamel; not always white."""
    palette = (
        (0.94, 0.94, 0.93),
        (0.90, 0.88, 0.82),
        (0.72, 0.80, 0.80),
        (0.84, 0.74, 0.68),
        (0.60, 0.62, 0.64),
    )
    return plain(pick(rng, palette, 0.02), rng, loss=0.04)


def cloth(rng: np.random.Generator, patterned: float = 0.45) -> Material:
    """Upholstery, curtains and bedding: weave, stripes, checks or spots."""
    first, second, third = (pick(rng, CLOTHS) for _ in range(3))
    kind = "weave"
    if rng.random() < patterned:
        kind = ("stripes", "checks", "spots", "leaves")[rng.integers(4)]
    return Material(kind, (first, second, third), float(rng.uniform(0.3, 0.9)), _seed(rng))


def leather(rng: np.random.Generator) -> Material:
    """Plain upholstery."""
    return Material("leather", (pick(rng, CLOTHS),), 0.6, _seed(rng))


def upholstery(rng: np.random.Generator) -> Material:
    """Cloth or leather."""
    return cloth(rng, 0.3) if rng.random() < 0.7 else leather(rng)


def stone(rng: np.random.Generator) -> Material:
    """Worktops: granite, marble, laminate, wood."""
    if rng.random() < 0.35:
        return board(rng)
    return Material(
        "speckle", (pick(rng, PAINTS), pick(rng, PAINTS), pick(rng, WOODS)), 0.5, _seed(rng)
    )


def tiles(rng: np.random.Generator) -> Material:
    """Square or oblong tiles."""
    color = pick(rng, PAINTS)
    second = color if rng.random() < 0.7 else pick(rng, PAINTS)
    return Material(
        "tiles",
        (color, second, pick(rng, ((0.75, 0.74, 0.72), (0.4, 0.4, 0.4)))),
        float(rng.uniform(0.5, 1.6)),
        _seed(rng),
    )


def floor(rng: np.random.Generator, wet: bool) -> Material:
    """Boards, carpet or tiles; tiles in wet rooms."""
    draw = rng.random()
    if wet and draw < 0.8:
        return tiles(rng)
    if draw < 0.55:
        color = pick(rng, WOODS)
        dark = tuple(float(c * rng.uniform(0.65, 0.9)) for c in color)
        return Material("planks", (color, dark), float(rng.uniform(0.8, 1.4)), _seed(rng))  # type: ignore[arg-type]
    if draw < 0.85:
        return Material("carpet", (pick(rng, CLOTHS), pick(rng, CLOTHS)), 0.7, _seed(rng))
    return tiles(rng)


def wall(rng: np.random.Generator, wet: bool) -> Material:
    """Paint mostly; sometimes wallpaper, bricks, panels or tiles."""
    draw = rng.random()
    if wet and draw < 0.45:
        return tiles(rng)
    if draw < 0.68:
        return Material("plaster", (pick(rng, PAINTS[:8] + CLOTHS[8:10]),), 1.5, _seed(rng))
    first = np.array(pick(rng, PAINTS[:8]))
    second = tuple(np.clip(first * rng.uniform(0.75, 0.95), 0, 1).tolist())
    kind = ("stripes", "leaves", "spots", "tiles", "planks")[rng.integers(5)]
    return Material(
        kind, (tuple(first.tolist()), second, second), float(rng.uniform(0.6, 1.2)), _seed(rng)
    )  # type: ignore[arg-type]


def picture(rng: np.random.Generator) -> Material:
    """A landscape or an abstract painting."""
    kind = "landscape" if rng.random() < 0.55 else "abstract"
    colors = tuple(pick(rng, CLOTHS + WOODS, 0.1) for _ in range(5))
    return Material(kind, colors, 1.0, _seed(rng))


def rug(rng: np.random.Generator) -> Material:
    """A carpet to lay on the floor."""
    kind = ("weave", "stripes", "leaves", "checks", "spots")[rng.integers(5)]
    return Material(
        kind, tuple(pick(rng, CLOTHS) for _ in range(3)), float(rng.uniform(0.6, 1.5)), _seed(rng)
    )


def outdoors(rng: np.random.Generator) -> Material:
    """What is seen through a window."""
    sky = ((0.72, 0.84, 0.97), (0.92, 0.94, 0.96), (0.50, 0.62, 0.80), (0.16, 0.18, 0.26))
    green = ((0.35, 0.45, 0.25), (0.45, 0.48, 0.42), (0.55, 0.50, 0.45))
    colors = (
        pick(rng, sky, 0.02),
        pick(rng, green),
        pick(rng, green),
        pick(rng, green),
        pick(rng, PAINTS),
    )
    return Material(
        "landscape", colors, 2.0, _seed(rng), emission=float(rng.uniform(0.7, 1.4)), loss=0.55
    )


def mirror() -> Material:
    """Silvered glass; its reflection is a blurred brightness only."""
    return Material("plain", ((1.0, 1.0, 1.0),), 2.0, 0, tint=(0.62, 0.66, 0.68), loss=0.7)


def screen(rng: np.random.Generator) -> Material:
    """A monitor or television: dark, or showing windows."""
    if rng.random() < 0.45:
        return plain((0.05, 0.05, 0.06), rng, loss=0.5)
    colors = (pick(rng, CLOTHS), pick(rng, PAINTS), pick(rng, CLOTHS))
    return Material("windows", colors, 0.8, _seed(rng), emission=0.6, loss=0.25)
