"""The parts: every file here that defines ``PART`` is one, and is found by itself."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pcpt.benchmark.case import Case
from pcpt.benchmark.settings import Settings


class Part(NamedTuple):
    """One part of the benchmark.

    Attributes:
        name: on the command line.
        summary: what it measures, one line.
        cases: makes its cases, each just before it is measured, with outputs already compared.
    """

    name: str
    summary: str
    cases: Callable[[Settings], Iterator[Case]]


def all_parts() -> dict[str, Part]:
    """Every part by name, sorted."""
    modules = (
        importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)
    )
    parts: list[Part] = [module.PART for module in modules if hasattr(module, "PART")]
    return {part.name: part for part in sorted(parts)}
