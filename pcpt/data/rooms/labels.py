"""The rooms' label table and the annotation files of a scene, in ScanNet's formats."""

import json
from pathlib import Path

import numpy as np

from pcpt.data.scannet_classes import LABEL_SETS, NYU40

# What things are called, and which NYU40 class that is. Rooms have their own table: names are among
# those that ScanNet's annotators use, but classes are only as good as this list.
NYU40_OF: dict[str, int] = {
    "wall": 1, "floor": 2, "cabinet": 3, "file cabinet": 3, "kitchen cabinets": 3,
    "wardrobe cabinet": 3, "bathroom vanity": 3, "bed": 4, "chair": 5, "office chair": 5,
    "armchair": 5, "sofa": 6, "couch": 6, "table": 7, "coffee table": 7, "end table": 7, "door": 8,
    "doorframe": 8, "window": 9, "bookshelf": 10, "picture": 11, "kitchen counter": 12,
    "bathroom counter": 12, "desk": 14, "curtain": 16, "pillow": 18, "mirror": 19, "rug": 20,
    "ceiling": 22, "book": 23, "refrigerator": 24, "tv": 25, "towel": 27, "shower curtain": 28,
    "whiteboard": 30, "nightstand": 32, "toilet": 33, "sink": 34, "kitchen sink": 34, "lamp": 35,
    "floor lamp": 35, "bathtub": 36, "shower": 38, "stove": 38, "monitor": 39, "trash can": 39,
    "ottoman": 39, "radiator": 39, "bench": 39, "storage box": 39, "stool": 39,
    "laundry basket": 39, "plant": 40, "keyboard": 40, "laptop": 40, "bowl": 40, "bottle": 40,
    "pot": 40, "microwave": 40,
}  # fmt: skip
TABLE_NAME = "scannetv2-labels.combined.tsv"


def raw_id(label: str) -> int:
    """The number of a raw name in label images: its place in the table, from 1 on."""
    return list(NYU40_OF).index(label) + 1


def write_label_table(folder: Path) -> None:
    """Writes the table that maps raw names to ids. Column ``id`` holds ScanNet200's ids, empty
    where that has no such class; ``room_id`` numbers the names for label images."""
    names = dict(zip(NYU40.ids, NYU40.names))
    wide = {
        name: one for one, name in zip(LABEL_SETS["scannet200"].ids, LABEL_SETS["scannet200"].names)
    }
    rows = ["id\traw_category\tcategory\tnyu40id\tnyu40class\troom_id"]
    for label, number in NYU40_OF.items():
        fine = wide.get(label, "")
        rows.append(f"{fine}\t{label}\t{label}\t{number}\t{names[number]}\t{raw_id(label)}")
    (folder / TABLE_NAME).write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_segments(path: Path, scene: str, segments: np.ndarray) -> None:
    """Writes ``*_vh_clean_2.0.010000.segs.json``: the segment of each vertex (N,)."""
    head = {
        "params": {"kThresh": "0.01", "segMinVerts": "20", "minPoints": "750"},
        "sceneId": scene,
        "segIndices": segments.tolist(),
    }
    path.write_text(json.dumps(head, separators=(",", ":")), encoding="utf-8")


def write_aggregation(
    path: Path, scene: str, instances: np.ndarray, segments: np.ndarray, labels: list[str]
) -> list[int]:
    """Writes ``*.aggregation.json``.

    Args:
        path: of the file.
        scene: its name.
        instances: (N,) index of each vertex's thing.
        segments: (N,) segment of each vertex; a segment lies within one thing.
        labels: raw name of each thing.

    Returns:
        The things that have a vertex, in the order of the file: ``objectId`` is the place.
    """
    pairs = np.unique(np.stack([instances, segments], axis=1), axis=0)
    groups: list[dict[str, object]] = []
    present: list[int] = []
    for number in np.unique(pairs[:, 0]).tolist():
        mine = pairs[pairs[:, 0] == number, 1].tolist()
        groups.append(
            {"id": len(groups), "objectId": len(groups), "segments": mine, "label": labels[number]}
        )
        present.append(number)
    content = {
        "sceneId": f"scannet.{scene}",
        "appId": "pcpt.rooms",
        "segGroups": groups,
        "segmentsFile": f"scannet.{scene}_vh_clean_2.0.010000.segs.json",
    }
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
    return present
