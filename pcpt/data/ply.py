"""Point clouds and meshes on disk as PLY: what ``features_at`` reads, what pictures are written to,
and ScanNet's labelled meshes."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcpt.data.ply_format import Element, PlyError, PlyFile, open_ply, read_columns

COLOR_PROPERTIES = ("red", "green", "blue")
NORMAL_PROPERTIES = ("nx", "ny", "nz")
FACE_PROPERTIES = ("vertex_indices", "vertex_index")
LABEL_PROPERTY = "label"


@dataclass(frozen=True, eq=False)
class Mesh:
    """What ``read_mesh`` found.

    Attributes:
        points: (N, 3) float32, or float64 where the file holds doubles, in the file's unit.
        colors: (N, 3) uint8, or float32 in [0, 1] where it holds floats or 16 bits, or None.
        normals: (N, 3) float32 as stored, or None.
        labels: (N,) int64, the vertices' property "label", or None.
        faces: (F, 3) int32, indices into points, or None without an element "face".
    """

    points: np.ndarray
    colors: np.ndarray | None = None
    normals: np.ndarray | None = None
    labels: np.ndarray | None = None
    faces: np.ndarray | None = None


def read_ply(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Points and colours of the vertices of a PLY file; faces and other elements are ignored.

    Args:
        path: an ASCII or binary PLY with vertex properties x, y, z and, where the cloud has
            colours, red, green, blue (or diffuse_red, ...).

    Returns:
        points: (N, 3) in the file's unit; float64 where the file holds doubles, else float32.
        colors: (N, 3) uint8; float32 in [0, 1] where the file holds floats or 16 bits; None where
            it holds no colours.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a PLY, truncated, or without the properties above; names what is missing.

    Example:
        >>> points, colors = read_ply("room.ply")
        >>> features = student.features_at(points, colors)
    """
    ply = open_ply(Path(path))
    vertex = _element(ply, "vertex")
    colored = _color_names(vertex)
    columns = _vertex_columns(ply, vertex, ["x", "y", "z", *colored])
    return _points(columns), _read_colors(columns, colored, ply.path)


def read_mesh(path: str | os.PathLike[str]) -> Mesh:
    """Everything of a PLY file that a labelled mesh has: see ``Mesh``.

    Args:
        path: an ASCII or binary PLY as for ``read_ply``; vertices may have normals nx, ny, nz and
            a whole number "label" as in ScanNet's ``*_vh_clean_2.labels.ply``; faces are triangles
            in a list "vertex_indices" or "vertex_index".

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a PLY, cut short, a property missing or of the wrong type, faces that are no
            triangles or refer to no vertex; names the file and the property.
    """
    ply = open_ply(Path(path))
    vertex = _element(ply, "vertex")
    colored = _color_names(vertex)
    normal = list(NORMAL_PROPERTIES) if set(NORMAL_PROPERTIES) & set(vertex.names) else []
    label = [LABEL_PROPERTY] if LABEL_PROPERTY in vertex.names else []
    columns = _vertex_columns(ply, vertex, ["x", "y", "z", *colored, *normal, *label])
    if label and columns[LABEL_PROPERTY].dtype.kind not in "iu":
        raise PlyError(
            f"{ply.path}: vertex property 'label' is {columns[LABEL_PROPERTY].dtype.name}, "
            "expected whole numbers such as ushort"
        )
    return Mesh(
        points=_points(columns),
        colors=_read_colors(columns, colored, ply.path),
        normals=_stack(columns, normal, np.float32) if normal else None,
        labels=columns[LABEL_PROPERTY].astype(np.int64) if label else None,
        faces=_read_faces(ply, vertex.count),
    )


