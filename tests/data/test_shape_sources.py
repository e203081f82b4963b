"""Every source of single shapes, on files in its own format written here."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from pcpt import registry
from pcpt.data.shape import Shape, ShapeSet
from pcpt.data.shape_dataset import Shapes
from pcpt.data.shape_views import ShapeViews, ViewedDataConfig
from tests.data.shape_writers import (
    CUBE,
    clouds,
    off_text,
    write_modelnet_h5,
    write_modelnet_off,
    write_modelnet_text,
    write_npz_singles,
    write_npz_split,
    write_scanobjectnn,
    write_shapenet55,
    write_shapenet_part,
)
from tests.data.tiny_scans import mark_text_files

SOURCES: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "modelnet_h5": (write_modelnet_h5, {}),
    "modelnet_text": (write_modelnet_text, {}),
    "modelnet_off": (write_modelnet_off, {"surface_points": 64}),
    "shapenet55": (write_shapenet55, {}),
    "shapenet_part": (write_shapenet_part, {}),
    "scanobjectnn": (write_scanobjectnn, {}),
    "shape_npz": (write_npz_split, {}),
}
SHARED = Path(__file__).parents[2].parent / "shared/data/objects"


def opened(source: str, root: Path, **options: Any) -> ShapeSet:
    component = registry.get("datasets", source)
    return component(component.Config(root=str(root), **options)).open()


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_holds_the_contract(source: str, tmp_path: Path) -> None:
    write, options = SOURCES[source]
    shapes = opened(source, write(tmp_path / "set"), **options)
    assert len(shapes) == len(set(shapes.names)) > 0
    for name in shapes.names:
        shape = shapes.load(name)
        assert shape.name == name
        assert 0 <= shape.label < len(shapes.classes)
        assert shape.label == shapes.label_of(name)
        assert (shape.normals is not None) == shapes.has_normals
        assert torch.equal(shape.points, shapes.load(name).points)
    for call in (shapes.load, shapes.label_of, shapes.mesh):
        with pytest.raises(ValueError, match=r"no (shape|meshes)"):
            call("nobody")


@pytest.mark.parametrize("source", SOURCES)
def test_text_files_may_begin_with_a_byte_order_mark(source: str, tmp_path: Path) -> None:
    write, options = SOURCES[source]
    plain = opened(source, write(tmp_path / "plain"), **options)
    mark_text_files(write(tmp_path / "marked"))
    marked = opened(source, tmp_path / "marked", **options)
    assert marked.names == plain.names and marked.classes == plain.classes
    for name in plain.names:
        assert torch.equal(marked.load(name).points, plain.load(name).points)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_names_a_root_that_is_none(source: str, tmp_path: Path) -> None:
    for root in ("", str(tmp_path / "nowhere")):
        component = registry.get("datasets", source)
        with pytest.raises(FileNotFoundError, match=rf"{source}: root is .*no folder"):
            component(component.Config(root=root)).open()


def test_modelnet_h5(tmp_path: Path) -> None:
    root = write_modelnet_h5(tmp_path / "a")
    train, test = opened("modelnet_h5", root), opened("modelnet_h5", root, split="test")
    assert (len(train), len(test)) == (9, 3)
    assert train.classes == ("chair", "table", "night_stand") and train.has_normals
    shape = train.load("ply_data_train1/0002")
    assert shape.label == 2
    np.testing.assert_array_equal(shape.points.numpy(), clouds(4, 16, seed=4)[2])
    assert shape.normals is not None and shape.normals.norm(dim=1).sub(1).abs().max() < 1e-5

    bare = opened("modelnet_h5", write_modelnet_h5(tmp_path / "b", normals=False, lists=False))
    assert len(bare) == 9 and not bare.has_normals
    with pytest.raises(FileNotFoundError, match=r"has no ply_data_train\*\.h5"):
        (tmp_path / "c").mkdir()
        (tmp_path / "c/shape_names.txt").write_text("chair\n")
        opened("modelnet_h5", tmp_path / "c")


def _with(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with h5py.File(path, "a") as file:
            change(file)

    return edit


def _delete(file: h5py.File) -> None:
    del file["label"]


def _label(file: h5py.File) -> None:
    file["label"][1] = 7


def _fewer(file: h5py.File) -> None:
    del file["label"]
    file["label"] = np.zeros((2, 1), "u1")


def _text(file: h5py.File) -> None:
    del file["data"]
    file["data"] = np.full((5, 16, 3), b"x")


def _flat(file: h5py.File) -> None:
    del file["data"]
    file["data"] = np.zeros((5, 48), "f4")


def _group(file: h5py.File) -> None:
    del file["data"]
    file.create_group("data")


def _soft(file: h5py.File) -> None:
    del file["data"]
    file["data"] = h5py.SoftLink("/label")


def _away(file: h5py.File) -> None:
    del file["data"]
    file["data"] = h5py.ExternalLink("ply_data_test0.h5", "data")


def _external(file: h5py.File) -> None:
    del file["data"]
    file.create_dataset("data", (5, 16, 3), "f4", external=[("/etc/passwd", 0, 960)])


def _huge(file: h5py.File) -> None:
    del file["data"]
    file.create_dataset("data", (1 << 20, 1 << 12, 3), "f4", chunks=(1, 16, 3))


H5_EDITS: list[tuple[Callable[[Path], None], str]] = [
    (_with(_delete), "holds no 'label'"),
    (_with(_label), "label 7 of shape ply_data_train0/0001"),
    (_with(_fewer), r"points is \(5, 16, 3\), expected \(2, 16, 3\)"),
    (_with(_text), "expected 3 dimensions of kind f"),
    (_with(_flat), "expected 3 dimensions of kind f"),
    (_with(_group), "is a group"),
    (_with(_soft), "is a link"),
    (_with(_away), "is a link"),
    (_with(_external), "in other files"),
    (_with(_huge), "0 bytes are stored"),
    (lambda path: path.write_bytes(b"OFF"), "no HDF5 file"),
    (lambda path: path.write_bytes(path.read_bytes()[:700]), "no HDF5 file"),
]


@pytest.mark.parametrize("edit, message", H5_EDITS)
def test_mutated_h5(tmp_path: Path, edit: Callable[[Path], None], message: str) -> None:
    root = write_modelnet_h5(tmp_path / "a")
    edit(root / "ply_data_train0.h5")
    with pytest.raises(ValueError, match=message) as error:
        opened("modelnet_h5", root)
    assert "ply_data_train0.h5" in str(error.value)


def test_nan_in_h5_names_file_and_row(tmp_path: Path) -> None:
    root = write_modelnet_h5(tmp_path / "a")
    with h5py.File(root / "ply_data_train0.h5", "a") as file:
        file["data"][3, 5, 1] = np.nan
    shapes = opened("modelnet_h5", root)
    shapes.load("ply_data_train0/0002")
    with pytest.raises(ValueError, match=r"ply_data_train0\.h5 row 3: .*at row 5 .*not finite"):
        shapes.load("ply_data_train0/0003")


def test_missing_h5py_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_modelnet_h5(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pcpt\[objects\]'"):
        opened("modelnet_h5", root)


def test_scanobjectnn(tmp_path: Path) -> None:
    root = write_scanobjectnn(tmp_path / "h5")
    hardest = opened("scanobjectnn", root)
    assert len(hardest) == 6 and len(hardest.classes) == 15
    assert hardest.load(hardest.names[2]).label == 4
    names: set[str] = set()
    for variant, background in (("obj_bg", True), ("obj_only", True), ("pb_t50_rs", False)):
        shapes = opened("scanobjectnn", root, variant=variant, background=background, split="test")
        assert len(shapes) == 3
        names.update(shapes.names)
    assert len(names) == 9
    with pytest.raises(FileNotFoundError, match=r"training_objectdataset_augmented25rot\.h5"):
        opened("scanobjectnn", root, variant="pb_t25_r")
    with pytest.raises(ValueError, match=r"variant is .pb_t50_rr.*did you mean"):
        opened("scanobjectnn", root, variant="pb_t50_rr")


def test_modelnet_text(tmp_path: Path) -> None:
    root = write_modelnet_text(tmp_path / "text")
    shapes = opened("modelnet_text", root)
    assert list(shapes.names) == ["chair_0001", "chair_0002", "night_stand_0001"]
    assert shapes.load("night_stand_0001").label == 1
    np.testing.assert_allclose(
        shapes.load("chair_0001").points.numpy(), clouds(1, 12)[0], atol=1e-6
    )
    with (root / "modelnet40_train.txt").open("a") as file:
        file.write("desk_0001\n")
    with pytest.raises(ValueError, match="desk_0001, whose class 'desk' is none of the 2"):
        opened("modelnet_text", root)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda text: text.replace("\n", "\nnan,0,0,0,0,1\n", 1), "row 2: 'nan,0.*not finite"),
        (lambda text: text.replace("\n", "\n1e39,0,0,0,0,1\n", 1), "row 2.*not finite"),
        (lambda text: text + "0,0,0\n", "cut short or damaged"),
        (lambda text: text.replace(",", " "), "cut short or damaged"),
        (lambda text: "\n".join(line.rpartition(",")[0] for line in text.split()), "of 5 numbers"),
        (lambda text: "\n", "is empty"),
        (lambda text: "\0" + text, "cut short or damaged"),
    ],
)
def test_mutated_text(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    path = write_modelnet_text(tmp_path / "text") / "chair/chair_0001.txt"
    path.write_text(change(path.read_text()))
    shapes = opened("modelnet_text", tmp_path / "text")
    with pytest.raises(ValueError, match=message) as error:
        shapes.load("chair_0001")
    assert "chair_0001.txt" in str(error.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"chair_0001\.txt does not exist"):
        shapes.load("chair_0001")


def test_modelnet_off(tmp_path: Path) -> None:
    root = write_modelnet_off(tmp_path / "off")
    shapes = opened("modelnet_off", root, surface_points=600)
    assert shapes.classes == ("bed", "chair") and len(shapes) == 6
    for name in shapes.names[:3]:  # plain, glued header, polygons
        vertices, faces = shapes.mesh(name)
        np.testing.assert_array_equal(vertices.numpy(), CUBE)
        assert faces.shape == (12, 3)
        shape = shapes.load(name)
        assert shape.points.shape == (600, 3) and shape.normals is not None
        on_faces = (shape.points.abs() - 1).abs() < 1e-6
        assert on_faces.any(1).all() and shape.points.abs().max() < 1 + 1e-6
        # normals point along the axis of their face, outwards
        assert ((shape.points * shape.normals).sum(1) - 1).abs().max() < 1e-6
    assert not torch.equal(shapes.load(shapes.names[0]).points, shapes.load(shapes.names[1]).points)
    other = opened("modelnet_off", root, surface_points=600, seed=1)
    assert not torch.equal(other.load(other.names[0]).points, shapes.load(shapes.names[0]).points)


def test_a_damaged_mesh_does_not_make_depth_of_the_others(tmp_path: Path) -> None:
    root = write_modelnet_off(tmp_path / "off")
    source = registry.get("datasets", "modelnet_off").Config(root=str(root), surface_points=50)
    config = ViewedDataConfig(source=source, val_fraction=0.0)
    shapes, views = Shapes(config, "train", 0, training=False), ShapeViews(config.views)
    assert shapes.shape_set.has_meshes and len(shapes.names) > 1
    damaged, other = shapes.names[0], shapes.names[-1]
    path = next(root.rglob(f"{damaged}.off"))
    path.write_text(path.read_text()[:40])
    assert views.surface(shapes, other)[1] is not None
    with pytest.raises(ValueError, match=rf"{damaged}\.off"):
        views.surface(shapes, damaged)
    clouds = opened("modelnet_text", write_modelnet_text(tmp_path / "text"))
    assert not clouds.has_meshes


def test_cache_of_drawn_points(tmp_path: Path) -> None:
    root, cache = write_modelnet_off(tmp_path / "off"), tmp_path / "cache"
    plain = opened("modelnet_off", root, surface_points=40)
    for _ in range(2):
        cached = opened("modelnet_off", root, surface_points=40, cache=str(cache))
        for name in cached.names:
            assert torch.equal(cached.load(name).points, plain.load(name).points)
    assert len(list(cache.iterdir())) == 6
    path = root / "bed/train/bed_train_0000.off"
    path.write_text(path.read_text().replace("-1 -1 -1", "-2 -2 -2"))
    moved = opened("modelnet_off", root, surface_points=40, cache=str(cache))
    assert moved.load("bed_train_0000").points.min() < -1.01


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("OFF", "PLY", "does not begin with OFF"),
        ("8 12 0", "8 13 0", "cut short or damaged"),
        ("8 12 0", "8 999999999999 0", "cut short or damaged"),
        ("8 12 0", "-8 12 0", "cut short or damaged"),
        ("8 12 0", "8 x 0", "expected the numbers of vertices"),
        ("-1 -1 -1", "-1 -1 nan", "not finite"),
        ("-1 -1 -1", "-1 -1", "cut short or damaged"),
        ("3 0 1 3", "3 0 1 8", "a face has vertex 8"),
        ("3 0 1 3", "3 0 1 -1", "a face has vertex -1"),
        ("3 0 1 3", "2 0 1", "is no face"),
        ("3 0 1 3", "3 0 1", "is no face"),
        ("3 0 1 3", "9999999999 0 1 3", "is no face"),
        ("3 0 1 3", "3 0 1 " + "9" * 40, "is no face"),
    ],
)
def test_mutated_off(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_modelnet_off(tmp_path / "off") / "bed/train/bed_train_0000.off"
    assert old in off_text()
    path.write_text(off_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as error:
        opened("modelnet_off", tmp_path / "off").load("bed_train_0000")
    assert path.name in str(error.value)


def test_off_with_comments_colours_and_no_area(tmp_path: Path) -> None:
    path = write_modelnet_off(tmp_path / "off") / "bed/train/bed_train_0000.off"
    shapes = opened("modelnet_off", tmp_path / "off", surface_points=8)
    plain = shapes.load("bed_train_0000").points
    text = off_text().replace("3 0 1 3", "3 0 1 3 0.5 0.5 0.5 # red", 1)
    path.write_text(text.replace("OFF", "# by hand\nOFF", 1).replace("\n", "\n\n"))
    assert torch.equal(shapes.load("bed_train_0000").points, plain)
    path.write_text("OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n")
    with pytest.raises(ValueError, match=r"bed_train_0000\.off.* has the area 0"):
        shapes.load("bed_train_0000")


def test_shapenet55(tmp_path: Path) -> None:
    root = write_shapenet55(tmp_path / "55")
    train = opened("shapenet55", root)
    assert [train.classes[train.load(name).label] for name in train.names] == ["airplane", "chair"]
    assert len(opened("shapenet55", root, split="all")) == 3
    assert len(train.classes) == 55
    path = root / "ShapeNet-55/train.txt"
    path.write_text("../../etc/passwd.npy\n")
    with pytest.raises(ValueError, match="is no scan name"):
        opened("shapenet55", root)
    path.write_text("00000000-aa.npy\n")
    with pytest.raises(ValueError, match="class '00000000' is none of the 55"):
        opened("shapenet55", root)


def _pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def _lie(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"(32, 3)", b"(9e9, 3)".ljust(7)).replace(b"(32, 3)", b"(99, 3)"))


def _claims_more(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"(32, 3), }    ", b"(9999999, 3), }"[:14]))


@pytest.mark.parametrize(
    "edit, message",
    [
        (_pickled, "is object"),
        (_lie, "readable NumPy header|of another length|header says"),
        (_claims_more, "readable NumPy header|header says"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "its header says"),
        (lambda path: path.write_bytes(path.read_bytes() + b"12345"), "of another length"),
        (lambda path: path.write_bytes(b"\x93NUMPY"), "no readable NumPy header"),
        (lambda path: path.write_bytes(b""), "no readable NumPy header"),
        (lambda path: np.save(path, np.zeros((4, 2), "f4")), r"is \(4, 2\), expected \(N, 3\)"),
        (lambda path: np.save(path, np.zeros((4, 3), "i4")), "of kind f"),
        (lambda path: np.save(path, np.zeros((0, 3), "f4")), "has no points"),
        (lambda path: np.save(path, np.full((4, 3), np.inf)), "not finite"),
    ],
)
def test_mutated_npy(tmp_path: Path, edit: Callable[[Path], None], message: str) -> None:
    path = write_shapenet55(tmp_path / "55") / "shapenet_pc/02691156-1a04.npy"
    edit(path)
    with pytest.raises(ValueError, match=message) as error:
        opened("shapenet55", tmp_path / "55").load("02691156-1a04")
    assert path.name in str(error.value)


def test_shapenet_part(tmp_path: Path) -> None:
    root = write_shapenet_part(tmp_path / "part")
    shapes = opened("shapenet_part", root)
    assert len(shapes.part_names) == 50 and shapes.parts_of_class[2] == (6, 7)
    assert shapes.parts_of_class[-1] == (47, 48, 49)
    cap = shapes.load("02954340/c1")
    assert shapes.classes[cap.label] == "Cap"
    assert cap.parts is not None and set(cap.parts.tolist()) == {6, 7}
    assert len(opened("shapenet_part", root, split="trainval")) == 3

    path = root / "02954340/c1.txt"
    whole = path.read_text()
    path.write_text(whole.replace(" 6.000000", " 8.000000", 1))
    with pytest.raises(
        ValueError, match=r"c1\.txt: 1 of 12 points have part 8, but class Cap .*6, 7"
    ):
        shapes.load("02954340/c1")
    path.write_text(whole.replace(" 6.000000", " 6.500000", 1))
    with pytest.raises(ValueError, match=r"c1\.txt: the last column"):
        shapes.load("02954340/c1")
    lists = root / "train_test_split/shuffled_train_file_list.json"
    for text in (
        '["shape_data/02954340/../x"]',
        "[1]",
        '["c1"]',
        "{}",
        "[]",
        '["shape_data/0/c1"]',
    ):
        lists.write_text(text)
        with pytest.raises(ValueError, match="shuffled_train_file_list"):
            opened("shapenet_part", root)
    (root / "synsetoffset2category.txt").write_text("Plane 02691156\n")
    with pytest.raises(ValueError, match="line 1: 'Plane 02691156', expected a class"):
        opened("shapenet_part", root)


def test_npz_of_a_split(tmp_path: Path) -> None:
    shapes = opened("shape_npz", write_npz_split(tmp_path / "a"))
    assert list(shapes.names)[1] == "chair_0001" and shapes.load("chair_0001").label == 1
    assert shapes.load("chair_0001").parts is None

    part = np.tile(np.arange(16, dtype="u1") % 2, (4, 1))
    root = write_npz_split(tmp_path / "b", part=part)
    shapes = opened("shape_npz", root, num_parts=[2, 3])
    assert shapes.part_names == ("bathtub/0", "bathtub/1", "chair/0", "chair/1", "chair/2")
    parts = shapes.load("chair_0001").parts
    assert parts is not None and set(parts.tolist()) == {2, 3}
    shapes = opened("shape_npz", root, num_parts=[1, 3])
    shapes.load("chair_0001")
    with pytest.raises(ValueError, match=r"train\.npz row 0: 8 of 16 points have part 1.*bathtub"):
        shapes.load("bathtub_0001")
    # as the file counts them: within the class
    root = write_npz_split(tmp_path / "c", part=part + 1)
    with pytest.raises(ValueError, match=r"have part 2, but class chair has the parts 0, 1$"):
        opened("shape_npz", root, num_parts=[3, 2]).load("chair_0001")
    with pytest.raises(ValueError, match=r"have part 1, but class chair has no parts$"):
        opened("shape_npz", root, num_parts=[3, 0]).load("chair_0001")
    np.savez(root / "single.npz", points=np.eye(3), part=[0, 1, 2], label=1)
    shapes = opened("shape_npz", root, num_parts=[3, 2], files="single.npz")
    with pytest.raises(ValueError, match=r"have part 2, but class chair has the parts 0, 1$"):
        shapes.load("single")
    with pytest.raises(ValueError, match="num_parts names 3 numbers"):
        opened("shape_npz", root, num_parts=[1, 2, 3])


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"label": np.array([0, 1, 1, 5], "u1")}, "label 5 of shape bathtub_0002"),
        ({"label": np.array([0, 1], "u1")}, "expected"),
        ({"label": np.array([0.0, 1, 1, 0])}, "of kind iu"),
        ({"points": np.zeros((4, 16), "f4")}, "expected 3 dimensions"),
        ({"points": np.zeros((4, 16, 2), "f4")}, r"expected \(4, 16, 3\)"),
        ({"normals": np.zeros((4, 15, 3), "f4")}, r"normals is \(4, 15, 3\)"),
        ({"name": np.array(["a", "b", "b", "c"])}, "shape 'b' is in .* already"),
        ({"name": np.array(["a", "b", None, "c"], dtype=object)}, "is object"),
    ],
)
def test_mutated_npz(tmp_path: Path, changed: dict[str, np.ndarray], message: str) -> None:
    root = write_npz_split(tmp_path / "a", **changed)
    with pytest.raises(ValueError, match=message) as error:
        opened("shape_npz", root)
    assert "train.npz" in str(error.value)


def test_npz_cut_short(tmp_path: Path) -> None:
    root = write_npz_split(tmp_path / "a")
    path = root / "train.npz"
    whole = path.read_bytes()
    for end in (0, 10, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"train\.npz"):
            opened("shape_npz", root)


def test_npz_of_single_shapes(tmp_path: Path) -> None:
    root = write_npz_singles(tmp_path / "cap")
    options = {"classes": ["cap"], "num_parts": [2]}
    shapes = opened("shape_npz", root, files="cap_0[01].npz", **options)
    assert list(shapes.names) == ["cap_00", "cap_01"] and shapes.has_normals
    assert shapes.load("cap_01").points.shape == (11, 3)
    with pytest.raises(FileNotFoundError, match=r"has no file hat_\*"):
        opened("shape_npz", root, files="hat_*", **options)
    with pytest.raises(FileNotFoundError, match=r"classes\.txt"):
        opened("shape_npz", root, files="cap_*.npz")
    (root / "below").mkdir()
    for pattern in (f"{root}/*.npz", "../*/*.npz", "below/../../cap/*.npz", "."):
        with pytest.raises(ValueError, match=r"data\.source\.files is .*, expected .* below root"):
            opened("shape_npz", root, files=pattern, **options)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_shared_shapes() -> None:
    train = opened("shape_npz", SHARED / "modelnet10")
    test = opened("shape_npz", SHARED / "modelnet10", split="test")
    assert (len(train), len(test), len(train.classes)) == (2394, 454, 10)
    assert not set(train.names) & set(test.names)
    assert test.load("chair_0890").label == 2 if "chair_0890" in test.names else True
    for name in test.names[::50]:
        assert name.startswith(test.classes[test.load(name).label])
    caps = opened(
        "shape_npz", SHARED / "shapenetpart_cap", files="cap_*.npz", classes=["Cap"], num_parts=[2]
    )
    assert len(caps) == 11
    cap = caps.load("cap_00")
    assert cap.parts is not None and set(cap.parts.tolist()) == {0, 1}


def test_shape_refuses_what_it_must() -> None:
    points = torch.zeros(2, 3)
    for arguments, message in (
        ({"points": torch.zeros(0, 3)}, "no points"),
        ({"points": torch.zeros(2, 3, dtype=torch.float64)}, "float64"),
        ({"points": torch.zeros(2, 2)}, r"expected torch.float32 \(2, 3\)"),
        ({"points": points, "normals": torch.zeros(3, 3)}, "normals"),
        ({"points": points, "parts": torch.zeros(2)}, "parts"),
        ({"points": points, "label": -2}, "label is -2"),
        ({"points": points, "normals": torch.full((2, 3), torch.nan)}, "not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            Shape("bad", **arguments)  # type: ignore[arg-type]
