"""Where things stand: the floor plan with what is taken of the floor and of the walls."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pcpt.data.rooms.things import Thing, bounds, moved

Vector = Sequence[float] | np.ndarray

# How far a footprint may reach into another: rounding, and cushions touching.
SLACK = 0.004


@dataclass(frozen=True)
class Wall:
    """One wall; its frame has x along it, y into the room, z up.

    Attributes:
        start: (2,) of its left end, seen from inside.
        angle: radians, direction of x.
        length: metres.
        outer: whether nothing of the room lies behind it, so that a doorway can open there.
    """

    start: tuple[float, float]
    angle: float
    length: float
    outer: bool

    def at(self, along: float, height: float = 0.0) -> tuple[float, float, float]:
        """The point of the wall ``along`` metres from its start."""
        x, y = self.start
        return x + along * np.cos(self.angle), y + along * np.sin(self.angle), height


@dataclass(frozen=True)
class Slot:
    """A rectangle of a wall that is taken: from ``left`` to ``right``, from ``low`` to ``high``."""

    wall: int
    left: float
    right: float
    low: float
    high: float

    def meets(self, other: "Slot") -> bool:
        """Whether both overlap."""
        return (
            self.wall == other.wall
            and self.left < other.right
            and other.left < self.right
            and self.low < other.high
            and other.low < self.high
        )


def rectangle(low: Vector, high: Vector, angle: float, offset: Vector) -> np.ndarray:
    """(4, 2): the rectangle between two corners, turned and shifted."""
    c, s = np.cos(angle), np.sin(angle)
    ring = np.array([(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])])
    return ring @ np.array([[c, s], [-s, c]]) + np.asarray(offset)[:2]


def overlaps(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) whether a rectangle (4, 2) overlaps each of (N, 4, 2) by more than ``SLACK``."""
    if not len(others):
        return np.zeros(0, bool)
    hit = np.ones(len(others), bool)
    for first, second in ((one[None].repeat(len(others), 0), others), (others, one[None])):
        for i in (0, 1):
            axis = first[:, i + 1] - first[:, i]
            axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
            a = np.einsum("nij,nj->ni", first, axis)
            b = np.einsum("nij,nj->ni", np.broadcast_to(second, first.shape), axis)
            hit &= (a.max(1) - SLACK > b.min(1)) & (b.max(1) - SLACK > a.min(1))
    return hit


