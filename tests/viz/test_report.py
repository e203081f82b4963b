"""The report: well-formed, self-contained, and safe whatever its texts hold."""

import base64
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pcpt.viz.report import Figure, Report, Table, report_html, write_report

NASTY = """<script>alert('x')</script> & "quotes" {style} %s"""
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Checks that tags close in order; keeps images and the texts by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.links: list[str | None] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        self.links += [v for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    flat = torch.zeros(3, 24, 40, dtype=torch.uint8)
    flat[0, :, :20] = 255
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (3, 64, 64), generator=generator, dtype=torch.uint8)
    return flat, noise


def report() -> Report:
    flat, noise = pictures()
    rows = {
        "chance": {"R@1": 0.001, "within": None},
        "trained": {"R@1": 0.0957, "R@10": 0.5, "pairs": 1024},
    }
    return Report(
        title="A run",
        summary="What it is.",
        facts={"steps": 300, "loss": 4.56789},
        parts=[
            Table(rows, "On held-out frames.", "Retrieval", ".1%", "trained"),
            Figure(flat, "Flat.", "One"),
            Figure(noise, "Noise.", "Two"),
        ],
        config="method:\n  name: ppkt\n",
    )


def test_page_is_one_file_that_opens_offline(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report" / "index.html", report())
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.links) == 2
    assert all(link is not None and link.startswith("data:image/") for link in page.links)
    assert page.texts["h1"] == ["A run"]
    assert page.texts["h2"] == ["Retrieval", "One", "Two"]
    assert page.texts["figcaption"] == ["Flat.", "Noise."]
    assert page.texts["pre"] == ["method:\n  name: ppkt\n"]
    assert "script" not in page.texts


def test_pictures_are_inside_as_png_or_jpeg_whichever_is_smaller() -> None:
    page = Page(report_html(report()))
    kinds = []
    for image, original in zip(page.images, pictures()):
        head, data = str(image["src"]).split(",")
        kinds.append(head)
        read = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert read.shape[:2] == original.shape[1:]
        assert (image["width"], image["height"]) == (str(read.shape[1]), str(read.shape[0]))
    assert kinds == ["data:image/png;base64", "data:image/jpeg;base64"]


def test_table_has_every_column_and_a_dash_where_a_cell_is_missing() -> None:
    page = Page(report_html(report()))
    assert page.texts["th"] == ["R@1", "within", "R@10", "pairs", "chance", "trained"]
    assert page.texts["td"] == ["0.1%", "–", "–", "–", "9.6%", "–", "50.0%", "1024"]  # noqa: RUF001
    assert page.texts["dd"] == ["300", "4.57"]
    assert report_html(report()).count('class="highlight"') == 1


def test_texts_are_escaped_everywhere() -> None:
    flat, _ = pictures()
    nasty = Report(
        title=NASTY,
        summary=NASTY,
        facts={NASTY: NASTY},
        parts=[
            Table({NASTY: {NASTY: NASTY}}, NASTY, NASTY),
            Figure(flat, NASTY, NASTY),
        ],
        config=NASTY,
    )
    text = report_html(nasty)
    assert "<script" not in text
    page = Page(text)
    for tag in ("title", "h1", "h2", "dt", "dd", "th", "td", "figcaption", "pre"):
        assert NASTY in "".join(page.texts[tag]), tag
    assert page.images[0]["alt"] == NASTY


def test_an_empty_report_is_a_page_all_the_same() -> None:
    assert Page(report_html(Report("Nothing yet"))).texts["h1"] == ["Nothing yet"]


def test_a_bad_picture_leaves_the_old_report_in_place(tmp_path: Path) -> None:
    path = write_report(tmp_path / "index.html", Report("Old"))
    with pytest.raises(ValueError, match="picture is"):
        write_report(path, Report("New", parts=[Figure(torch.zeros(3, 4, 4))]))
    assert "Old" in path.read_text(encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 1
