"""Meshes in Geomview's OFF format, as ModelNet has them."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from pcpt.data.shape_files import parse_table

MAX_BYTES = 1 << 29


def read_off(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of an OFF file; polygons are cut into fans.

    Many files of ModelNet lack the line break behind the first word, "OFF490 518 0"; both are read.
    Vertices are one a line, faces are one a line, comments begin with "#", and what follows the
    indices of a face (a colour) is left out.

    Args:
        path: of a text file of at most 512 MiB.

    Returns:
        vertices: (V, 3) float32, finite.
        faces: (F, 3) int64.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another format, other counts than the header says, an index of no vertex.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; unpack the data set again")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} is of {size} bytes, expected a mesh of at most {MAX_BYTES}")
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    lines = [line for line in text.splitlines() if (bare := line.strip()) and bare[0] != "#"]
    if not lines or not lines[0].strip().startswith("OFF"):
        raise ValueError(f"{path} does not begin with OFF; it is no mesh in OFF format")
    glued = lines[0].strip()[3:].partition("#")[0].split()
    counts, rest = (glued, lines[1:]) if glued else ((lines[1:2] or [""])[0].split(), lines[2:])
    try:
        num_vertices, num_faces = (int(word) for word in counts[:2])
    except ValueError:
        raise ValueError(
            f"{path}: {' '.join(counts)[:60]!r}, expected the numbers of vertices, faces and edges"
        ) from None
    if num_vertices < 1 or num_faces < 1 or num_vertices + num_faces > len(rest):
        raise ValueError(
            f"{path} says {num_vertices} vertices and {num_faces} faces, but {len(rest)} lines "
            "follow; it is cut short or damaged"
        )
    vertices = parse_table(path, rest[:num_vertices], 3).astype(np.float32)
    faces = _triangles(path, rest[num_vertices : num_vertices + num_faces])
    if faces.min() < 0 or faces.max() >= num_vertices:
        raise ValueError(
            f"{path}: a face has vertex {faces.min() if faces.min() < 0 else faces.max()}, "
            f"expected 0 to {num_vertices - 1}"
        )
    return vertices, faces


def _triangles(path: Path, lines: list[str]) -> np.ndarray:
    """(F, 3) int64 from lines ``count index index ... colour``."""
    try:
        table = np.loadtxt(lines, comments="#", ndmin=2, dtype=np.int64)
        if table.shape == (len(lines), 4) and (table[:, 0] == 3).all():
            return table[:, 1:]
    except ValueError:  # lines of several lengths, colours with a decimal point: one by one
        pass
    triangles = []
    for line in lines:
        words = line.partition("#")[0].split()
        try:
            count = int(words[0])
            corners = [int(word) for word in words[1 : count + 1]]
        except (ValueError, IndexError):
            count, corners = 0, []
        if count < 3 or len(corners) != count or max(map(abs, corners)) >= 2**62:
            raise ValueError(
                f"{path}: {line.strip()[:60]!r} is no face, expected the number of its corners "
                "(3 or more) and the vertices"
            )
        triangles += [(corners[0], b, c) for b, c in pairwise(corners[1:])]
    return np.array(triangles, dtype=np.int64)
