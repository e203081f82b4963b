"""A proof as data: the cells of a table, the commands that compute each, and what they wait for.

Words of a command may hold places, filled in when it runs, so that nothing in a plan depends on a
machine: ``{NAME}`` is a folder given to the plan, ``{out}`` that of all its cells, ``{here}`` the
cell's own, ``{cell:NAME}`` that of another cell, and ``{choice:KEY}`` the value that did best in a
``Choice``.
"""

import fnmatch
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from pcpt.choices import did_you_mean

_PLACE = re.compile(r"\{(cell:|choice:|)([^{}]*)\}")
_NAME = re.compile(r"[\w.%-]+(/[\w.%-]+)*")
Command = tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """A value settled by experiment: the one whose cells did best.

    Attributes:
        key: what ``{choice:KEY}`` calls it, such as ``lr``.
        cells: names of the cells that tried each value; with several, their mean counts.
        figure: of their metrics; higher is better.
    """

    key: str
    cells: Mapping[str, Sequence[str]]
    figure: str


@dataclass(frozen=True)
class Cell:
    """One seed of one row and column, or something that several such need.

    Attributes:
        name: path of its folder, such as ``finetune_5/ppkt/seed0``.
        commands: arguments of ``pcpt``, run one after the other; each must be able to go on where
            a killed attempt stopped.
        row, column, seed: where it stands in the table; empty and -1 for what others share.
        needed: names of cells it waits for besides those that commands and choices name.
        choices: values it takes from other cells.
        metrics: JSON file in its folder that the commands leave; empty for none.
        minutes: how long it takes, about, until one of its kind has been timed.
    """

    name: str
    commands: tuple[Command, ...]
    row: str = ""
    column: str = ""
    seed: int = -1
    needed: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    metrics: str = ""
    minutes: float = 1.0

    @property
    def kind(self) -> str:
        """What it is timed together with: the first part of its name."""
        return self.name.partition("/")[0]

    def needs(self) -> list[str]:
        """Names of the cells it waits for, in the order in which they are mentioned."""
        names = list(self.needed)
        names += [
            name for choice in self.choices for tried in choice.cells.values() for name in tried
        ]
        for command in self.commands:
            for word in command:
                names += [m[2] for m in _PLACE.finditer(word) if m[1] == "cell:"]
        return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Figure:
    """A number of a column's metrics: its key in ``figures``, its heading, and its scale (100 shows
    shares as percent)."""

    key: str
    title: str
    scale: float = 100.0


