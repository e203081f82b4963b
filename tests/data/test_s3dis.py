"""S3DIS: rooms, classes, splits, damaged lines, and the cache."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcpt import registry
from pcpt.data.sources.s3dis import LABELS, S3DIS, S3DISRooms
from tests.data.foreign_scans import write_s3dis


def rooms(root: Path, split: str = "all", **options: Any) -> S3DISRooms:
    return S3DIS(S3DIS.Config(roots=[str(root)], split=split, **options)).open()


def test_registered() -> None:
    assert registry.get("datasets", "s3dis") is S3DIS
    assert len(LABELS) == 13 and LABELS.names[0] == "ceiling" and LABELS.names[12] == "clutter"


def test_a_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clouds = write_s3dis(tmp_path)
    found = rooms(tmp_path)
    assert list(found.names) == ["Area_5_hallway_6"]
    with caplog.at_level(logging.WARNING):
        scene = found.load("Area_5_hallway_6")
    assert "ceiling_1.txt: mended 1 lines, the first is 40" in caplog.text
    everything = np.concatenate([clouds[name] for name in ("ceiling_1", "chair_2", "stairs_1")])
    assert np.allclose(scene.points, everything[:, :3], atol=1e-6)
    assert np.array_equal(scene.colors, everything[:, 3:])
    assert scene.semantic.tolist() == [0] * 40 + [8] * 25 + [12] * 10
    assert scene.instances.tolist() == [0] * 40 + [1] * 25 + [2] * 10
    assert scene.up is not None and scene.up.tolist() == [0, 0, 1]
    low, high = clouds["chair_2"][:, :3].min(0), clouds["chair_2"][:, :3].max(0)
    assert np.allclose(scene.boxes.centers[1], (low + high) / 2, atol=1e-5)
    assert np.allclose(scene.boxes.sizes[1], high - low, atol=1e-5)
    assert scene.boxes.labels.tolist() == [0, 8, 12] and scene.split == "test"


def test_classes_beyond_the_thirteen(tmp_path: Path) -> None:
    write_s3dis(tmp_path)
    folder = tmp_path / "Area_5" / "hallway_6" / "Annotations"
    (folder / "chair_2.txt").rename(folder / "<UNK>_1.txt")
    scene = rooms(tmp_path).load("Area_5_hallway_6")
    assert sorted(set(scene.semantic.tolist())) == [0, 12] and not scene.unknown_labels
    scene = rooms(tmp_path, unknown="ignore").load("Area_5_hallway_6")
    assert sorted(set(scene.semantic.tolist())) == [-1, 0]
    assert scene.unknown_labels == {"<UNK>": 25, "stairs": 10}
    assert len(scene.boxes) == 1


def test_six_folds(tmp_path: Path) -> None:
    for area in range(1, 7):
        write_s3dis(tmp_path, f"Area_{area}/office_10")
        write_s3dis(tmp_path, f"Area_{area}/office_2")
    tested = []
    for area in range(1, 7):
        train = list(rooms(tmp_path, "train", test_area=area).names)
        test = list(rooms(tmp_path, "test", test_area=area).names)
        assert test == [f"Area_{area}_office_2", f"Area_{area}_office_10"]
        assert len(train) == 10 and not set(train) & set(test)
        tested += test
        assert rooms(tmp_path, "train", test_area=area).load(train[0]).split == "train"
    assert sorted(tested) == sorted(rooms(tmp_path).names)
    with pytest.raises(ValueError, match="no room 'x'"):
        rooms(tmp_path).load("x")


def test_lines_that_are_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clouds = write_s3dis(tmp_path)
    path = tmp_path / "Area_5" / "hallway_6" / "Annotations" / "chair_2.txt"
    good = path.read_text().splitlines()
    for line, kind in (
        ("1 2 3 185187 182", "dropped"),
        ("1 2 3 4 5 6 7", "dropped"),
        ("1 2 3 4 5 256", "dropped"),
        ("1 2 3 4 5 -1", "dropped"),
        ("1 2 nan 4 5 6", "dropped"),
        ("1 2 1e39 4 5 6", "dropped"),
        ("1 2 3.4.5 4 5 6", "dropped"),
        ("1 2 3 4 5 6\x00", "mended"),
        ("1 2 3 4\xff5 6", "mended"),
    ):
        path.write_bytes("\n".join([*good[:7], line, *good[7:]]).encode("latin1"))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            scene = rooms(tmp_path).load("Area_5_hallway_6")
        assert f"chair_2.txt: {kind} 1 lines, the first is 8" in caplog.text, line
        assert len(scene.points) == 75 + (kind == "mended")
    path.write_text("\n".join(good * 20 + ["1 2 3 4 5"] * 12))
    with pytest.raises(ValueError, match=r"chair_2\.txt: 12 of 512 lines, .* line 501"):
        rooms(tmp_path).load("Area_5_hallway_6")
    for text in ("", "\n \n", "# no cloud\n", "\x89PNG\r\n\x1a\n" + "\0" * 500):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"chair_2\.txt"):
            rooms(tmp_path).load("Area_5_hallway_6")
    path.write_text("1" * 5_000_000)
    with pytest.raises(ValueError, match="a line is longer"):
        rooms(tmp_path).load("Area_5_hallway_6")
    assert clouds


def test_files_of_other_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_s3dis(tmp_path)
    folder = tmp_path / "Area_5" / "hallway_6" / "Annotations"
    for name in ("wall_3 (1).txt", "Icon.txt", "notes.txt"):
        (folder / name).write_text("not a cloud")
    with caplog.at_level(logging.WARNING):
        assert len(rooms(tmp_path).load("Area_5_hallway_6").points) == 75
    assert "wall_3 (1).txt is not named CLASS_NUMBER.txt" in caplog.text
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"Annotations holds no CLASS_NUMBER\.txt"):
        rooms(tmp_path).load("Area_5_hallway_6")


def test_options(tmp_path: Path) -> None:
    for options, message in (
        ({"test_area": 7}, "test_area is 7"),
        ({"unknown": "x"}, "unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            rooms(tmp_path, **options)
    with pytest.raises(ValueError, match=r"split.*val"):
        rooms(tmp_path, "val")
    with pytest.raises(ValueError, match="no Area_N/ROOM/Annotations of split 'all'"):
        rooms(tmp_path)


def same(one: Any, other: Any) -> bool:
    fields = ("points", "colors", "semantic", "instances")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in fields)


def test_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_s3dis(tmp_path / "data")
    cache = tmp_path / "cache"
    found = rooms(tmp_path / "data", cache=str(cache))
    first = found.load("Area_5_hallway_6")
    (file,) = cache.iterdir()
    assert file.name == "Area_5_hallway_6.safetensors"
    stamp = file.stat().st_mtime_ns
    caplog.clear()
    assert same(first, found.load("Area_5_hallway_6")) and not caplog.records  # nothing parsed
    assert file.stat().st_mtime_ns == stamp
    whole = file.read_bytes()
    for damage in (whole[:-7], whole[:20], b"", whole[:-5] + bytes([whole[-5] ^ 4]) + whole[-4:]):
        file.write_bytes(damage)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert same(first, found.load("Area_5_hallway_6"))
        assert "made anew" in caplog.text
        assert same(first, found.load("Area_5_hallway_6"))
    path = tmp_path / "data" / "Area_5" / "hallway_6" / "Annotations" / "chair_2.txt"
    path.write_text("1 2 3 4 5 6\n")
    changed = found.load("Area_5_hallway_6")
    assert len(changed.points) == 51
    assert same(changed, found.load("Area_5_hallway_6"))
    assert [p.name for p in cache.iterdir()] == [file.name]


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_s3dis(tmp_path / "data")
    (tmp_path / "cache").write_text("a file, not a folder")
    with caplog.at_level(logging.WARNING):
        assert rooms(tmp_path / "data", cache=str(tmp_path / "cache")).load("Area_5_hallway_6")
    assert "was not written" in caplog.text

    def full(*args: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", full)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert rooms(tmp_path / "data", cache=str(tmp_path / "c")).load("Area_5_hallway_6")
    assert "No space left" in caplog.text and not list((tmp_path / "c").iterdir())
