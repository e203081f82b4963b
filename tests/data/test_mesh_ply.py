"""Meshes with faces, normals and labels as PLY; plyfile is the independent writer and reader."""

import time
import tracemalloc
from pathlib import Path

import numpy as np
import plyfile
import pytest

from pcpt.data.mesh import vertex_normals
from pcpt.data.ply import read_mesh, read_ply, write_ply
from pcpt.data.ply_format import CHUNK_LINES

KINDS = [(False, "<"), (False, ">"), (True, "=")]


def arrays(num_points: int = 7, num_faces: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "points": random.normal(size=(num_points, 3)).astype(np.float32),
        "colors": random.integers(0, 256, (num_points, 3)).astype(np.uint8),
        "normals": random.normal(size=(num_points, 3)).astype(np.float32),
        "labels": random.integers(0, 41, num_points),
        "faces": random.integers(0, max(num_points, 1), (num_faces, 3)),
    }


def write_scannet_mesh(
    path: Path,
    data: dict[str, np.ndarray],
    text: bool = False,
    byte_order: str = "<",
    face_name: str = "vertex_indices",
    corners: int = 3,
    swap: bool = False,
    stray: bool = False,
) -> Path:
    """With the properties of ``*_vh_clean_2.labels.ply``, alpha included, and normals."""
    columns = [(name, "f4", data["points"][:, i]) for i, name in enumerate("xyz")]
    columns += [(n, "f4", data["normals"][:, i]) for i, n in enumerate(("nx", "ny", "nz"))]
    names = ("red", "green", "blue")
    columns += [(name, "u1", data["colors"][:, i]) for i, name in enumerate(names)]
    columns += [("alpha", "u1", np.full(len(data["points"]), 255))]
    columns += [("label", "u2", data["labels"])]
    vertices = np.empty(len(data["points"]), [(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        vertices[name] = values
    lists = np.empty(len(data["faces"]), [(face_name, object), ("flags", "u1")])
    lists["flags"] = 0
    for row, face in enumerate(data["faces"]):
        length = 4 if stray and row == 3 else corners
        lists[face_name][row] = np.resize(face, length).astype("i4")
    elements = [
        plyfile.PlyElement.describe(vertices, "vertex"),
        plyfile.PlyElement.describe(lists, "face"),
    ]
    if swap:
        elements.reverse()
    plyfile.PlyData(elements, text=text, byte_order=byte_order).write(str(path))
    return path


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("text, byte_order", KINDS)
def test_a_labelled_mesh(tmp_path: Path, text: bool, byte_order: str, swap: bool) -> None:
    data = arrays()
    path = write_scannet_mesh(tmp_path / "a.ply", data, text, byte_order, swap=swap)
    mesh = read_mesh(path)
    assert mesh.colors is not None and mesh.normals is not None
    assert mesh.labels is not None and mesh.faces is not None
    tolerance = 1e-6 if text else 0
    np.testing.assert_allclose(mesh.points, data["points"], rtol=tolerance)
    np.testing.assert_allclose(mesh.normals, data["normals"], rtol=tolerance)
    np.testing.assert_array_equal(mesh.colors, data["colors"])
    np.testing.assert_array_equal(mesh.labels, data["labels"])
    np.testing.assert_array_equal(mesh.faces, data["faces"])
    kinds = [
        a.dtype.name for a in (mesh.points, mesh.colors, mesh.normals, mesh.labels, mesh.faces)
    ]
    assert kinds == ["float32", "uint8", "float32", "int64", "int32"]
    points, colors = read_ply(path)
    np.testing.assert_array_equal(points, mesh.points)
    np.testing.assert_array_equal(colors, mesh.colors)


@pytest.mark.parametrize("text, byte_order", KINDS)
def test_faces_of_several_lengths(tmp_path: Path, text: bool, byte_order: str) -> None:
    data = arrays()
    for swap in (False, True):
        path = write_scannet_mesh(tmp_path / "a.ply", data, text, byte_order, swap=swap, stray=True)
        with pytest.raises(ValueError, match=r"a\.ply.*differ in length; triangulate"):
            read_mesh(path)
        assert len(read_ply(path)[0]) == 7  # the vertices are found all the same


@pytest.mark.parametrize("text, byte_order", KINDS)
def test_what_faces_are_refused(tmp_path: Path, text: bool, byte_order: str) -> None:
    data = arrays()
    path = write_scannet_mesh(tmp_path / "a.ply", data, text, byte_order, corners=4)
    with pytest.raises(ValueError, match="faces have 4 corners, expected 3"):
        read_mesh(path)
    path = write_scannet_mesh(tmp_path / "a.ply", data, text, byte_order, face_name="corners")
    with pytest.raises(ValueError, match=r"no property 'vertex_indices'; they have \['corners'"):
        read_mesh(path)
    path = write_scannet_mesh(tmp_path / "a.ply", data, text, byte_order, face_name="vertex_index")
    assert read_mesh(path).faces is not None
    for wrong in (7, -1):
        data["faces"][2, 1] = wrong
        path = write_scannet_mesh(tmp_path / "a.ply", data, text, byte_order)
        with pytest.raises(ValueError, match=rf"refers to vertex {wrong}, but there are 7"):
            read_mesh(path)


@pytest.mark.parametrize("text, byte_order", KINDS)
def test_empty_meshes(tmp_path: Path, text: bool, byte_order: str) -> None:
    path = write_scannet_mesh(tmp_path / "a.ply", arrays(0, 0), text, byte_order)
    mesh = read_mesh(path)
    assert mesh.points.shape == (0, 3) and mesh.faces is not None and mesh.faces.shape == (0, 3)
    mesh = read_mesh(write_scannet_mesh(tmp_path / "b.ply", arrays(4, 0), text, byte_order))
    assert mesh.points.shape == (4, 3) and mesh.faces is not None and mesh.faces.shape == (0, 3)


def test_labels_must_be_whole_numbers(tmp_path: Path) -> None:
    vertices = np.zeros(2, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("label", "f4")])
    path = tmp_path / "a.ply"
    plyfile.PlyData([plyfile.PlyElement.describe(vertices, "vertex")]).write(str(path))
    with pytest.raises(ValueError, match=r"a\.ply: vertex property 'label' is float32"):
        read_mesh(path)
    assert read_ply(path)[0].shape == (2, 3)


def test_missing_normals_are_named(tmp_path: Path) -> None:
    vertices = np.zeros(2, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("ny", "f4")])
    path = tmp_path / "a.ply"
    plyfile.PlyData([plyfile.PlyElement.describe(vertices, "vertex")]).write(str(path))
    with pytest.raises(ValueError, match="no property 'nx'"):
        read_mesh(path)


def test_every_prefix_of_a_mesh_is_refused(tmp_path: Path) -> None:
    whole = write_scannet_mesh(tmp_path / "whole.ply", arrays()).read_bytes()
    path = tmp_path / "a.ply"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.ply is not a whole PLY file"):
            read_mesh(path)


def test_written_meshes_are_read_by_others(tmp_path: Path) -> None:
    data = arrays()
    path = tmp_path / "a.ply"
    write_ply(path, **data)
    mesh = read_mesh(path)
    for name, values in data.items():
        np.testing.assert_array_equal(getattr(mesh, name), values)
    other = plyfile.PlyData.read(str(path))
    np.testing.assert_array_equal(other["vertex"]["label"], data["labels"])
    np.testing.assert_array_equal(np.stack(other["face"]["vertex_indices"]), data["faces"])
    write_ply(path, data["points"], faces=data["faces"][:0])
    mesh = read_mesh(path)
    assert mesh.faces is not None and mesh.faces.shape == (0, 3) and mesh.colors is None


def test_lists_are_written_as_arrays_are(tmp_path: Path) -> None:
    data = arrays()
    write_ply(tmp_path / "array.ply", **data)
    points = data.pop("points")
    lists = {name: values.tolist() for name, values in data.items() if name != "colors"}
    write_ply(tmp_path / "list.ply", points, data["colors"], **lists)
    assert (tmp_path / "list.ply").read_bytes() == (tmp_path / "array.ply").read_bytes()


def test_what_meshes_cannot_be_written(tmp_path: Path) -> None:
    data = arrays()
    for name, values, message in (
        ("faces", data["faces"] + 7, r"faces range over \[7, 13\], expected 0 to 6"),
        ("faces", data["faces"].astype(float), r"faces are float64 \(5, 3\)"),
        ("faces", data["faces"][:, :2], r"faces are int64 \(5, 2\)"),
        ("labels", data["labels"] - 50, "labels range over"),
        ("labels", data["labels"][:3], r"labels are int64 \(3,\), expected whole numbers \(7,\)"),
        ("normals", data["normals"][:3], r"normals are float\d\d \(3, 3\)"),
        ("normals", data["normals"].astype(str), r"normals are <U\d+ \(7, 3\), expected numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            write_ply(tmp_path / "a.ply", **{**data, name: values})
    assert not list(tmp_path.iterdir())


def test_text_longer_than_a_piece(tmp_path: Path) -> None:
    points = np.arange(3 * (CHUNK_LINES + 5), dtype=np.float64).reshape(-1, 3)
    header = ["ply", "format ascii 1.0", f"element vertex {len(points)}"]
    header += [f"property double {axis}" for axis in "xyz"]
    body = "\n".join(" ".join(map(str, row)) for row in points.tolist())
    path = tmp_path / "a.ply"
    path.write_text("\n".join([*header, "end_header", body]))
    np.testing.assert_array_equal(read_ply(path)[0], points)


def test_memory_and_time_of_a_mesh_as_large_as_scannets(tmp_path: Path) -> None:
    path = write_mesh = tmp_path / "a.ply"
    data = arrays(120_000, 230_000)
    write_ply(write_mesh, **data)
    tracemalloc.start()
    start = time.perf_counter()
    mesh = read_mesh(path)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mesh.faces is not None and len(mesh.faces) == 230_000
    assert peak < 2 * path.stat().st_size + 1_000_000
    assert seconds < 2


def test_vertex_normals() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [5, 5, 5]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [1, 1, 1]])
    normals = vertex_normals(points, faces)
    assert normals.dtype == np.float32
    half = 0.5**0.5
    expected = [[half, 0, half], [0, 0, 1], [half, 0, half], [1, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(normals, expected, atol=1e-6)
    assert vertex_normals(points, faces[:0]).shape == (5, 3)
    random = np.random.default_rng(0)
    sphere = random.normal(size=(200, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    faces = random.integers(0, 200, (300, 3))
    slow = np.zeros((200, 3))
    for a, b, c in faces:
        for corner in (a, b, c):
            slow[corner] += np.cross(sphere[b] - sphere[a], sphere[c] - sphere[a])
    length = np.linalg.norm(slow, axis=1, keepdims=True)
    slow = np.divide(slow, length, out=np.zeros_like(slow), where=length > 1e-12)
    np.testing.assert_allclose(vertex_normals(sphere, faces), slow, atol=1e-5)
