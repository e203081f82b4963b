"""One labelled ScanNet scene, put together from its mesh and the files beside it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pcpt.data.label_set import IGNORE, LabelSet
from pcpt.data.mesh import vertex_normals
from pcpt.data.ply import Mesh, read_mesh
from pcpt.data.scannet_classes import NYU40
from pcpt.data.scannet_labels import (
    SegmentGroup,
    read_aggregation,
    read_axis_alignment,
    read_segments,
)
from pcpt.data.scene import Boxes, Scene

UP = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class ScanNetFiles:
    """Where the files of a scene lie: ``folder`` is named as the scene."""

    folder: Path

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.folder.name}{suffix}"

    @property
    def mesh(self) -> Path:
        """The cleaned and decimated mesh."""
        return self._file("_vh_clean_2.ply")

    @property
    def labels(self) -> Path:
        """The same mesh with a NYU40 label per vertex."""
        return self._file("_vh_clean_2.labels.ply")

    @property
    def segments(self) -> Path:
        """The segment of each vertex."""
        return self._file("_vh_clean_2.0.010000.segs.json")

    @property
    def aggregation(self) -> Path:
        """The objects that the segments make up."""
        return self._file(".aggregation.json")

    @property
    def description(self) -> Path:
        """Text with axisAlignment among others."""
        return self._file(".txt")


@dataclass(frozen=True, eq=False)
class _Labels:
    semantic: np.ndarray
    instances: np.ndarray
    instance_labels: np.ndarray
    unknown: Mapping[str, int]


def read_scannet_scene(
    files: ScanNetFiles,
    label_set: LabelSet,
    label_map: Mapping[str, int] | None,
    *,
    labels_from: str = "aggregation",
    align: bool = True,
    normals: bool = True,
    split: str = "",
) -> Scene:
    """Reads a scene.

    Args:
        files: of the scene.
        label_set: its classes; ids are those that ``label_map`` gives.
        label_map: ids by raw name; needed for "aggregation".
        labels_from: "aggregation" for labels, instances and boxes from the annotation; "labels_ply"
            for NYU40 labels from ``*.labels.ply`` alone; "none" for test scenes.
        align: turn the scene along its walls as object detection does; its boxes are about the axes
            of the frame that results.
        normals: compute vertex normals from the faces where the mesh has none.
        split: that the scene belongs to.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file that cannot be used; names the file and the field.
    """
    mesh = read_mesh(files.mesh)
    if not len(mesh.points) or not np.isfinite(mesh.points).all():
        what = "vertices hold nan or inf in x, y or z" if len(mesh.points) else "no vertices"
        raise ValueError(f"{files.mesh}: {what}; copy or export it again")
    world_to_scene = read_axis_alignment(files.description) if align else np.eye(4)
    points = mesh.points.astype(np.float64) @ world_to_scene[:3, :3].T + world_to_scene[:3, 3]
    points = points.astype(np.float32)
    labels = _labels(files, mesh, label_set, label_map, labels_from)
    return Scene(
        name=files.folder.name,
        points=torch.from_numpy(points),
        semantic=torch.from_numpy(labels.semantic),
        instances=torch.from_numpy(labels.instances),
        boxes=instance_boxes(points, labels.instances, labels.instance_labels),
        colors=_colors(mesh, files.mesh),
        normals=_normals(mesh, points, world_to_scene) if normals else None,
        faces=None if mesh.faces is None else torch.from_numpy(mesh.faces.astype(np.int64)),
        up=torch.tensor(UP, dtype=torch.float64),
        world_to_scene=torch.from_numpy(world_to_scene),
        split=split,
        unknown_labels=labels.unknown,
    )


def instance_boxes(points: np.ndarray, instances: np.ndarray, labels: np.ndarray) -> Boxes:
    """Boxes along the axes around the points of each instance that has a class.

    Args:
        points: (N, 3) float32.
        instances: (N,) int64, 0 to I - 1, or -1.
        labels: (I,) int64, class of each instance, or -1.
    """
    order = np.argsort(instances, kind="stable")
    order = order[np.searchsorted(instances[order], 0) :]
    found, starts = np.unique(instances[order], return_index=True)
    wanted = labels[found] != IGNORE
    if not wanted.any():
        return Boxes.none()
    low = np.minimum.reduceat(points[order], starts)[wanted]
    high = np.maximum.reduceat(points[order], starts)[wanted]
    return Boxes(
        centers=torch.from_numpy((low + high) / 2),
        sizes=torch.from_numpy(high - low),
        headings=torch.zeros(int(wanted.sum())),
        labels=torch.from_numpy(labels[found][wanted]),
        instances=torch.from_numpy(found[wanted]),
    )


def _labels(
    files: ScanNetFiles,
    mesh: Mesh,
    label_set: LabelSet,
    label_map: Mapping[str, int] | None,
    labels_from: str,
) -> _Labels:
    if labels_from == "aggregation":
        if label_map is None:
            raise ValueError("labels_from is 'aggregation', which needs a label_map")
        segments = read_segments(files.segments, len(mesh.points))
        groups = read_aggregation(files.aggregation)
        return _from_groups(segments, groups, label_set, label_map, files.aggregation)
    none = np.full(len(mesh.points), IGNORE, dtype=np.int64)
    nobody = np.zeros(0, dtype=np.int64)
    if labels_from == "none":
        return _Labels(none, none.copy(), nobody, {})
    if labels_from != "labels_ply":
        raise ValueError(f"labels_from is {labels_from!r}, not aggregation, labels_ply or none")
    if not set(label_set.ids) <= set(NYU40.ids):
        raise ValueError(
            f"labels_from is 'labels_ply', whose labels are NYU40's, but label_set is "
            f"{label_set.name}; use 'aggregation'"
        )
    ids = _ply_labels(files, len(mesh.points))
    odd, counts = np.unique(ids[(ids != 0) & (NYU40.indices(ids) == IGNORE)], return_counts=True)
    unknown = {f"id {one}": int(count) for one, count in zip(odd.tolist(), counts)}
    return _Labels(label_set.indices(ids), none, nobody, unknown)


def _ply_labels(files: ScanNetFiles, num_points: int) -> np.ndarray:
    labelled = read_mesh(files.labels)
    if labelled.labels is None:
        raise ValueError(f"{files.labels}: vertices have no property 'label'")
    if len(labelled.labels) != num_points:
        raise ValueError(
            f"{files.labels} has {len(labelled.labels)} vertices, but {files.mesh.name} has "
            f"{num_points}; take both from the same release"
        )
    return labelled.labels


def _from_groups(
    segments: np.ndarray,
    groups: list[SegmentGroup],
    label_set: LabelSet,
    label_map: Mapping[str, int],
    path: Path,
) -> _Labels:
    """Where two groups claim a segment the later one has it, as in ScanNet's own scripts; one that
    is left without a point (scene0217_00 lists its objects twice) is no instance."""
    known, place = np.unique(segments, return_inverse=True)
    owner = np.full(len(known), IGNORE, dtype=np.int64)
    for index, group in enumerate(groups):
        missing = ~np.isin(group.segments, known)
        if missing.any():
            raise ValueError(
                f"{path}: segGroups[{index}].segments holds {group.segments[missing][0]}, a "
                "segment that no vertex has; take all files from the same release"
            )
        owner[np.searchsorted(known, group.segments)] = index
    group_of_vertex = owner[place]
    present = np.unique(group_of_vertex[group_of_vertex != IGNORE])
    ids = np.array([label_map.get(groups[each].label, 0) for each in present], dtype=np.int64)
    instance_labels = label_set.indices(ids)
    renumber = np.full(len(groups) + 1, IGNORE, dtype=np.int64)  # the last is found by -1
    renumber[present] = np.arange(len(present))
    instances = renumber[group_of_vertex]
    semantic = np.append(instance_labels, IGNORE)[instances]
    unknown: Counter[str] = Counter()
    counts = np.bincount(instances[instances != IGNORE], minlength=len(present))
    for each, count in zip(present, counts):
        if groups[each].label not in label_map:
            unknown[groups[each].label] += int(count)
    return _Labels(semantic, instances, instance_labels, dict(unknown))


def _colors(mesh: Mesh, path: Path) -> Tensor | None:
    if mesh.colors is None:
        return None
    if mesh.colors.dtype != np.uint8:
        raise ValueError(f"{path}: colours are {mesh.colors.dtype}, expected uchar")
    return torch.from_numpy(mesh.colors)


def _normals(mesh: Mesh, points: np.ndarray, world_to_scene: np.ndarray) -> Tensor | None:
    if mesh.normals is not None:
        turned = mesh.normals @ world_to_scene[:3, :3].T.astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(turned, dtype=np.float32))
    if mesh.faces is None:
        return None
    return torch.from_numpy(vertex_normals(points, mesh.faces))
