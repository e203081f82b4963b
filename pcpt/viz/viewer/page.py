"""Puts the page together from its parts in ``page/`` and the data of a scene."""

import base64
import hashlib
import html
import os
from importlib.resources import files
from pathlib import Path
from string import Template

from pcpt.viz.scene_result import SceneResult
from pcpt.viz.viewer.payload import payload

MAX_POINTS = 300_000
FEATURE_DIMS = 32
# in the order in which one uses what another defines
_SCRIPTS = ("decode", "orbit", "gl", "plain", "layers", "overlay", "gestures", "panel", "app")


def write_viewer(
    path: Path | str,
    result: SceneResult,
    *,
    max_points: int = MAX_POINTS,
    feature_dims: int = FEATURE_DIMS,
    min_score: float = 0.3,
) -> Path:
    """Writes the page of ``viewer_html``, whole or not at all, making its folder; returns its
    path."""
    text = viewer_html(
        result, max_points=max_points, feature_dims=feature_dims, min_score=min_score
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
    return path


def viewer_html(
    result: SceneResult,
    *,
    max_points: int = MAX_POINTS,
    feature_dims: int = FEATURE_DIMS,
    min_score: float = 0.3,
) -> str:
    """A page that shows a scene from every side, with all that is known of each point.

    It needs nothing but itself: no library, no request, no server. Where WebGL 2 is missing it
    draws on a plain canvas; ``#2d`` behind its address makes it do so anywhere. Names of scenes
    and classes are text to it, whatever they hold, and its content security policy lets no script
    run but its own.

    Args:
        result: what to show; only layers that it has something for are offered.
        max_points: of a larger cloud an even sample of so many is shown. About 50 bytes each.
        feature_dims: channels that features are reduced to for similarity.
        min_score: where the threshold of predicted boxes stands at first.

    Raises:
        ValueError: ``max_points`` below 1, or values that do not fit the page.
    """
    if max_points < 1:
        raise ValueError(f"max_points is {max_points}, expected at least 1")
    folder = files(__package__) / "page"
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    script = '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"
    style = (folder / "page.css").read_text(encoding="utf-8")
    data = payload(result, max_points=max_points, feature_dims=feature_dims, min_score=min_score)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = Template((folder / "page.html").read_text(encoding="utf-8"))
    return page.substitute(
        policy=policy, title=html.escape(result.name), style=style, data=data, script=script
    )


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
