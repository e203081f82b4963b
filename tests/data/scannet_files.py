"""A labelled ScanNet scene on disk, written by plyfile and json alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import plyfile

NAME = "scene0000_00"
TABLE = [
    "id\traw_category\tcategory\tcount\tnyu40id\teigen13id\tnyuClass\tnyu40class",
    "1\twall\twall\t8277\t1\t12\twall\twall",
    "2\tchair\tchair\t4646\t5\t4\tchair\tchair",
    "10\toffice chair\toffice chair\t595\t5\t4\tchair\tchair",
    "19\tmonitor\tmonitor\t765\t40\t7\tmonitor\totherprop",
    "3\tfloor\tfloor\t1553\t2\t5\tfloor\tfloor",
    "777\tnameless thing\tthing\t1\t\t\t\t",
]
# rows of two vertices each: segment, and what the groups below make of it
SEGMENTS = [7, 7, 3, 3, 3, 900000, 900000, 12, 12, 12, 5, 5]
GROUPS: list[dict[str, Any]] = [
    {"id": 0, "objectId": 0, "segments": [7], "label": "wall"},
    {"id": 1, "objectId": 1, "segments": [3, 900000], "label": "office chair"},
    {"id": 2, "objectId": 2, "segments": [12], "label": "flux capacitor"},
]
# a quarter turn about z and a shift: (x, y, z) to (1 - y, x + 2, z + 3)
ALIGNMENT = np.array([[0, -1, 0, 1.0], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])


def vertices() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "points": random.normal(size=(len(SEGMENTS), 3)).astype(np.float32),
        "colors": random.integers(0, 256, (len(SEGMENTS), 3)).astype(np.uint8),
        "faces": random.integers(0, len(SEGMENTS), (6, 3)).astype(np.int32),
    }


def write_mesh(path: Path, labels: np.ndarray | None = None) -> None:
    """With the properties of ScanNet's meshes: alpha, and label where labels are given."""
    data = vertices()
    columns = [(name, "f4", data["points"][:, i]) for i, name in enumerate("xyz")]
    columns += [(n, "u1", data["colors"][:, i]) for i, n in enumerate(("red", "green", "blue"))]
    columns += [("alpha", "u1", np.full(len(SEGMENTS), 255))]
    if labels is not None:
        columns += [("label", "u2", labels)]
    rows = np.empty(len(SEGMENTS), [(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        rows[name] = values
    faces = np.empty(len(data["faces"]), [("vertex_indices", "i4", (3,))])
    faces["vertex_indices"] = data["faces"]
    elements = [plyfile.PlyElement.describe(rows, "vertex")]
    elements.append(plyfile.PlyElement.describe(faces, "face"))
    plyfile.PlyData(elements, byte_order="<").write(str(path))


def write_labelled_scene(root: Path, name: str = NAME, groups: Any = None) -> Path:
    """A folder of the scene in root, and the label table in root; returns the folder."""
    folder = root / name
    folder.mkdir(parents=True)
    write_mesh(folder / f"{name}_vh_clean_2.ply")
    nyu40 = np.array([1, 1, 5, 5, 5, 5, 5, 0, 0, 50, 0, 39])
    write_mesh(folder / f"{name}_vh_clean_2.labels.ply", nyu40)
    segments = {"params": {"kThresh": "0.0001"}, "sceneId": name, "segIndices": SEGMENTS}
    (folder / f"{name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps(segments))
    aggregation = {
        "sceneId": f"scannet.{name}",
        "appId": "Aggregator.v2",
        "segGroups": GROUPS if groups is None else groups,
        "segmentsFile": f"scannet.{name}_vh_clean_2.0.010000.segs.json",
    }
    (folder / f"{name}.aggregation.json").write_text(json.dumps(aggregation))
    numbers = " ".join(f"{value:.6f}" for value in ALIGNMENT.ravel())
    (folder / f"{name}.txt").write_text(
        f"appVersion = 1.5\naxisAlignment = {numbers} \ncolorHeight = 968\nsceneType = Kitchen\n"
    )
    (root / "scannetv2-labels.combined.tsv").write_text("\n".join(TABLE))
    return folder
