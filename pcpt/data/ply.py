"""Point clouds on disk as PLY: what ``features_at`` reads and what the pictures are written to."""

import os
import tempfile
from pathlib import Path

import numpy as np
import plyfile

COLOR_PROPERTIES = ("red", "green", "blue")


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
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such PLY file: {path}")
    vertex = _read_vertices(path)
    axes = [_scalar(vertex, name, path) for name in ("x", "y", "z")]
    double = any(axis.dtype.itemsize > 4 for axis in axes)
    points = np.stack(axes, axis=1).astype(np.float64 if double else np.float32)
    return points, _read_colors(vertex, path)


def write_ply(
    path: str | os.PathLike[str], points: np.ndarray, colors: np.ndarray | None = None
) -> None:
    """Writes a cloud as binary little-endian PLY; the file appears whole or not at all.

    Args:
        path: the file to write; its folder must exist.
        points: (N, 3) floating point, finite. float64 is kept, anything else becomes float32.
        colors: (N, 3) uint8, or floating point in [0, 1], or None.

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
    kind = "f8" if points.dtype == np.float64 else "f4"
    columns = [(name, points[:, axis], kind) for axis, name in enumerate("xyz")]
    if colors is not None:
        bytes_ = _color_bytes(np.asarray(colors), len(points), path)
        columns += [(name, bytes_[:, i], "u1") for i, name in enumerate(COLOR_PROPERTIES)]
    vertices = np.empty(len(points), dtype=[(name, kind) for name, _, kind in columns])
    for name, values, _ in columns:
        vertices[name] = values
    element = plyfile.PlyElement.describe(vertices, "vertex")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".ply-") as folder:
        partial = Path(folder) / path.name
        plyfile.PlyData([element], byte_order="<").write(str(partial))
        os.replace(partial, path)


def _read_vertices(path: Path) -> plyfile.PlyElement:
    try:
        # mapped, not read: a header that announces more than the file holds allocates nothing
        data = plyfile.PlyData.read(str(path), mmap="r")
    except (plyfile.PlyParseError, ValueError, OverflowError, MemoryError) as error:
        raise ValueError(
            f"{path} is not a whole PLY file ({error}); copy or export it again"
        ) from error
    if "vertex" not in data:
        raise ValueError(f"{path} has no element 'vertex'; it has {[e.name for e in data]}")
    return data["vertex"]


def _scalar(vertex: plyfile.PlyElement, name: str, path: Path) -> np.ndarray:
    names = [prop.name for prop in vertex.properties]
    if name not in names:
        raise ValueError(f"{path}: vertices have no property {name!r}; they have {names}")
    if isinstance(vertex.ply_property(name), plyfile.PlyListProperty):
        raise ValueError(f"{path}: vertex property {name!r} is a list, expected one number")
    return np.asarray(vertex[name])


def _read_colors(vertex: plyfile.PlyElement, path: Path) -> np.ndarray | None:
    names = {prop.name for prop in vertex.properties}
    prefix = "diffuse_" if "diffuse_red" in names and "red" not in names else ""
    wanted = [prefix + name for name in COLOR_PROPERTIES]
    if not names.intersection(wanted):
        return None
    colors = np.stack([_scalar(vertex, name, path) for name in wanted], axis=1)
    if colors.dtype == np.uint8:
        return colors
    scale = {np.dtype(np.uint16): 65535.0, np.dtype("f4"): 1.0, np.dtype("f8"): 1.0}.get(
        colors.dtype.newbyteorder("=")
    )
    if scale is None:
        raise ValueError(f"{path}: colours are {colors.dtype}, expected uchar, ushort or float")
    colors = (colors / scale).astype(np.float32)
    if not ((colors >= 0) & (colors <= 1)).all():
        raise ValueError(
            f"{path}: floating point colours range over [{colors.min()}, {colors.max()}], expected "
            "[0, 1]; divide by the largest value or store them as uchar"
        )
    return colors


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
