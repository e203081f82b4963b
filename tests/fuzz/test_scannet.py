"""Damaged label files of ScanNet: each is read or refused by name, soon, and in little memory."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pcpt import registry
from tests.data.scannet_files import NAME, write_labelled_scene
from tests.fuzz.bounded import assert_all_pass, damaged, read_all

FILES = {
    "mesh": f"{NAME}_vh_clean_2.ply",
    "labels": f"{NAME}_vh_clean_2.labels.ply",
    "segments": f"{NAME}_vh_clean_2.0.010000.segs.json",
    "aggregation": f"{NAME}.aggregation.json",
    "description": f"{NAME}.txt",
    "table": "../scannetv2-labels.combined.tsv",
}
NUM_DAMAGED = 12  # of each file
STRANGE = [
    None,
    True,
    -1,
    1e308,
    10**30,
    "",
    "../../etc/passwd",
    [],
    {},
    [[]],
    {"a": {}},
    "x" * 9999,
]


def read(root: Path) -> None:
    """Reads the one scene below root in both ways."""
    component = registry.get("datasets", "scannet_scenes")
    for labels_from in ("aggregation", "labels_ply"):
        config = component.Config(root=str(root), labels_from=labels_from, label_set="nyu40")
        component(config).open().load(NAME)


def size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files(tmp_path: Path, kind: str) -> None:
    roots = []
    for seed in range(NUM_DAMAGED):
        roots.append(tmp_path / f"root{seed}")
        file = write_labelled_scene(roots[-1]) / FILES[kind]
        file.write_bytes(damaged(file.read_bytes(), seed))
    assert_all_pass(read_all(roots, read, size), roots, refused=1)


def strangers(value: Any) -> list[Any]:
    """Copies of a JSON value in which one part, at any depth, is something else."""
    found = [other for other in STRANGE if other != value]
    if isinstance(value, dict):
        for key in value:
            found += [{**value, key: other} for other in strangers(value[key])]
            found.append({other: value[other] for other in value if other != key})
    if isinstance(value, list):
        for index in range(len(value)):
            found += [
                [*value[:index], other, *value[index + 1 :]] for other in strangers(value[index])
            ]
    return found


@pytest.mark.parametrize("kind", ["segments", "aggregation"])
def test_json_of_another_shape(tmp_path: Path, kind: str) -> None:
    file = write_labelled_scene(tmp_path / "whole") / FILES[kind]
    shapes = strangers(json.loads(file.read_text()))
    shapes = random.Random(0).sample(shapes, 60)
    roots = []
    for number, shape in enumerate(shapes):
        roots.append(tmp_path / f"root{number}")
        (write_labelled_scene(roots[-1]) / FILES[kind]).write_text(json.dumps(shape))
    assert_all_pass(read_all(roots, read, size), roots, refused=25)
