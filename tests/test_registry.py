"""Names of components: kinds, clashes, near misses, files of one's own."""

from pathlib import Path

import pytest

import pcpt
from pcpt import registry


@pytest.mark.parametrize("kind", ["methods", "teachers", "students", "datasets", "tasks"])
def test_every_kind_can_be_listed(kind: str) -> None:
    names = pcpt.list(kind)
    assert names == sorted(names)
    for name in names:
        assert registry.get(kind, name).Config().name == name


def test_built_in_components_are_found() -> None:
    assert "ppkt" in pcpt.list("methods")
    assert "sparse_unet" in pcpt.list("students")
    assert {"folder", "seven_scenes", "hololens", "scannet_frames"} <= set(pcpt.list("datasets"))


def test_names_are_unique_per_kind() -> None:
    class First: ...

    class Second: ...

    registry.register("tasks", "registry_taken")(First)
    registry.register("tasks", "registry_taken")(First)  # a module read twice is no clash
    registry.register("methods", "registry_taken")(Second)
    with pytest.raises(ValueError, match=r"'registry_taken' is already .*First"):
        registry.register("tasks", "registry_taken")(Second)
    for kind in ("tasks", "methods"):
        registry._components[kind].pop("registry_taken")


def test_near_misses() -> None:
    with pytest.raises(ValueError, match=r"unknown method 'ppk'; did you mean 'ppkt'\? \(known: "):
        registry.get("methods", "ppk")
    for call in (registry.list_names, registry.register):
        with pytest.raises(ValueError, match=r"unknown kind 'losses'; one of methods"):
            call("losses", *(["x"] if call is registry.register else []))


def test_import_file(tmp_path: Path) -> None:
    path = tmp_path / "registry_mine.py"
    path.write_text("import pcpt.registry as r\nr.marked = getattr(r, 'marked', 0) + 1\n")
    registry.import_file(str(path))
    registry.import_file(str(path))
    assert vars(registry).pop("marked") == 1
    with pytest.raises(ValueError, match=r"no such Python file: .*absent\.py"):
        registry.import_file(str(tmp_path / "absent.py"))