@dataclass(frozen=True)
class Column:
    """A column of cells.

    Attributes:
        name: as in ``Cell.column``.
        title: heading.
        figures: what is shown of each cell.
        group: heading of the table that it is part of.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    group: str = ""


@dataclass(frozen=True)
class Row:
    """A row of cells; ``control`` marks one that is there to show what something else is worth."""

    name: str
    title: str
    control: bool = False


@dataclass(frozen=True)
class Plan:
    """A whole proof.

    Attributes:
        name: of the plan.
        title: heading of its part of the page.
        about: sentences for the page: what is compared and how.
        rows, columns: of the table, in order.
        cells: in the order in which they are to be computed; what a cell needs comes when it is
            needed.
        baseline: row that gains are counted from; empty for none.
        tuning: columns of cells in which values were tried out, shown apart.
        files: that must be there before anything is computed; places are filled in.

    Raises:
        ValueError: two cells of one name, a name that is no path, a cell that needs itself or one
            that is not there, or a row or column that nobody describes.
    """

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    cells: tuple[Cell, ...]
    baseline: str = ""
    tuning: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    by_name: dict[str, Cell] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {cell.name: cell for cell in self.cells})
        if len(self.by_name) < len(self.cells):
            names = [cell.name for cell in self.cells]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"plan {self.name}: more than one cell is called {', '.join(twice)}")
        rows, columns = {row.name for row in self.rows}, {c.name for c in self.columns}
        for cell in self.cells:
            if not _NAME.fullmatch(cell.name) or ".." in cell.name:
                raise ValueError(f"plan {self.name}: cell name {cell.name!r} is no relative path")
            if cell.column and (cell.column not in columns or cell.row not in rows):
                raise ValueError(
                    f"plan {self.name}: cell {cell.name} stands in row {cell.row!r}, column "
                    f"{cell.column!r}, which the plan does not list"
                )
        self.in_order(self.cells)

    def in_order(self, wanted: Sequence[Cell]) -> list[Cell]:
        """The cells and all that they need, each after what it needs."""
        order: dict[str, Cell] = {}
        for cell in wanted:
            self._visit(cell.name, order, ())
        return list(order.values())

    def _visit(self, name: str, order: dict[str, Cell], above: tuple[str, ...]) -> None:
        if name in order:
            return
        if name in above:
            raise ValueError(f"plan {self.name}: {' -> '.join((*above, name))} is a circle")
        if name not in self.by_name:
            raise ValueError(
                f"plan {self.name}: {above[-1]} needs {name!r}, which is no cell"
                + did_you_mean(name, self.by_name)
            )
        for needed in self.by_name[name].needs():
            self._visit(needed, order, (*above, name))
        order[name] = self.by_name[name]

    def select(self, only: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Cell]:
        """The cells of the table that are asked for.

        Args:
            only: globs of ``COLUMN/ROW``; one without a slash is of columns. Empty takes all.
            seeds: empty takes all.

        Raises:
            ValueError: a glob or seed that fits no cell.
        """
        shown = [cell for cell in self.cells if cell.column]
        taken: list[Cell] = []
        globs = [glob if "/" in glob else f"{glob}/*" for glob in only] or ["*/*"]
        for glob in globs:
            fitting = [c for c in shown if fnmatch.fnmatchcase(f"{c.column}/{c.row}", glob)]
            if not fitting:
                columns = ", ".join(dict.fromkeys(c.column for c in shown))
                rows = ", ".join(dict.fromkeys(c.row for c in shown))
                raise ValueError(f"--only {glob} fits no cell; columns: {columns}; rows: {rows}")
            taken += fitting
        if seeds and not {c.seed for c in taken} & set(seeds):
            known = sorted({c.seed for c in taken})
            raise ValueError(f"--seeds {list(seeds)} fits no cell; seeds there: {known}")
        names = {cell.name for cell in taken if not seeds or cell.seed in seeds}
        return [cell for cell in shown if cell.name in names]

    def fingerprints(self, root: Path) -> dict[str, str]:
        """A hash by cell of all that decides it: commands, the config files they name, and the same
        of every cell it needs. Neither folders nor machine are part of it.

        Args:
            root: that config files are relative to.

        Raises:
            FileNotFoundError: a config file is not there.
        """
        found: dict[str, str] = {}
        read: dict[str, object] = {}
        for cell in self.in_order(self.cells):
            for word in (word for command in cell.commands for word in command):
                if word.endswith(".yaml") and "=" not in word and word not in read:
                    read[word] = _read_config(root / word)
            content = {
                "commands": cell.commands,
                "configs": [read[w] for command in cell.commands for w in command if w in read],
                "choices": [asdict(choice) for choice in cell.choices],
                "needs": [found[name] for name in cell.needs()],
            }
            found[cell.name] = hashlib.sha256(
                json.dumps(content, sort_keys=True).encode()
            ).hexdigest()[:16]
        return found


def _read_config(path: Path) -> object:
    if not path.is_file():
        raise FileNotFoundError(
            f"config file {path} does not exist; proofs run from a checkout of the repository"
        )
    return yaml.safe_load(path.read_text())


def fill(
    word: str,
    places: Mapping[str, str],
    cell_folder: Callable[[str], str],
    chosen: Mapping[str, str],
) -> str:
    """A word of a command with its places filled in.

    Raises:
        ValueError: a place that nobody gave.
    """

    def value(match: re.Match[str]) -> str:
        what, name = match[1], match[2]
        if what == "cell:":
            return cell_folder(name)
        known = chosen if what == "choice:" else places
        if name not in known:
            raise ValueError(f"{match[0]} in {word!r} is unknown; known: {', '.join(known)}")
        return known[name]

    return _PLACE.sub(value, word)
