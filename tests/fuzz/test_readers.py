"""Damaged recordings of every foreign format: an error names the file, frames that are whole still
load, nothing hangs, and nothing takes memory out of proportion."""

import random
import resource
import shutil
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pcpt import registry
from pcpt.data.frame import BrokenFrame
from pcpt.data.scene import SceneSet
from tests.data.foreign_scans import (
    sunrgbd_object,
    write_arkitscenes,
    write_open3d_intrinsics,
    write_redwood,
    write_s3dis,
    write_sunrgbd,
    write_transforms,
    write_tum,
)
from tests.data.tiny_scans import HEIGHT, WIDTH, write_folder

SECONDS = 20.0  # a damaged file takes milliseconds; machines stall
CONSTANT = 32 << 20
WORDS = (b"nan", b"-inf", b"1e999", b"-1", b"0", b"9" * 400, b"\0", b"\xff\xfe", b"../../x", b"#")


def _redwood(folder: Path) -> None:
    write_redwood(folder, size=(HEIGHT, WIDTH))
    write_open3d_intrinsics(folder / "camera.json")


def _sunrgbd(folder: Path) -> None:
    for name in ("a", "b", "c"):
        write_sunrgbd(folder / name, objects=[sunrgbd_object("bed", (0, 2, 0), (1, 2, 1), 0.3)])


def _s3dis(folder: Path) -> None:
    for room in ("Area_1/office_1", "Area_2/office_1", "Area_3/office_1"):
        write_s3dis(folder, room)


WRITERS: dict[str, tuple[Callable[[Path], object], dict[str, object]]] = {
    "folder": (write_folder, {}),
    "tum": (write_tum, {"intrinsics": [20.0, 20.0, 11.5, 7.5]}),
    "transforms": (write_transforms, {}),
    "redwood": (_redwood, {"intrinsics": "camera.json"}),
    "arkitscenes": (write_arkitscenes, {}),
    "sunrgbd": (_sunrgbd, {}),
    "sunrgbd_scenes": (_sunrgbd, {}),
    "s3dis": (_s3dis, {"split": "all"}),
}
# One file of each kind. True: it is of one frame or scene alone, the others must not suffer.
FILES: dict[str, dict[str, bool]] = {
    "folder": {"scan.json": False, "rgb/1.png": True},
    "tum": {"rgb.txt": False, "depth.txt": False, "groundtruth.txt": False, "depth/*": True},
    "transforms": {"transforms.json": False, "images/*": True, "depths/*": True},
    "redwood": {"trajectory.log": False, "camera.json": False, "rgb/*": True, "depth/*": True},
    "arkitscenes": {
        "lowres_wide.traj": False,
        "lowres_wide_intrinsics/*": True,
        "lowres_wide/*": True,
        "lowres_depth/*": True,
    },
    "sunrgbd": {
        "a/intrinsics.txt": True,
        "a/extrinsics/2015*": True,
        "a/image/*": True,
        "a/depth_bfx/*": True,
    },
    "sunrgbd_scenes": {"a/annotation3Dfinal/index.json": True, "a/intrinsics.txt": True},
    "s3dis": {"Area_1/office_1/Annotations/chair_2.txt": True},
}


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 30))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def replace_word(data: bytes, rng: random.Random) -> bytes:
    """A number, or whatever stands between blanks and brackets, becomes something else."""
    starts = [i for i in range(1, len(data)) if data[i - 1 : i] in b" \n\t,[:" and data[i] > 32]
    start = rng.choice(starts or [0])
    end = start + 1
    while end < len(data) and data[end : end + 1] not in b" \n\t,]}":
        end += 1
    return data[:start] + rng.choice(WORDS) + data[end:]


def repeat_or_drop_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    lines[place : place + 1] = rng.choice(
        ([], [lines[place]] * 2, [lines[place]] * 200, [b"x y z"])
    )
    return b"\n".join(lines)


def garbage(data: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        (b"", b"\0" * 5000, rng.randbytes(3000), b"[" * 50_000, b'{"frames": ' * 9000, b"[]", b"3")
    )


def absurd_header(data: bytes, rng: random.Random) -> bytes:
    """A PNG that claims to be huge, with a right checksum; other files lose their head."""
    if not data.startswith(b"\x89PNG"):
        return data[rng.randrange(len(data)) :]
    width, height = rng.choice(((65535, 65535), (2**31 - 1, 2**31 - 1), (8000, 8000), (0, 16)))
    head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


MUTATIONS = (truncate, flip_bits, replace_word, repeat_or_drop_lines, garbage, absurd_header)
REPEATS = 3
CASES = [
    (source, file, mutation, seed)
    for source, files in FILES.items()
    for file in files
    for mutation in MUTATIONS
    for seed in range(REPEATS)
]


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 300


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for source, (write, _) in WRITERS.items():
        folders[source] = tmp_path_factory.mktemp("whole") / "recording"
        write(folders[source])
    return folders


