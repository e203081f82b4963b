"""``pcpt view``: any scan or shape in the eyes of a student, as one page: click a point for what is
like it. No text, no label, no training."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcpt.choices import did_you_mean
from pcpt.data.ply import read_ply
from pcpt.data.scene import Scene, SceneSet
from pcpt.data.shape import Shape, ShapeSet
from pcpt.data.shape_transforms import sphere_of
from pcpt.data.transforms import rotation_to_z
from pcpt.engine.export import load_student
from pcpt.scan_pictures import MAX_POINTS, fused_cloud, open_any
from pcpt.students.point_network import PointNetwork
from pcpt.viz.scene_result import SceneResult
from pcpt.viz.shapes import part_label_set
from pcpt.viz.viewer import write_viewer
from pcpt.viz.viewer.compress import chosen_rows
from pcpt.viz.viewer.page import MAX_POINTS as SHOWN_POINTS

MAX_SHAPE_POINTS = 1 << 14


def view(arguments: Sequence[str]) -> int:
    """Writes a page that shows a scan with a student's features."""
    parser = argparse.ArgumentParser(
        prog="pcpt view",
        description="Shows a scan as a student sees it: click a point for what is like it.",
    )
    parser.add_argument("student", metavar="STUDENT", help="exported folder, hub id or run folder")
    parser.add_argument("scan", metavar="SCAN", help="a scan, a labelled scene, a shape or a .ply")
    parser.add_argument("options", nargs="*", metavar="key=value", help="of the scan's source")
    parser.add_argument("--out", required=True, metavar="FILE.html", help="page to write")
    parser.add_argument("--source", default="", help="of the scan; found from its files by default")
    parser.add_argument("--scene", default="", metavar="NAME", help="of many scenes or shapes")
    parser.add_argument(
        "--points", type=int, default=SHOWN_POINTS, metavar="N", help=f"at most ({SHOWN_POINTS:,})"
    )
    options = parser.parse_intermixed_args(arguments)
    student = load_student(options.student)
    if not hasattr(student, "features_at"):
        raise ValueError(
            f"{options.student} holds a {type(student).__name__}, which gives no features at the "
            "points of a cloud; take a student on points or voxels"
        )
    result, normals = load_cloud(options.scan, options.source, options.options, options.scene)
    result = with_features(result, student, normals)
    page = write_viewer(options.out, result, max_points=options.points)
    print(page)
    return 0


def load_cloud(
    path: Path | str, source: str = "", options: Sequence[str] = (), scene: str = ""
) -> tuple[SceneResult, Tensor | None]:
    """The cloud of a scan, labelled scene, shape or PLY file, with its labels where it has some.

    Args:
        path: a ``.ply``, or as for ``pcpt.scan_pictures.visualize_scan``.
        source: one of ``pcpt.list("datasets")``; found from the files where it is empty.
        options: ``key=value`` of the source.
        scene: name of one scene or shape, where the source holds several.

    Returns:
        The cloud, a shape as large as the unit ball; and, of a shape that has them, normals (N, 3).

    Raises:
        FileNotFoundError: no such path.
        ValueError: a path that nothing can read, or several scenes and no such name.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() == ".ply" and not source:
        places, tints = read_ply(path)
        # copies: what comes from a file may be read-only
        colors = None if tints is None else torch.tensor(tints)
        return SceneResult(path.stem, torch.tensor(places), colors=colors), None
    opened = open_any(path, source, options)
    if isinstance(opened, SceneSet):
        return _of_scene(opened.load(_one_of(opened.names, scene, "scenes")), opened), None
    if isinstance(opened, ShapeSet):
        shape = opened.load(_one_of(opened.names, scene, "shapes"))
        return _of_shape(shape, opened), shape.normals
    if scene:
        raise ValueError(f"{path} holds posed frames, not labelled scenes; leave --scene out")
    points, colors, up = fused_cloud(opened)
    up = up.double() / up.double().norm()
    return SceneResult(opened.name, points, colors=colors, up=up), None


def _one_of(names: Sequence[str], name: str, kind: str) -> str:
    names = list(names)
    if not name and len(names) == 1:
        name = names[0]
    if name not in names:
        listed = ", ".join(names[:5])
        raise ValueError(
            f"--scene is {name!r}{did_you_mean(name, names)}; expected one of {len(names)} {kind} "
            f"({listed}{', ...' if len(names) > 5 else ''})"
        )
    return name


def _of_scene(scene: Scene, scenes: SceneSet) -> SceneResult:
    result = SceneResult(
        scene.name,
        scene.points,
        colors=scene.colors,
        label_set=scenes.label_set,
        labels=scene.semantic if bool((scene.semantic >= 0).any()) else None,
        instances=scene.instances if bool((scene.instances >= 0).any()) else None,
        boxes=scene.boxes,
    )
    return result if scene.up is None else replace(result, up=scene.up)


def _of_shape(shape: Shape, shapes: ShapeSet) -> SceneResult:
    center, radius = sphere_of(shape.points)
    parts = shape.parts if shape.parts is not None and bool((shape.parts >= 0).any()) else None
    return SceneResult(
        shape.name,
        ((shape.points.double() - center) / radius).float(),
        label_set=None if parts is None else part_label_set(shapes.part_names),
        labels=parts,
        up=torch.tensor(shapes.up, dtype=torch.float64),
        facts={"class": shapes.classes[shape.label]} if shape.label >= 0 else {},
    )


def with_features(result: SceneResult, student: Any, normals: Tensor | None = None) -> SceneResult:
    """The result with a student's features at its points: at most 1.5 million points of it, of
    networks on single shapes, which compare every point with every other, at most 16,384.

    Args:
        result: any.
        student: with ``features_at``, see ``SparseUNet`` and ``PointNetwork``.
        normals: (N, 3), for networks that need them.

    Raises:
        ValueError: what ``features_at`` refuses, such as points that are not finite.
    """
    on_shapes = isinstance(student, PointNetwork)
    most = MAX_SHAPE_POINTS if on_shapes else MAX_POINTS
    if len(result.points) > most:
        rows = chosen_rows(len(result.points), most)
        result, normals = _rows(result, rows), None if normals is None else normals[rows]
    turn = rotation_to_z(result.up)
    upright = result.points.double() @ turn.T
    if on_shapes:
        turned = None if normals is None else (normals.double() @ turn.T).float()
        features = student.features_at(upright, turned)
    else:
        features = student.features_at(upright, result.colors)
    return replace(result, features=features.cpu())


def _rows(result: SceneResult, rows: Tensor) -> SceneResult:
    """Some of the points, with all that belongs to them."""
    keys = ("points", "colors", "labels", "prediction", "instances", "predicted_instances")
    values = {key: getattr(result, key) for key in keys}
    return replace(result, **{k: v[rows] for k, v in values.items() if v is not None})