def write_ply(
    path: str | os.PathLike[str],
    points: np.ndarray,
    colors: np.ndarray | None = None,
    *,
    normals: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    faces: np.ndarray | None = None,
) -> None:
    """Writes a cloud or mesh as binary little-endian PLY; the file appears whole or not at all.

    Args:
        path: the file to write; its folder must exist.
        points: (N, 3) floating point, finite. float64 is kept, anything else becomes float32.
        colors: (N, 3) uint8, or floating point in [0, 1], or None.
        normals: (N, 3), become float32, or None.
        labels: (N,) whole numbers from 0 to 65535, or None; ushort, as ScanNet's.
        faces: (F, 3) whole numbers, triangles of rows of ``points``, or None.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: shapes, lengths, dtypes or values other than these.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: no such folder: {path.parent}")
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3 or not np.issubdtype(points.dtype, np.number):
        raise ValueError(f"{path}: points are {points.dtype} {points.shape}, expected (N, 3)")
    if not np.isfinite(points).all():
        raise ValueError(f"{path}: points hold nan or inf; drop those rows before writing")
    kind = "<f8" if points.dtype == np.float64 else "<f4"
    columns = [(name, points[:, axis], kind) for axis, name in enumerate("xyz")]
    if normals is not None:
        normals = np.asarray(normals)
        if normals.shape != points.shape or not np.issubdtype(normals.dtype, np.number):
            raise ValueError(
                f"{path}: normals are {normals.dtype} {normals.shape}, expected numbers "
                f"{points.shape}"
            )
        columns += [(name, normals[:, i], "<f4") for i, name in enumerate(NORMAL_PROPERTIES)]
    if colors is not None:
        bytes_ = _color_bytes(np.asarray(colors), len(points), path)
        columns += [(name, bytes_[:, i], "u1") for i, name in enumerate(COLOR_PROPERTIES)]
    if labels is not None:
        whole = _whole(labels, (len(points),), 65536, f"{path}: labels")
        columns.append((LABEL_PROPERTY, whole, "<u2"))
    vertices = np.empty(len(points), dtype=[(name, kind) for name, _, kind in columns])
    for name, values, _ in columns:
        vertices[name] = values
    triangles = None
    if faces is not None:
        shape = (len(faces), 3)
        indices = _whole(faces, shape, len(points), f"{path}: faces")
        triangles = np.empty(len(faces), dtype=[("count", "u1"), ("corners", "<i4", (3,))])
        triangles["count"], triangles["corners"] = 3, indices
    _write(path, vertices, triangles)


_NAMES = {"<f4": "float", "<f8": "double", "|u1": "uchar", "<u2": "ushort"}


def _write(path: Path, vertices: np.ndarray, triangles: np.ndarray | None) -> None:
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    for name in vertices.dtype.names or ():
        lines.append(f"property {_NAMES[vertices.dtype[name].str]} {name}")
    if triangles is not None:
        lines.append(f"element face {len(triangles)}")
        lines.append(f"property list uchar int {FACE_PROPERTIES[0]}")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".ply-") as folder:
        partial = Path(folder) / path.name
        with partial.open("wb") as file:
            file.write("\n".join([*lines, "end_header\n"]).encode())
            for rows in (vertices, triangles):
                if rows is not None:
                    file.write(rows.tobytes())
        os.replace(partial, path)


def _whole(values: np.ndarray, shape: tuple[int, ...], limit: int, what: str) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != shape or values.dtype.kind not in "iu":
        raise ValueError(
            f"{what} are {values.dtype} {values.shape}, expected whole numbers {shape}"
        )
    if values.size and not (values.min() >= 0 and values.max() < limit):
        raise ValueError(
            f"{what} range over [{values.min()}, {values.max()}], expected 0 to {limit - 1}"
        )
    return values


def _element(ply: PlyFile, name: str) -> Element:
    element = ply.find(name)
    if element is None:
        raise PlyError(
            f"{ply.path} has no element {name!r}; it has {[each.name for each in ply.elements]}"
        )
    return element


def _vertex_columns(ply: PlyFile, vertex: Element, names: Sequence[str]) -> dict[str, np.ndarray]:
    for name in names:
        found = vertex.find(name)
        if found is None:
            raise PlyError(
                f"{ply.path}: vertices have no property {name!r}; they have {vertex.names}"
            )
        if found.count_kind:
            raise PlyError(f"{ply.path}: vertex property {name!r} is a list, expected one number")
    return read_columns(ply, vertex, names)


def _stack(columns: dict[str, np.ndarray], names: Sequence[str], kind: type) -> np.ndarray:
    """(N, K), filled column by column so that nothing is held twice."""
    first = columns[names[0]]
    result: np.ndarray = np.empty((len(first), len(names)), dtype=kind)
    for index, name in enumerate(names):
        result[:, index] = columns[name]
    return result


def _points(columns: dict[str, np.ndarray]) -> np.ndarray:
    double = any(columns[axis].dtype.itemsize > 4 for axis in "xyz")
    return _stack(columns, "xyz", np.float64 if double else np.float32)


def _color_names(vertex: Element) -> list[str]:
    """The properties that hold colour, all three of them if there is one; none without colour."""
    names = vertex.names
    prefix = "diffuse_" if "diffuse_red" in names and "red" not in names else ""
    wanted = [prefix + name for name in COLOR_PROPERTIES]
    return wanted if set(wanted) & set(names) else []


def _read_colors(
    columns: dict[str, np.ndarray], names: Sequence[str], path: Path
) -> np.ndarray | None:
    if not names:
        return None
    found = np.result_type(*(columns[name].dtype.newbyteorder("=") for name in names))
    if found == np.uint8:
        return _stack(columns, names, np.uint8)
    scale = {np.dtype(np.uint16): 65535.0, np.dtype("f4"): 1.0, np.dtype("f8"): 1.0}.get(found)
    if scale is None:
        raise PlyError(f"{path}: colours are {found}, expected uchar, ushort or float")
    colors = _stack(columns, names, np.float32)
    colors /= np.float32(scale)
    if not ((colors >= 0) & (colors <= 1)).all():
        raise PlyError(
            f"{path}: floating point colours range over [{colors.min()}, {colors.max()}], expected "
            "[0, 1]; divide by the largest value or store them as uchar"
        )
    return colors


def _read_faces(ply: PlyFile, num_vertices: int) -> np.ndarray | None:
    face = ply.find("face")
    if face is None:
        return None
    name = next((each for each in FACE_PROPERTIES if each in face.names), None)
    if name is None:
        raise PlyError(
            f"{ply.path}: faces have no property {FACE_PROPERTIES[0]!r}; they have {face.names}"
        )
    found = face.find(name)
    if found is None or not found.count_kind or found.kind[0] not in "iu":
        raise PlyError(f"{ply.path}: face property {name!r} is no list of whole numbers")
    corners = read_columns(ply, face, [name])[name]
    if not len(corners):
        return np.zeros((0, 3), np.int32)
    if corners.shape[1] != 3:
        raise PlyError(
            f"{ply.path}: faces have {corners.shape[1]} corners, expected 3; triangulate them"
        )
    low, high = int(corners.min()), int(corners.max())
    if low < 0 or high >= num_vertices:
        raise PlyError(
            f"{ply.path}: face property {name!r} refers to vertex {low if low < 0 else high}, but "
            f"there are {num_vertices}"
        )
    return corners.astype(np.int32)


def _color_bytes(colors: np.ndarray, count: int, path: Path) -> np.ndarray:
    if colors.shape != (count, 3):
        raise ValueError(f"{path}: colors are {colors.shape}, expected {(count, 3)} as the points")
    if colors.dtype == np.uint8:
        return colors
    if not np.issubdtype(colors.dtype, np.floating):
        raise ValueError(f"{path}: colors are {colors.dtype}, expected uint8, or float in [0, 1]")
    if not ((colors >= 0) & (colors <= 1)).all():
        raise ValueError(f"{path}: floating point colors must lie in [0, 1]; pass uint8 for 0..255")
    return np.round(colors * 255).astype(np.uint8)
