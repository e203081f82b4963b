"""Frames from tar shards are those of the folders they were packed from."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pcpt.cli import main
from pcpt.config import make_config
from pcpt.data.frame import BrokenFrame, Scan
from pcpt.data.sources.folder import Folder
from pcpt.data.sources.shards import Shards
from pcpt.data.tar_index import LISTING, read_tar_index
from pcpt.engine.checkpoint import checkpoint_path
from pcpt.engine.run import train
from tests.data import tiny_scans
from tests.engine.test_resume import figures


def prepared(folder: Path, *words: str, megabytes: str = "0.008") -> Path:
    """Two scans of 3 and 5 frames, the first with frames held out, in several shards."""
    tiny_scans.write_folder(folder / "in" / "tiny")
    tiny_scans.write_seven_scenes(folder / "in" / "b", num_frames=5)
    out = folder / "out"
    given = ["prepare", "auto", str(folder / "in"), str(out), "--no-doctor", "--shards", megabytes]
    assert main([*given, *words]) == 0
    return out


def of_folders(out: Path) -> list[Scan]:
    return Folder(Folder.Config(roots=[str(out / name) for name in ("b", "tiny")])).open()


def of_shards(out: Path, every: int = 1) -> list[Scan]:
    return Shards(Shards.Config(roots=[str(out / "shards")], every=every)).open()


@pytest.mark.parametrize("words", [(), ("--jpeg", "95")])
@pytest.mark.parametrize("megabytes", ["0.0001", "0.008", "10"])
def test_scans_are_the_same(tmp_path: Path, words: tuple[str, ...], megabytes: str) -> None:
    out = prepared(tmp_path, *words, megabytes=megabytes)
    packed, loose = of_shards(out), of_folders(out)
    assert [scan.name for scan in packed] == ["b", "tiny"]
    for one, other in zip(packed, loose):
        assert (one.names, one.held_out) == (other.names, other.held_out)
        assert one.up is not None and other.up is not None and torch.equal(one.up, other.up)
        for name in other.names:
            first, second = one.load(name), other.load(name)
            assert torch.equal(first.image, second.image)
            assert torch.equal(first.depth, second.depth)
            for kind in ("color_camera", "depth_camera"):
                for field in ("intrinsics", "camera_to_world"):
                    pair = [getattr(getattr(frame, kind), field) for frame in (first, second)]
                    assert torch.equal(*pair)
    num_shards = len(list((out / "shards").glob("*.tar")))
    assert num_shards == {"0.0001": 8, "10": 1}.get(megabytes, num_shards)
    assert packed[1].held_out == {"f2"}
    assert of_shards(out, every=2)[0].names == loose[0].names[::2]


def test_globs_of_prepared_scans_pass_over_their_shards(tmp_path: Path) -> None:
    out = prepared(tmp_path)
    (out / "shards" / ".000009.tar.17.part").write_bytes(b"of a run that was killed")
    scans = Folder(Folder.Config(roots=[str(out / "*")])).open()
    assert [scan.name for scan in scans] == ["b", "tiny"]
    with pytest.raises(FileNotFoundError, match=r"shards.scan\.json does not exist"):
        Folder(Folder.Config(roots=[str(out / "shards")])).open()
    assert main(["prepare", "folder", str(out), str(tmp_path / "again"), "--no-doctor"]) == 0
    (out / "notes").mkdir()
    (out / "notes" / "000000.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"notes.scan\.json does not exist"):
        Folder(Folder.Config(roots=[str(out / "*")])).open()


def test_shards_are_the_same_bytes_every_time_and_whole_ones_are_kept(tmp_path: Path) -> None:
    out = prepared(tmp_path)
    before = {path.name: path.read_bytes() for path in (out / "shards").iterdir()}
    assert len(before) > 2
    first, second, third, *_ = sorted(path for path in (out / "shards").glob("*.tar"))
    kept = first.stat().st_mtime_ns
    second.write_bytes(second.read_bytes()[:-1024])
    flipped = bytearray(third.read_bytes())
    flipped[5000] ^= 1
    third.write_bytes(flipped)
    (out / "shards" / "000099.tar").write_bytes(b"stale")
    words = ["prepare", "auto", str(tmp_path / "in"), str(out), "--no-doctor", "--shards", "0.008"]
    assert main(words) == 0
    assert {path.name: path.read_bytes() for path in (out / "shards").iterdir()} == before
    assert first.stat().st_mtime_ns == kept


def test_a_shard_can_be_read_alone(tmp_path: Path) -> None:
    out = prepared(tmp_path)
    path = sorted((out / "shards").glob("*.tar"))[-1]
    scans = Shards(Shards.Config(roots=[str(path)])).open()
    assert [scan.name for scan in scans] == ["tiny"] and scans[0].load("f2").depth.any()


def test_webdataset_reads_our_shards(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    out = prepared(tmp_path)
    urls = [str(path) for path in sorted((out / "shards").glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [
        *(f"b/{i:06d}" for i in range(5)), *(f"tiny/{i:06d}" for i in range(3)),
    ]  # fmt: skip
    frame = of_folders(out)[0].load("frame-000004")
    sample = samples[1]
    pixels = np.array(Image.open(io.BytesIO(sample["color.png"])))
    assert np.array_equal(pixels, frame.image.permute(1, 2, 0).numpy())
    units = np.array(Image.open(io.BytesIO(sample["depth.png"])))
    assert np.allclose(units / 1000, frame.depth.numpy(), atol=1e-6)
    value = json.loads(sample["json"])
    assert (value["scan"], value["name"], value["place"]) == ("b", "frame-000004", 1)
    assert value["depth"]["camera_to_world"] == frame.depth_camera.camera_to_world.tolist()


def run_config(run: Path, source: dict[str, object], **train_keys: object) -> dict[str, object]:
    return {
        "run": str(run),
        "device": "cpu",
        "method": {"name": "ppkt", "pairs": 64, "calibration_batches": 1},
        "student": {
            "name": "sparse_unet", "planes": [8] * 8, "stem_channels": 8, "out_channels": 8,
            "voxel_size": 0.1,
        },
        "teacher": {"name": "random"},
        "data": {
            "source": source, "image_size": [32, 48], "held_out": 0.2, "shuffle_block": 2,
            "absolute_tolerance": 0.5,
        },
        "train": {"steps": 5, "log_every": 1, "batch_size": 2, "threads": 1, **train_keys},
    }  # fmt: skip


def test_training_from_shards_equals_training_from_folders(tmp_path: Path) -> None:
    out = prepared(tmp_path)
    roots = {
        "folder": [str(out / name) for name in ("b", "tiny")],
        "shards": [str(out / "shards")],
    }
    for name, paths in roots.items():
        train(make_config(run_config(tmp_path / name, {"name": name, "roots": paths})))
    losses = [[line["loss"] for line in figures(tmp_path / name)] for name in roots]
    assert len(losses[0]) == 5 and losses[0] == losses[1]
    assert figures(tmp_path / "folder") == figures(tmp_path / "shards")
    shards: dict[str, object] = {"name": "shards", "roots": roots["shards"]}
    again = make_config(run_config(tmp_path / "again", shards, checkpoint_every=2, workers=1))
    train(again)
    train(again, str(checkpoint_path(tmp_path / "again", 2)))  # as after a kill in the third step
    assert [line["loss"] for line in figures(tmp_path / "again")] == losses[0]


def test_a_truncated_shard_is_refused_by_name_and_byte(tmp_path: Path) -> None:
    out = prepared(tmp_path, megabytes="10")
    (path,) = (out / "shards").glob("*.tar")
    whole = path.read_bytes()
    end = max(member.offset + member.size for member in read_tar_index(path).values())
    for size in range(0, end, 512 * 3 + 100):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"000000\.tar.*byte \d+") as error:
            of_shards(out)
        assert "cut short" in str(error.value)


def test_a_shard_that_shrinks_after_opening_makes_broken_frames(tmp_path: Path) -> None:
    out = prepared(tmp_path, megabytes="10")
    (path,) = (out / "shards").glob("*.tar")
    scan = of_shards(out)[1]
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(BrokenFrame, match=r"000000\.tar.*reach beyond the end"):
        scan.load("f2")
    path.unlink()
    with pytest.raises(BrokenFrame, match=r"000000\.tar: cannot be read"):
        scan.load("f2")


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/../../b", "C:/evil", "..\\evil", "x" * 99 + "/.."]
)
def test_members_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "000000.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ValueError, match=r"000000\.tar.*no path inside"):
        read_tar_index(path)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"x", b"L", b"S"]
)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a")
    info.type, info.linkname = kind, "/etc/passwd"
    path = tmp_path / "000000.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    with pytest.raises(ValueError, match=r"000000\.tar.*'a' at byte 0 is of kind"):
        read_tar_index(path)


def header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def test_sizes_that_lie_and_double_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "000000.tar"
    path.write_bytes(header("a", 8**11 - 1) + bytes(1024))
    with pytest.raises(
        ValueError, match=r"'a' at byte 0 is of 8589934591 bytes, but the file ends"
    ):
        read_tar_index(path)
    path.write_bytes(header("a", 0) * 2 + bytes(1024))
    with pytest.raises(ValueError, match="'a' at byte 512 comes twice"):
        read_tar_index(path)
    damaged = bytearray(header("a", 0))
    damaged[130] ^= 1
    path.write_bytes(damaged + bytes(1024))
    with pytest.raises(ValueError, match=r"header at byte 0 is damaged \(its checksum"):
        read_tar_index(path)


def test_gnu_and_posix_archives_of_long_names_are_read(tmp_path: Path) -> None:
    long = "/".join(["folder" * 5] * 4) + "/000000.json"
    for kind, name in ((tarfile.GNU_FORMAT, "a/b"), (tarfile.USTAR_FORMAT, long)):
        path = tmp_path / f"{kind}.tar"
        with tarfile.open(path, "w", format=kind) as tar:
            info = tarfile.TarInfo("folder")
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
            info = tarfile.TarInfo(name)
            info.size = 5
            tar.addfile(info, io.BytesIO(b"hello"))
        ((found, member),) = read_tar_index(path).items()
        data = path.read_bytes()[member.offset : member.offset + member.size]
        assert (found, data) == (name, b"hello")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version is 2"),
        ({"scans": []}, "scans is"),
        ({"scans": [7]}, r"scans\[0\] is 7"),
        ({"scans": [{"name": "b", "up": [0, 0, 0], "frames": [1]}]}, "up is"),
        ({"scans": [{"name": "b", "up": [], "frames": [{"name": "f", "place": -1}]}]}, "place is"),
        (
            {"scans": [{"name": "b", "up": [], "frames": [{"name": "f", "place": 9}]}]},
            "listed but not in the file",
        ),
        (
            {
                "scans": [
                    {"name": "b", "up": [], "frames": [{"name": "f", "place": i} for i in (0, 1)]}
                ]
            },
            "listed once",
        ),
    ],
)
def test_listings_of_the_wrong_shape_are_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    out = prepared(tmp_path, megabytes="10")
    (path,) = (out / "shards").glob("*.tar")
    rewritten(path, LISTING, change)
    with pytest.raises(ValueError, match=rf"000000\.tar: .*{said}"):
        of_shards(out)


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 3},
        {"color": {}},
        {"depth_scale": 0},
        {"depth_scale": 1e-320},
        {"name": "other"},
        {"depth_scale": "1"},
    ],
)
def test_frames_whose_json_has_the_wrong_shape_are_broken(
    tmp_path: Path, change: dict[str, object]
) -> None:
    out = prepared(tmp_path, megabytes="10")
    (path,) = (out / "shards").glob("*.tar")
    rewritten(path, "b/000001.json", change)
    scan = of_shards(out)[0]
    with pytest.raises(BrokenFrame, match=r"b/000001 of .*000000\.tar"):
        scan.load("frame-000004")
    assert scan.load("frame-000000").depth.any()


def rewritten(path: Path, name: str, change: dict[str, object]) -> None:
    """The archive with keys of one member's JSON changed."""
    with tarfile.open(path) as tar:
        members = [(info, tar.extractfile(info)) for info in tar]
        contents = {info.name: file.read() for info, file in members if file is not None}
    contents[name] = json.dumps(json.loads(contents[name]) | change).encode()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for each, data in contents.items():
            info = tarfile.TarInfo(each)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_a_tar_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "000000.tar"
    path.write_bytes(header("a", 0) + bytes(1024))
    with pytest.raises(ValueError, match="no shard of pcpt"):
        Shards(Shards.Config(roots=[str(path)])).open()