@dataclass
class Plan:
    """A room being furnished.

    Attributes:
        size: (2,) of the bounding rectangle, metres; a corner is at the origin.
        notch: (2,) size of what is missing at the far corner of an L-shaped room, or zeros.
        height: of the ceiling.
        walls: counter-clockwise.
        things: all that was placed.
        solid: rectangles (4, 2) of the floor on which something stands.
        clear: rectangles kept free: swings of doors, room to sit.
        slots: of the walls.
    """

    size: tuple[float, float]
    notch: tuple[float, float]
    height: float
    walls: list[Wall] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    solid: list[np.ndarray] = field(default_factory=list)
    clear: list[np.ndarray] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)

    def __post_init__(self) -> None:
        (w, d), (a, b) = self.size, self.notch
        corners = [(0.0, 0.0), (w, 0.0), (w, d), (0.0, d)]
        if a > 0:
            corners = [(0.0, 0.0), (w, 0.0), (w, d - b), (w - a, d - b), (w - a, d), (0.0, d)]
            self.solid.append(rectangle((w - a, d - b), (w + 1, d + 1), 0.0, (0, 0)))
        for index, (p, q) in enumerate(zip(corners, [*corners[1:], corners[0]])):
            along = np.subtract(q, p)
            outer = a == 0 or index not in (2, 3)
            self.walls.append(
                Wall(p, float(np.arctan2(along[1], along[0])), float(np.linalg.norm(along)), outer)
            )

    def inside(self, ring: np.ndarray) -> bool:
        """Whether a rectangle lies within the bounding rectangle (a notch is an obstacle)."""
        low, high = ring.min(0), ring.max(0)
        return bool((low > -SLACK).all() and (high < np.array(self.size) + SLACK).all())

    def free(self, ring: np.ndarray, skip: Iterable[int] = (), clear: bool = True) -> bool:
        """Whether nothing stands on a rectangle of the floor.

        Args:
            ring: (4, 2) corners.
            skip: numbers of ``solid`` that do not count.
            clear: whether zones kept free count.
        """
        if not self.inside(ring):
            return False
        skipped = set(skip)
        taken = [r for i, r in enumerate(self.solid) if i not in skipped] + (
            self.clear if clear else []
        )
        return not overlaps(ring, np.array(taken)).any()

    def slots_beside(self, ring: np.ndarray, low: float, high: float) -> list[Slot]:
        """What a thing between two heights hides of the walls it stands close to."""
        slots = []
        for index, wall in enumerate(self.walls):
            c, s = np.cos(wall.angle), np.sin(wall.angle)
            local = (ring - wall.start) @ np.array([[c, -s], [s, c]])
            left, right = local[:, 0].min(), local[:, 0].max()
            if -0.3 < local[:, 1].min() < 0.2 and right > 0 and left < wall.length:
                slots.append(Slot(index, float(left), float(right), low, high))
        return slots

    def slot_free(self, slot: Slot) -> bool:
        """Whether a rectangle of a wall is free."""
        return not any(slot.meets(other) for other in self.slots)

    def put(
        self,
        things: Sequence[Thing],
        angle: float,
        offset: Vector,
        *,
        clearance: float = 0.0,
        skip: Sequence[int] = (),
        standing: bool = True,
        hides: bool = True,
    ) -> int | None:
        """Places things made in their own frame, if there is room.

        Args:
            things: in their own frame.
            angle: radians.
            offset: (2,) or (3,) of their origin.
            clearance: metres kept free in front of them.
            skip: numbers of ``solid`` that they may overlap: a chair's table.
            standing: whether they take floor.
            hides: whether they must not hide windows, pictures and the like.

        Returns:
            The number of the new entry of ``solid`` (-1 without one), or None: no room.
        """
        low, high = bounds(things)
        ring = rectangle(low, high, angle, offset)
        lift = offset[2] if len(offset) > 2 else 0.0
        front = None
        if clearance > 0:
            front = rectangle((low[0], high[1]), (high[0], high[1] + clearance), angle, offset)
            if not (self.inside(front) and self.free(front, skip, clear=False)):
                return None
        if standing and not self.free(ring, skip):
            return None
        slots = self.slots_beside(ring, low[2] + lift, high[2] + lift) if hides else []
        if not all(self.slot_free(slot) for slot in slots):
            return None
        self.slots += slots
        self.things += moved(things, angle, (*offset, 0.0)[:3])
        if front is not None:
            self.clear.append(front)
        if not standing:
            return -1
        self.solid.append(ring)
        return len(self.solid) - 1

    def along_wall(
        self,
        rng: np.random.Generator,
        things: Sequence[Thing],
        *,
        clearance: float = 0.5,
        tries: int = 30,
        corner: bool = False,
    ) -> int | None:
        """Places things with their back to some wall; ``corner`` prefers its ends."""
        low, high = bounds(things)
        wide = high[0] - low[0]
        for _ in range(tries):
            wall = self.walls[rng.integers(len(self.walls))]
            if wide + 0.1 > wall.length:
                continue
            span = wall.length - wide - 0.1
            share = rng.random()
            if corner or rng.random() < 0.25:
                share = float(rng.integers(2))
            at = wall.at(0.05 - low[0] + share * span)
            out = -low[1] + rng.uniform(0.01, 0.04)
            normal = (-np.sin(wall.angle), np.cos(wall.angle))
            offset = (at[0] + out * normal[0], at[1] + out * normal[1])
            placed = self.put(things, wall.angle, offset, clearance=clearance)
            if placed is not None:
                return placed
        return None

    def on_wall(
        self,
        rng: np.random.Generator,
        things: Sequence[Thing],
        height: tuple[float, float],
        tries: int = 20,
    ) -> bool:
        """Hangs things on some wall, their origin at a height drawn between two."""
        low, high = bounds(things)
        for _ in range(tries):
            index = int(rng.integers(len(self.walls)))
            wall = self.walls[index]
            if high[0] - low[0] + 0.3 > wall.length:
                continue
            z = rng.uniform(*height)
            along = rng.uniform(0.15 - low[0], wall.length - 0.15 - high[0])
            gap = 0.03
            slot = Slot(
                index,
                along + low[0] - gap,
                along + high[0] + gap,
                z + low[2] - gap,
                z + high[2] + gap,
            )
            if self.slot_free(slot):
                self.slots.append(slot)
                self.things += moved(things, wall.angle, wall.at(along, z))
                return True
        return False

    def in_the_open(
        self,
        rng: np.random.Generator,
        things: Sequence[Thing],
        *,
        around: float = 0.0,
        turns: int = 4,
        tries: int = 40,
        near: Vector | None = None,
        within: float = 1.0,
    ) -> int | None:
        """Places centred things anywhere on the free floor.

        Args:
            rng: draws place and direction.
            things: centred on their origin.
            around: metres that must be free on all sides now (they are not kept free later).
            turns: number of directions to choose from; 0 is any.
            tries: places to try.
            near: (2,) a point to stay ``within`` metres of, if given.
            within: metres.
        """
        low, high = bounds(things)
        for _ in range(tries):
            if near is None:
                centre = rng.random(2) * self.size
            else:
                centre = np.asarray(near) + rng.uniform(-within, within, 2)
            angle = (
                rng.uniform(0, 2 * np.pi)
                if turns == 0
                else 2 * np.pi / turns * rng.integers(turns) + rng.normal(0, 0.02)
            )
            ring = rectangle(low[:2] - around, high[:2] + around, angle, centre)
            if self.free(ring):
                placed = self.put(things, angle, (float(centre[0]), float(centre[1])))
                if placed is not None:
                    return placed
        return None
