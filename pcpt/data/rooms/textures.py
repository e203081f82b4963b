"""Procedural textures, 256 x 256, periodic, and the atlas that holds all those of a room with their
smaller copies for distant surfaces."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from pcpt.data.rooms.materials import Color, Material

SIZE = 256
LEVELS = 6
Image = np.ndarray


@cache
def _noise(kind: str, variant: int) -> Image:
    """(SIZE, SIZE) periodic noise of mean 0 and deviation 1. Made once a process: textures roll and
    mirror these fields instead of making their own."""
    powers = {
        "cloud": (1.6, 1, 1),
        "grain": (0.3, 1, 1),
        "streak": (1.0, 14, 1),
        "soft": (2.4, 1, 1),
    }
    power, squeeze_v, squeeze_u = powers[kind]
    rng = np.random.default_rng([7, variant, sorted(powers).index(kind)])
    v = np.fft.fftfreq(SIZE)[:, None] * SIZE / squeeze_v
    u = np.fft.rfftfreq(SIZE)[None] * SIZE * (4 if kind == "streak" else 1) / squeeze_u
    amplitude = 1 / np.maximum(np.hypot(u, v), 1.0) ** power
    amplitude[0, 0] = 0
    phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
    field = np.fft.irfft2(amplitude * phase, s=(SIZE, SIZE))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def noise(kind: str, rng: np.random.Generator) -> Image:
    """A random one of the noise fields, rolled and mirrored."""
    field = _noise(kind, int(rng.integers(4)))
    field = np.roll(field, tuple(rng.integers(SIZE, size=2).tolist()), (0, 1))
    return field[:: 1 if rng.random() < 0.5 else -1]


def _grid() -> tuple[Image, Image]:
    v, u = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    return u, v


def _mix(first: Color, second: Color, weight: Image) -> Image:
    w = np.clip(weight, 0, 1)[..., None]
    return np.asarray(first, np.float32) * (1 - w) + np.asarray(second, np.float32) * w


def _plain(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    shade = 0.955 + 0.018 * noise("cloud", rng) + 0.008 * noise("grain", rng)
    return np.asarray(colors[0], np.float32) * shade[..., None]


def _plaster(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    shade = 0.94 + 0.025 * noise("cloud", rng) + 0.018 * noise("grain", rng)
    return np.asarray(colors[0], np.float32) * shade[..., None]


def _leather(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    shade = 0.85 + 0.10 * noise("cloud", rng) + 0.04 * noise("grain", rng)
    return np.asarray(colors[0], np.float32) * shade[..., None]


def _wood(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    rings = np.sin(3.0 * noise("streak", rng) + 2.0 * noise("soft", rng))
    weight = 0.4 + 0.28 * rings + 0.12 * noise("streak", rng)
    return _mix(colors[0], colors[1], weight)


def _planks(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    u, v = _grid()
    rows = int(rng.integers(5, 10))
    row = np.floor(v * rows).astype(int)
    shift, joint = rng.random(rows), rng.random(rows)
    column = ((u + shift[row]) % 1 > 0.5).astype(int)
    tone = rng.normal(0, 0.16, (rows, 2))[row, column]
    gap = (np.abs(v * rows - np.round(v * rows)) < 0.035) | (np.abs((u + joint[row]) % 0.5) < 0.006)
    weight = 0.4 + tone + 0.14 * noise("streak", rng)
    return _mix(colors[0], colors[1], weight) * np.where(gap, 0.55, 1.0)[..., None]


def _weave(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    u, v = _grid()
    threads = np.sin(2 * np.pi * 64 * u) * np.sin(2 * np.pi * 64 * v)
    weight = 0.15 + 0.12 * threads + 0.06 * noise("cloud", rng)
    return _mix(colors[0], colors[1], weight) * (0.95 + 0.05 * noise("grain", rng))[..., None]


def _stripes(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    u, v = _grid()
    bands = int(rng.integers(3, 9))
    phase = ((u if rng.random() < 0.5 else v) * bands) % 1
    out = _mix(colors[0], colors[1], (phase > rng.uniform(0.4, 0.75)).astype(np.float32))
    thin = (phase > 0.1) & (phase < 0.16)
    return (
        np.where(thin[..., None], np.asarray(colors[2], np.float32), out)
        * (0.96 + 0.04 * noise("grain", rng))[..., None]
    )


def _checks(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    u, v = _grid()
    bands = int(rng.integers(3, 7))
    share = rng.uniform(0.3, 0.6)
    weight = 0.5 * ((u * bands) % 1 < share) + 0.5 * ((v * bands) % 1 < share)
    return _mix(colors[0], colors[1], weight) * (0.96 + 0.04 * noise("grain", rng))[..., None]


def _spots(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    u, v = _grid()
    count = int(rng.integers(3, 8))
    column, row = u * count, v * count
    odd = (np.floor(row) % 2) * 0.5
    distance = np.hypot((column + odd) % 1 - 0.5, row % 1 - 0.5)
    weight = np.clip((rng.uniform(0.2, 0.38) - distance) * 12, 0, 1)
    return _mix(colors[0], colors[1], weight) * (0.96 + 0.03 * noise("grain", rng))[..., None]


def _leaves(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    field, other = noise("soft", rng), noise("cloud", rng)
    out = _mix(colors[0], colors[1], (np.abs(field) < 0.22).astype(np.float32) + 0.1 * other)
    return np.where((other > 1.3)[..., None], np.asarray(colors[2], np.float32), out)


def _speckle(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    out = _mix(colors[0], colors[1], 0.5 * (noise("grain", rng) > 0.9) + 0.12 * noise("cloud", rng))
    return _mix_image(out, colors[2], 0.5 * (noise("grain", rng) > 1.5))


def _mix_image(image: Image, color: Color, weight: Image) -> Image:
    w = np.clip(weight, 0, 1)[..., None]
    return image * (1 - w) + np.asarray(color, np.float32) * w


def _tiles(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    u, v = _grid()
    rows = int(rng.integers(3, 9))
    columns = rows if rng.random() < 0.6 else max(2, rows // 2)
    row, column = np.floor(v * rows).astype(int), np.floor(u * columns).astype(int)
    tone = rng.normal(1.0, 0.035, (rows, columns))[row, column]
    out = _mix(colors[0], colors[1], ((row + column) % 2).astype(np.float32)) * tone[..., None]
    out = out * (0.98 + 0.02 * noise("cloud", rng))[..., None]
    near_u, near_v = (
        np.abs(u * columns - np.round(u * columns)),
        np.abs(v * rows - np.round(v * rows)),
    )
    gap = (near_u / columns < 0.006) | (near_v / rows < 0.006)
    return _mix_image(out, colors[2], gap.astype(np.float32))


def _carpet(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    weight = 0.12 + 0.10 * noise("grain", rng) + 0.07 * noise("cloud", rng)
    return _mix(colors[0], colors[1], weight) * (0.9 + 0.09 * noise("grain", rng))[..., None]


def _landscape(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    """Row 0 is the foot of the picture."""
    u, v = _grid()
    out = _mix(colors[0], (1.0, 1.0, 1.0), 0.6 * v + 0.15 * noise("soft", rng) - 0.2)
    for depth, color in enumerate(colors[1:4]):
        line = 0.55 - 0.16 * depth + 0.05 * noise("soft", rng)[0] + 0.015 * noise("cloud", rng)[0]
        ground = np.asarray(color, np.float32) * (0.85 + 0.15 * noise("cloud", rng))[..., None]
        out = np.where((v < line[None])[..., None], ground, out)
    if rng.random() < 0.5:  # a house, or a block of flats
        left, top = rng.uniform(0.1, 0.7), rng.uniform(0.4, 0.75)
        house = (u > left) & (u < left + rng.uniform(0.12, 0.3)) & (v < top) & (v > 0.2)
        window = ((u * 24) % 1 < 0.5) & ((v * 20) % 1 < 0.5)
        out = np.where(
            house[..., None],
            np.asarray(colors[4], np.float32) * np.where(window, 0.5, 1.0)[..., None],
            out,
        )
    return out


def _abstract(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    u, v = _grid()
    out = _mix(colors[0], colors[1], 0.5 + 0.4 * noise("soft", rng))
    for color in (*colors[2:], *colors[1:3]):
        x, y, a, b = *rng.random(2), *rng.uniform(0.05, 0.3, 2)
        if rng.random() < 0.5:
            shape = np.hypot((u - x) / a, (v - y) / b) < 1
        else:
            shape = (np.abs(u - x) < a) & (np.abs(v - y) < b)
        out = _mix_image(out, color, 0.85 * shape)
    return out * (0.95 + 0.05 * noise("grain", rng))[..., None]


def _windows(colors: Sequence[Color], rng: np.random.Generator) -> Image:
    u, v = _grid()
    out = _mix(colors[0], colors[2], v)
    for _ in range(3):
        x, y, a, b = *rng.uniform(0, 0.6, 2), *rng.uniform(0.2, 0.45, 2)
        inside = (u > x) & (u < x + a) & (v > y) & (v < y + b)
        text = inside & ((v * 42) % 1 < 0.4) & ((u * 9 + np.floor(v * 42) * 0.37) % 1 < 0.8)
        out = _mix_image(out, colors[1], inside.astype(np.float32))
        out = _mix_image(out, (0.15, 0.15, 0.18), 0.8 * text)
    return out


KINDS: dict[str, Callable[[Sequence[Color], np.random.Generator], Image]] = {
    "plain": _plain, "plaster": _plaster, "leather": _leather, "wood": _wood, "planks": _planks,
    "weave": _weave, "stripes": _stripes, "checks": _checks, "spots": _spots, "leaves": _leaves,
    "speckle": _speckle, "tiles": _tiles, "carpet": _carpet, "landscape": _landscape,
    "abstract": _abstract, "windows": _windows,
}  # fmt: skip


def texture(material: Material) -> Image:
    """(SIZE, SIZE, 3) uint8 sRGB, without the material's tint.

    Raises:
        ValueError: a kind of texture that does not exist.
    """
    if material.kind not in KINDS:
        raise ValueError(f"no texture {material.kind!r}; there are {', '.join(sorted(KINDS))}")
    image = KINDS[material.kind](material.colors, np.random.default_rng(material.seed))
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


class Atlas:
    """All textures of a room in one array, with ``LEVELS`` sizes each.

    Attributes:
        texels: (T, 4) uint8 sRGB, the fourth unused: a texel is one 32-bit word.
        index: the number of each texture by ``Material.texture_key()``.
    """

    def __init__(self, materials: Sequence[Material]) -> None:
        self.index: dict[tuple[object, ...], int] = {}
        rows = []
        for material in materials:
            if material.texture_key() not in self.index:
                self.index[material.texture_key()] = len(self.index)
                rows += self._levels(texture(material))
        self.texels = np.zeros((sum(len(r) for r in rows), 4), np.uint8)
        self.texels[:, :3] = np.concatenate(rows)
        self._words = self.texels.view(np.uint32)[:, 0]

    @staticmethod
    def _levels(image: Image) -> list[Image]:
        levels = [image]
        for _ in range(LEVELS - 1):
            i = levels[-1].astype(np.uint16)
            i = i[0::2, 0::2] + i[1::2, 0::2] + i[0::2, 1::2] + i[1::2, 1::2]
            levels.append(((i + 2) >> 2).astype(np.uint8))
        return [level.reshape(-1, 3) for level in levels]

    def look_up(self, number: np.ndarray, uv: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Colours (N, 3) uint8 at texture coordinates ``uv`` (N, 2), in repetitions.

        Args:
            number: (N,) int32 of the texture.
            uv: (N, 2) float32.
            level: (N,) int32, 0 the finest; limited to those there are.
        """
        level = np.clip(level, 0, LEVELS - 1)
        whole = np.floor(uv * np.float32(SIZE)).astype(np.int32) & (SIZE - 1)
        u, v = whole[:, 0] >> level, whole[:, 1] >> level
        start = number * _LEVEL_START[-1] + _LEVEL_START[level]
        return self._words[start + (v * (SIZE >> level) + u)].view(np.uint8).reshape(-1, 4)[:, :3]


_LEVEL_START = np.concatenate(
    [[0], np.cumsum([(SIZE >> level) ** 2 for level in range(LEVELS)])]
).astype(np.int32)
