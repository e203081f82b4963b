"""Scans are told apart by name and fingerprint; doubts are reported as such."""

from pathlib import Path

import pytest

from pcpt.data.scan_identity import Overlap, find_overlap, identities_hash, scan_identity


def test_identity_is_name_and_fingerprint_of_the_meta_file(tmp_path: Path) -> None:
    one, other = tmp_path / "seed0" / "scene0000_00", tmp_path / "seed1" / "scene0000_00"
    for folder, text in ((one, "fx_color = 1"), (other, "fx_color = 2")):
        folder.mkdir(parents=True)
        (folder / "scene0000_00.txt").write_text(text)
    first, second = (scan_identity("scene0000_00", folder) for folder in (one, other))
    name, _, fingerprint = first.partition("@")
    assert name == "scene0000_00" and len(fingerprint) == 16
    assert first != second
    (other / "scene0000_00.txt").write_text("fx_color = 1")
    assert scan_identity("scene0000_00", other) == first  # wherever it lies
    assert scan_identity("seed1_scene0000_00", other) == first  # and however sources tell it apart
    assert scan_identity("scene0000_00", tmp_path) == "scene0000_00"
    assert scan_identity("office") == "office"


@pytest.mark.parametrize(
    ("seen", "scored", "expected"),
    [
        ([], ["a"], Overlap("no")),
        (["a@1", "b@2"], ["c@3"], Overlap("no")),
        (["a@1"], ["a@2"], Overlap("no")),  # rooms of two seeds
        (["a@1", "b@2"], ["b@2", "c@3"], Overlap("yes", ("b@2",))),
        (["a"], ["a"], Overlap("yes", ("a",))),  # no fingerprint on either side
        (["a@1"], ["a"], Overlap("possible", ("a",))),
        (["a"], ["a@1"], Overlap("possible", ("a@1",))),
        (["a", "a@1"], ["a@1"], Overlap("yes", ("a@1",))),
        (["a", "b@2"], ["a@1", "b@2"], Overlap("yes", ("b@2",))),  # the worse verdict
        (["scene0001_00@1"], ["scene0001_01@2"], Overlap("possible", ("scene0001_01@2",))),
        (["scene0001_00@1"], ["scene0001_00@2"], Overlap("no")),
        (["scene0001_00"], ["scene0002_00"], Overlap("no")),
    ],
)
def test_overlap(seen: list[str], scored: list[str], expected: Overlap) -> None:
    assert find_overlap(seen, scored) == expected


def test_hash_is_of_the_set() -> None:
    assert identities_hash(["b", "a"]) == identities_hash(["a", "b", "a"])
    assert identities_hash(["a"]) != identities_hash(["a@1"])
    assert len(identities_hash([])) == 64
