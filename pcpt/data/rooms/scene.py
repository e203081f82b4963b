"""A room as arrays: its quads, what each is made of, and the triangles that rays are cast at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcpt.data.rooms.textures import Atlas
from pcpt.data.rooms.things import Part, Thing

# Kinds whose grain runs along the longest side of a board.
GRAINED = ("wood", "planks")


@dataclass(frozen=True)
class Scene:
    """All surfaces of a room.

    Attributes:
        things: in the order of ``instance``.
        corners: (Q, 4, 3) float64, metres, counter-clockwise seen from outside.
        normals: (Q, 4, 3) unit normals at the corners, smoothed where the surface is round.
        uv: (Q, 4, 2) texture coordinates in repetitions.
        instance: (Q,) int32, index of the thing.
        part: (Q,) int32, index of the part among all parts.
        texture: (Q,) int32 in the atlas.
        texel: (Q,) float32, metres that a texel covers.
        tint: (Q, 3) float32, linear factor.
        emission: (Q,) float32.
        loss: (Q,) float32, see ``Material``.
        atlas: the textures.
    """

    things: Sequence[Thing]
    corners: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    instance: np.ndarray
    part: np.ndarray
    texture: np.ndarray
    texel: np.ndarray
    tint: np.ndarray
    emission: np.ndarray
    loss: np.ndarray
    atlas: Atlas


def flatten(things: Sequence[Thing]) -> Scene:
    """The arrays of a room's things."""
    pairs = [(index, thing, part) for index, thing in enumerate(things) for part in thing.parts]
    parts = [part for _, _, part in pairs]
    counts = np.array([len(part.quads) for part in parts])
    atlas = Atlas([part.material for part in parts])

    def spread(values: Sequence[object] | np.ndarray, dtype: type = np.float32) -> np.ndarray:
        return np.repeat(np.array(values, dtype), counts, axis=0)

    corners = np.concatenate([part.quads for part in parts])
    owner = spread(np.arange(len(parts)), np.int32)
    return Scene(
        things=things,
        corners=corners,
        normals=_corner_normals(corners, owner),
        uv=np.concatenate([texture_coordinates(part, thing.heading) for _, thing, part in pairs]),
        instance=spread([index for index, _, _ in pairs], np.int32),
        part=owner,
        texture=spread([atlas.index[p.material.texture_key()] for p in parts], np.int32),
        texel=spread([p.material.scale / 256 for p in parts]),
        tint=spread([[c**2.2 for c in p.material.tint] for p in parts]),
        emission=spread([p.material.emission for p in parts]),
        loss=spread([p.material.loss for p in parts]),
        atlas=atlas,
    )


def flat_normals(corners: np.ndarray) -> np.ndarray:
    """(Q, 3) unit normals of quads, from their diagonals."""
    normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    return normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12)


def texture_coordinates(part: Part, heading: float) -> np.ndarray:
    """(Q, 4, 2): each quad is projected along the axis of the thing that it faces most; grain runs
    along the longest side of the part."""
    c, s = np.cos(heading), np.sin(heading)
    local = part.quads @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    low = local.min((0, 1))
    extent = local.max((0, 1)) - low
    local = (local - low) / part.material.scale
    facing = np.abs(flat_normals(part.quads) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])).argmax(
        1
    )
    axes = np.array([(1, 2), (0, 2), (0, 1)])
    if part.material.kind in GRAINED:
        axes = np.array(
            [pair if extent[pair[0]] >= extent[pair[1]] else pair[::-1] for pair in axes]
        )
    chosen = axes[facing]
    return np.take_along_axis(local, np.repeat(chosen[:, None, :], 4, axis=1), axis=2).astype(
        np.float32
    )


def _corner_normals(corners: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Normals of the corners; averaged over the quads of a part that meet there unless they form an
    edge."""
    flat = np.repeat(flat_normals(corners), 4, axis=0)
    cell = np.round(corners.reshape(-1, 3) * 2000).astype(np.int64) + (1 << 13)
    key = ((np.repeat(owner.astype(np.int64), 4) << 15 | cell[:, 0]) << 15 | cell[:, 1]) << 15
    key |= cell[:, 2]
    _, group = np.unique(key, return_inverse=True)
    total: np.ndarray = np.stack([np.bincount(group, flat[:, i]) for i in range(3)], axis=1)[group]
    total /= np.linalg.norm(total, axis=1, keepdims=True) + 1e-12
    smooth = (total * flat).sum(1) > 0.85
    return np.where(smooth[:, None], total, flat).reshape(-1, 4, 3)


def lattice(corners: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits quads into cells of at most ``step`` metres.

    Args:
        corners: (Q, 4, 3).
        step: largest side of a cell, metres.

    Returns:
        quad: (N,) int64, the quad that each lattice point lies on, ascending.
        place: (N, 2), its position between corners 0-1 (first) and 0-3 (second), in [0, 1].
        cells: (C, 4) int64, the four points of each cell, in the quad's order.
    """
    side = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    num_u = np.ceil(np.maximum(side[:, 0], side[:, 2]) / step).clip(1).astype(np.int64)
    num_v = np.ceil(np.maximum(side[:, 1], side[:, 3]) / step).clip(1).astype(np.int64)
    points = (num_u + 1) * (num_v + 1)
    quad, within = _runs(points)
    i, j = within % (num_u[quad] + 1), within // (num_u[quad] + 1)
    place = np.stack([i / num_u[quad], j / num_v[quad]], axis=1)
    first = np.concatenate([[0], np.cumsum(points)[:-1]])
    owner, index = _runs(num_u * num_v)
    column, row = index % num_u[owner], index // num_u[owner]
    wide = num_u[owner] + 1
    start = first[owner] + row * wide + column
    return quad, place, np.stack([start, start + 1, start + wide + 1, start + wide], axis=1)


def _runs(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For counts (2, 3): owners 0 0 1 1 1 and numbers 0 1 0 1 2."""
    owner = np.repeat(np.arange(len(counts)), counts)
    start = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return owner, np.arange(len(owner)) - start[owner]


def blend(values: np.ndarray, quad: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Corner values (Q, 4, D) at lattice points: bilinear, (N, D)."""
    u, v = place[:, :1], place[:, 1:]
    corner = values[quad]
    low = corner[:, 0] * (1 - u) + corner[:, 1] * u
    high = corner[:, 3] * (1 - u) + corner[:, 2] * u
    return low * (1 - v) + high * v
