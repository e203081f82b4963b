"""Names of components. A new method, teacher, student, dataset or task is one file that calls
``register``; files inside the matching package are found by themselves, files elsewhere through the
config key ``imports``."""

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

PACKAGES = {
    "methods": "pcpt.methods",
    "teachers": "pcpt.teachers",
    "students": "pcpt.students",
    "datasets": "pcpt.data.sources",
    "tasks": "pcpt.tasks",
}
_components: dict[str, dict[str, type]] = {kind: {} for kind in PACKAGES}
_loaded: set[str] = set()

T = TypeVar("T", bound=type)


def _check_kind(kind: str) -> None:
    if kind not in PACKAGES:
        raise ValueError(f"unknown kind {kind!r}; one of {', '.join(PACKAGES)}")


def register(kind: str, name: str) -> Callable[[T], T]:
    """Class decorator that makes a component, with a nested ``Config``, known as ``name``.

    Raises:
        ValueError: unknown kind, or the name is taken by another class.
    """
    _check_kind(kind)

    def decorate(component: T) -> T:
        other = _components[kind].get(name)
        if other is not None and other.__qualname__ != component.__qualname__:
            raise ValueError(f"{kind} {name!r} is already {other.__module__}.{other.__qualname__}")
        _components[kind][name] = component
        return component

    return decorate


def _load(kind: str) -> None:
    if kind in _loaded:
        return
    _loaded.add(kind)
    package = importlib.import_module(PACKAGES[kind])
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def get(kind: str, name: str) -> Any:
    """The class registered as ``name``; raises ``ValueError`` with the nearest names otherwise."""
    _check_kind(kind)
    _load(kind)
    if name not in _components[kind]:
        near = difflib.get_close_matches(str(name), _components[kind], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"unknown {kind.rstrip('s')} {name!r}{hint} (known: {', '.join(list_names(kind))})"
        )
    return _components[kind][name]


def list_names(kind: str) -> list[str]:
    """Sorted names of the components of a kind: methods, teachers, students, datasets or tasks."""
    _check_kind(kind)
    _load(kind)
    return sorted(_components[kind])


def import_file(name: str) -> None:
    """Imports a module by dotted name or ``.py`` path so that it can register its components."""
    if not name.endswith(".py"):
        importlib.import_module(name)
        return
    path = Path(name).resolve()
    # the whole path: files of one name in two folders are two modules
    module_name = f"pcpt_user_{hashlib.sha1(str(path).encode()).hexdigest()}"
    if module_name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"imports: no such Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before exec: dataclasses look their module up
    spec.loader.exec_module(module)
