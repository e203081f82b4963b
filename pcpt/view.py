"""``pcpt view``: any scan in the eyes of a student, as one page: click a point for what is like it.
No text, no label, no training."""

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
from pcpt.data.transforms import rotation_to_z
from pcpt.engine.export import load_student
from pcpt.scan_pictures import MAX_POINTS, fused_cloud, open_any
from pcpt.viz.scene_result import SceneResult
from pcpt.viz.viewer import write_viewer
from pcpt.viz.viewer.compress import chosen_rows
from pcpt.viz.viewer.page import MAX_POINTS as SHOWN_POINTS


def view(arguments: Sequence[str]) -> int:
    """Writes a page that shows a scan with a student's features."""
    parser = argparse.ArgumentParser(
        prog="pcpt view",
        description="Shows a scan as a student sees it: click a point for what is like it.",
    )
    parser.add_argument("student", metavar="STUDENT", help="exported folder, hub id or run folder")
    parser.add_argument("scan", metavar="SCAN", help="a scan, a labelled scene or a .ply")
    parser.add_argument("options", nargs="*", metavar="key=value", help="of the scan's source")
    parser.add_argument("--out", required=True, metavar="FILE.html", help="page to write")
    parser.add_argument("--source", default="", help="of the scan; found from its files by default")
    parser.add_argument("--scene", default="", metavar="NAME", help="of a folder of many scenes")
    parser.add_argument(
        "--points", type=int, default=SHOWN_POINTS, metavar="N", help=f"at most ({SHOWN_POINTS:,})"
    )
    options = parser.parse_intermixed_args(arguments)
    student = load_student(options.student)
    result = load_cloud(options.scan, options.source, options.options, options.scene)
    page = write_viewer(options.out, with_features(result, student), max_points=options.points)
    print(page)
    return 0


def load_cloud(
    path: Path | str, source: str = "", options: Sequence[str] = (), scene: str = ""
) -> SceneResult:
    """The cloud of a scan, labelled scene or PLY file, with its labels where it has some.

    Args:
        path: a ``.ply``, or as for ``pcpt.scan_pictures.visualize_scan``.
        source: one of ``pcpt.list("datasets")``; found from the files where it is empty.
        options: ``key=value`` of the source.
        scene: name of one, where the source holds several.

    Raises:
        FileNotFoundError: no such path.
        ValueError: a path that nothing can read, or several scenes and no such name.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() == ".ply" and not source:
        places, tints = read_ply(path)
        # copies: what comes from a file may be read-only
        return SceneResult(
            path.stem,
            torch.tensor(places),
            colors=None if tints is None else torch.tensor(tints),
        )
    opened = open_any(path, source, options)
    if isinstance(opened, SceneSet):
        return _of_scene(_one_scene(opened, scene), opened)
    if scene:
        raise ValueError(f"{path} holds posed frames, not labelled scenes; leave --scene out")
    points, colors, up = fused_cloud(opened)
    return SceneResult(opened.name, points, colors=colors, up=up.double() / up.double().norm())


def _one_scene(scenes: SceneSet, name: str) -> Scene:
    names = list(scenes.names)
    if not name and len(names) == 1:
        name = names[0]
    if name not in names:
        listed = ", ".join(names[:5])
        raise ValueError(
            f"--scene is {name!r}{did_you_mean(name, names)}; expected one of {len(names)} scenes "
            f"({listed}{', ...' if len(names) > 5 else ''})"
        )
    return scenes.load(name)


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


def with_features(result: SceneResult, student: Any) -> SceneResult:
    """The result, of at most 1.5 million points, with a student's features at them.

    Args:
        result: any.
        student: with ``features_at``, see ``SparseUNet``.

    Raises:
        ValueError: what ``features_at`` refuses, such as points that are not finite.
    """
    if len(result.points) > MAX_POINTS:
        result = _rows(result, chosen_rows(len(result.points), MAX_POINTS))
    upright = result.points.double() @ rotation_to_z(result.up).T
    features = student.features_at(upright, result.colors)
    return replace(result, features=features.cpu())


def _rows(result: SceneResult, rows: Tensor) -> SceneResult:
    """Some of the points, with all that belongs to them."""
    keys = ("points", "colors", "labels", "prediction", "instances", "predicted_instances")
    values = {key: getattr(result, key) for key in keys}
    return replace(result, **{k: v[rows] for k, v in values.items() if v is not None})
