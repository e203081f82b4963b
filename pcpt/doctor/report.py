"""The doctor's findings as one HTML page with pictures."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from pcpt.doctor.diagnosis import VERDICTS, rounded
from pcpt.doctor.examine import Examination
from pcpt.doctor.pictures import agreement_curve, cloud_picture, overlay_picture
from pcpt.viz.picture import save_png, side_by_side
from pcpt.viz.report import Cell, Figure, Report, Table, write_report

PAGE, CAMERA = "report.html", "color_camera.json"


def write_doctor_report(
    folder: Path | str, name: str, examination: Examination, up: Tensor | None = None
) -> Path:
    """Writes ``report.html``, and its pictures as PNG beside it; returns the page's path.

    Where colour was found to be unregistered, ``color_camera.json`` is the estimated camera, as the
    ``seven_scenes`` source takes it.

    Args:
        folder: made if need be; files of an earlier report there are removed.
        name: of the scan, for the title.
        examination: what ``examine`` returned.
        up: (3,) against gravity, to hold the pictures upright.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_report(folder)
    diagnosis = examination.diagnosis
    figures = _figures(examination, up)
    for file, figure in figures.items():
        save_png(folder / f"{file}.png", figure.picture)
    if "color_camera" in diagnosis.remedy:
        camera = json.dumps(rounded(diagnosis.remedy["color_camera"]), indent=2)
        (folder / CAMERA).write_text(camera + "\n", encoding="utf-8")
    report = Report(
        title=f"{name}: {diagnosis.verdict}",
        summary=VERDICTS[diagnosis.verdict],
        parts=[
            _table("What mends it", diagnosis.remedy),
            *figures.values(),
            _table("What was measured", diagnosis.evidence),
        ],
    )
    return write_report(folder / PAGE, report)


def _remove_report(folder: Path) -> None:
    """Removes an earlier report, whose pictures and camera may be of another verdict. Without its
    page there was none, and files of these names are somebody's own."""
    if not (folder / PAGE).is_file():
        return
    pictures = (folder / f"{name}.png" for name in ("cloud", "agreement"))
    for path in (*pictures, *folder.glob("overlay_*.png"), folder / CAMERA, folder / PAGE):
        path.unlink(missing_ok=True)


def _figures(examination: Examination, up: Tensor | None) -> dict[str, Figure]:
    scan, mended = examination.observations, examination.mended
    if scan is None:
        return {}
    states = {"as the scan says": scan} | ({"mended": mended} if mended is not None else {})
    clouds = side_by_side([cloud_picture(state, up) for state in states.values()], list(states))
    figures = {
        "cloud": Figure(clouds, "Frames fused by their poses: surfaces should be single and sharp.")
    }
    for label, state in states.items():
        figures[f"overlay_{label.replace(' ', '_')}"] = Figure(
            overlay_picture(state),
            f"Steps in depth (red) drawn into the images, {label}: they should follow the objects.",
        )
    curve = agreement_curve(scan)
    if curve is not None:
        figures["agreement"] = Figure(
            curve, "Share of each frame's depth that the next frame confirms."
        )
    return figures


def _table(title: str, values: dict[str, Any]) -> Table:
    rows: dict[str, dict[str, Cell]] = {}
    for key, value in rounded(values).items():
        nested = value if isinstance(value, dict) else {"": value}
        for inner, item in nested.items():
            plain = isinstance(item, (int, float, str)) and not isinstance(item, bool)
            text = item if plain else json.dumps(item)
            rows[f"{key} {inner}".strip()] = {"": text}
    return Table(rows or {"nothing": {"": ""}}, title=title)
