"""A list of classes: the ids that a data set's files use, and their places 0, 1, ... in a network's
output."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

IGNORE = -1


@dataclass(frozen=True)
class LabelSet:
    """Classes of one benchmark.

    Attributes:
        name: of the set.
        ids: of each class in the data set's files, unique.
        names: of each class.
        colors: RGB 0-255 of each class, for pictures.

    Raises:
        ValueError: tuples of different lengths, or an id that comes twice.
    """

    name: str
    ids: tuple[int, ...]
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.names) == len(self.colors) == len(set(self.ids)):
            raise ValueError(
                f"label set {self.name}: {len(set(self.ids))} different ids, {len(self.names)} "
                f"names and {len(self.colors)} colours, expected as many of each"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def indices(self, ids: np.ndarray) -> np.ndarray:
        """Places of ids: (N,) whole numbers of the files to (N,) int64, -1 for every other id."""
        order = np.argsort(self.ids)
        known = np.asarray(self.ids, dtype=np.int64)[order]
        place = np.searchsorted(known, ids).clip(max=len(known) - 1)
        return np.where(known[place] == ids, order[place], IGNORE).astype(np.int64)

    def color_table(self) -> np.ndarray:
        """(classes + 1, 3) uint8; the last row, which index -1 finds, is black."""
        return np.array([*self.colors, (0, 0, 0)], dtype=np.uint8)


def label_set(name: str, table: str, ids: Iterable[int] = ()) -> LabelSet:
    """A set from lines ``id red green blue name``; only those of ``ids``, in their order, if any.

    Raises:
        KeyError: an id that no line has.
    """
    rows = {}
    for line in table.strip().splitlines():
        number, red, green, blue, word = line.split(maxsplit=4)
        rows[int(number)] = (word, (int(red), int(green), int(blue)))
    chosen = tuple(ids) or tuple(rows)
    return LabelSet(
        name,
        chosen,
        tuple(rows[each][0] for each in chosen),
        tuple(rows[each][1] for each in chosen),
    )