def read_all(source: str, root: Path) -> tuple[int, list[str]]:
    """How many frames or scenes load, and the messages of those that do not."""
    component = registry.get("datasets", source)
    opened = component(component.Config(roots=[str(root)], **WRITERS[source][1])).open()
    loads: Iterable[Callable[[], object]]
    if isinstance(opened, SceneSet):
        loads = [lambda name=name: opened.load(name) for name in opened.names]
    else:
        loads = [lambda s=scan, n=name: s.load(n) for scan in opened for name in scan.names]
    whole, messages = 0, []
    for load in loads:
        try:
            load()
            whole += 1
        except BrokenFrame as error:
            messages.append(str(error))
        except ValueError as error:
            if not isinstance(opened, SceneSet) and "8 bits" not in str(error):
                raise
            messages.append(str(error))
    return whole, messages


@pytest.mark.parametrize(
    "source, file, mutation, seed", CASES, ids=lambda v: getattr(v, "__name__", str(v))
)
def test_damaged_file(
    recordings: dict[str, Path],
    tmp_path: Path,
    source: str,
    file: str,
    mutation: Callable[[bytes, random.Random], bytes],
    seed: int,
) -> None:
    root = tmp_path / "recording"
    shutil.copytree(recordings[source], root)
    path = sorted(root.glob(file))[-1]
    count, messages = read_all(source, root)
    assert count >= 3 and not messages
    data = mutation(path.read_bytes(), random.Random(f"{source} {file} {seed}"))
    path.write_bytes(data)
    start = time.monotonic()
    tracemalloc.start()
    try:
        whole, messages = read_all(source, root)
        if FILES[source][file]:
            assert whole >= count - 1, messages
    except (ValueError, FileNotFoundError) as error:
        # a whole recording is refused: for its own files, or depth that is not of 16 bits
        messages = [str(error)]
        assert not FILES[source][file] or "8 bits" in str(error), error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    for message in messages:
        assert root.name in message and len(message) < 4000, message
    assert time.monotonic() - start < SECONDS
    assert peak < 2 * len(data) + CONSTANT


@pytest.mark.parametrize(
    "source, file", [(source, file) for source, files in FILES.items() for file in files]
)
def test_missing_file(recordings: dict[str, Path], tmp_path: Path, source: str, file: str) -> None:
    root = tmp_path / "recording"
    shutil.copytree(recordings[source], root)
    count, _ = read_all(source, root)
    sorted(root.glob(file))[-1].unlink()
    try:
        whole, messages = read_all(source, root)
    except (ValueError, FileNotFoundError) as error:
        assert not FILES[source][file] and "recording" in str(error)
    else:
        assert whole >= count - 1 and all("recording" in message for message in messages)


LARGE = {
    ("tum", "groundtruth.txt"): b"1305031102.1754 0.1 0.2 0.3 0 0 0 1\n",
    ("tum", "rgb.txt"): b"x ",
    ("tum", "depth.txt"): b"# no line of this is read\n",
    ("redwood", "trajectory.log"): b"0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n",
    ("arkitscenes", "lowres_wide.traj"): b"6845.706 0 0 0 0 0 0\n",
    ("arkitscenes", "lowres_wide_intrinsics/*"): b"24 16 20 20 11.5 7.5 ",
    ("sunrgbd", "a/intrinsics.txt"): b"1 0 0\n",
    ("sunrgbd", "a/extrinsics/2015*"): b"1 0 0 ",
    ("s3dis", "Area_1/office_1/Annotations/chair_2.txt"): b"1.5 -2.125 3.25 255 0 17\n",
}


@pytest.mark.parametrize("source, file", LARGE)
def test_a_large_file_takes_twice_its_size_at_most(
    recordings: dict[str, Path], tmp_path: Path, source: str, file: str
) -> None:
    root = tmp_path / "recording"
    shutil.copytree(recordings[source], root)
    path = sorted(root.glob(file))[-1]
    size = 12 << 20
    path.write_bytes(LARGE[source, file] * (size // len(LARGE[source, file])))
    start = time.monotonic()
    tracemalloc.start()
    try:
        read_all(source, root)
    except ValueError as error:
        assert "recording" in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2 * size + CONSTANT
    assert time.monotonic() - start < 3 * SECONDS


def test_decoders_allocate_nothing_absurd(recordings: dict[str, Path], tmp_path: Path) -> None:
    """Memory outside Python's sight: the whole process, over images that claim to be huge."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, (source, file) in enumerate(
        (source, file) for source, files in FILES.items() for file in files
    ):
        root = tmp_path / f"recording{number}"
        shutil.copytree(recordings[source], root)
        path = sorted(root.glob(file))[-1]
        if path.suffix != ".png":
            continue
        for seed in range(4):
            damaged = absurd_header(path.read_bytes(), random.Random(seed))
            path.write_bytes(damaged)
            read_all(source, root)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 100 << 10  # kibibytes
