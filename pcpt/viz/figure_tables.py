"""Figures as tables of a report: the overall ones, and those that name a class by class."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from pcpt.viz.report import Cell, Table


def figure_tables(
    figures: Mapping[str, Any], of_class: Callable[[str, str], bool], title: str, of_what: str
) -> list[Table]:
    """Tables of all figures that are shares; none where there are no such figures.

    Args:
        figures: by name, ``KIND/NAME`` or plain; what is no float is left out.
        of_class: whether a kind and name are a figure of the class of that name.
        title: of the tables, such as "Split val".
        of_what: what has no value where no such thing has the class, such as "scene".
    """
    overall: dict[str, dict[str, Cell]] = {}
    by_class: dict[str, dict[str, Cell]] = {}
    for key, value in figures.items():
        if not isinstance(value, float):
            continue
        shown = 100 * value if math.isfinite(value) else None
        kind, _, name = key.rpartition("/")
        if of_class(kind, name):
            by_class.setdefault(name, {})[kind] = shown
        else:
            overall[key] = {"percent": shown}
    tables = [Table(overall, "", title, ".1f")] if overall else []
    if by_class:
        caption = f"Percent; a dash where no {of_what} has the class."
        tables.append(Table(by_class, caption, f"{title}, by class", ".1f"))
    return tables
