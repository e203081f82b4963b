"""The report of a run: one HTML file that holds everything and opens anywhere, offline."""

import base64
import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from pcpt.viz.picture import encode_jpeg, encode_png

Cell = str | int | float | None


@dataclass(frozen=True)
class Figure:
    """A picture in the report.

    Attributes:
        picture: (3, H, W) uint8.
        caption: what it shows and how to read it.
        title: heading above it.
    """

    picture: Tensor
    caption: str = ""
    title: str = ""


@dataclass(frozen=True)
class Table:
    """Numbers in the report.

    Attributes:
        rows: cells by row, then by column; columns come in the order of their first appearance, a
            missing cell shows as a dash.
        caption: what the numbers are.
        title: heading above it.
        number_format: of floats, as for ``format``; ".1%" for fractions. Strings stay as they are.
        highlight: name of the row to emphasise.
    """

    rows: Mapping[str, Mapping[str, Cell]]
    caption: str = ""
    title: str = ""
    number_format: str = ".3g"
    highlight: str | None = None


@dataclass(frozen=True)
class Report:
    """What a report is made of.

    Attributes:
        title: of the page.
        summary: a sentence or two below it.
        facts: short figures for the head of the page, value by name.
        links: to pages beside this one, relative address by text.
        parts: tables and figures, in reading order.
        config: the run's configuration as text; folded in at the end.
    """

    title: str
    summary: str = ""
    facts: Mapping[str, Cell] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    parts: Sequence[Table | Figure] = ()
    config: str = ""


def write_report(path: Path | str, report: Report) -> Path:
    """Writes the report as one HTML file, whole or not at all, and returns its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(report_html(report), encoding="utf-8")
    os.replace(partial, path)
    return path


def report_html(report: Report) -> str:
    """The report as an HTML page without scripts, with its pictures inside."""
    title = html.escape(report.title)
    facts = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{_cell(value, '.3g')}</dd></div>"
        for name, value in report.facts.items()
    )
    body = [f"<header><h1>{title}</h1>"]
    if report.summary:
        body.append(f"<p>{html.escape(report.summary)}</p>")
    if facts:
        body.append(f"<dl>{facts}</dl>")
    body += [
        f'<a class="link" href="{html.escape(address, quote=True)}">{html.escape(text)}</a>'
        for text, address in report.links.items()
    ]
    body.append("</header>")
    body += [_table(p) if isinstance(p, Table) else _figure(p) for p in report.parts]
    if report.config:
        body.append(
            "<section><details><summary>Configuration</summary>"
            f"<pre>{html.escape(report.config)}</pre></details></section>"
        )
    return _PAGE.format(title=title, style=_STYLE, body="\n".join(body))


def _table(table: Table) -> str:
    columns = list(dict.fromkeys(name for row in table.rows.values() for name in row))
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    lines = []
    for name, row in table.rows.items():
        cells = "".join(f"<td>{_cell(row.get(c), table.number_format)}</td>" for c in columns)
        mark = ' class="highlight"' if name == table.highlight else ""
        lines.append(f'<tr{mark}><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    return (
        f"<section>{_heading(table.title)}"
        f'<div class="wide"><table><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
        f"{_caption(table.caption, 'p')}</section>"
    )


def _figure(figure: Figure) -> str:
    height, width = figure.picture.shape[1:]
    kind, data = _encoded(figure.picture)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    alt = html.escape(figure.title or figure.caption, quote=True)
    return (
        f"<section>{_heading(figure.title)}<figure>"
        f'<img src="{source}" alt="{alt}" width="{width}" height="{height}">'
        f"{_caption(figure.caption, 'figcaption')}</figure></section>"
    )


def _encoded(picture: Tensor) -> tuple[str, bytes]:
    """PNG or JPEG, whichever is smaller: drawings and photographs differ tenfold either way."""
    png, jpeg = encode_png(picture), encode_jpeg(picture)
    return ("png", png) if len(png) <= len(jpeg) else ("jpeg", jpeg)


def _heading(title: str) -> str:
    return f"<h2>{html.escape(title)}</h2>" if title else ""


def _caption(caption: str, tag: str) -> str:
    return f'<{tag} class="caption">{html.escape(caption)}</{tag}>' if caption else ""


def _cell(value: Cell, number_format: str) -> str:
    if value is None:
        return "–"  # noqa: RUF001
    text = format(value, number_format) if isinstance(value, float) else str(value)
    return html.escape(text)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { --ground: #f5f6f8; --card: #fff; --ink: #1b1f27; --soft: #5c6573; --line: #e2e5ea;
  --accent: #2563eb; --tint: #eaf1ff; }
@media (prefers-color-scheme: dark) { :root { --ground: #12151b; --card: #1a1d24; --ink: #e6e8ec;
  --soft: #9aa3af; --line: #2b303a; --accent: #7fb0ff; --tint: #1d2a44; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.55;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1180px; margin: 0 auto;
  padding: clamp(1rem, 4vw, 3rem) clamp(.75rem, 3vw, 2rem); }
h1 { margin: 0 0 .4rem; font-size: clamp(1.5rem, 4vw, 2.2rem); line-height: 1.2;
  letter-spacing: -.02em; }
h2 { margin: 0 0 .8rem; font-size: 1.1rem; letter-spacing: -.01em; }
header p { margin: 0; max-width: 46rem; color: var(--soft); }
dl { display: flex; flex-wrap: wrap; gap: .6rem 2.2rem; margin: 1.3rem 0 0; }
dt { color: var(--soft); font-size: .78rem; }
dd { margin: 0; font-size: 1.2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.link { display: inline-block; margin: 1.3rem .6rem 0 0; padding: .5rem 1rem; border-radius: 10px;
  background: var(--accent); color: var(--card); font-weight: 600; text-decoration: none; }
.link:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
section { margin-top: 1.5rem; padding: clamp(.8rem, 2.5vw, 1.5rem); background: var(--card);
  border: 1px solid var(--line); border-radius: 14px; }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; border-radius: 8px; }
.caption { margin: .8rem 0 0; max-width: 52rem; color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .8rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
thead th { color: var(--soft); font-size: .8rem; font-weight: 500; }
tbody th { text-align: left; font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
.highlight > * { background: var(--tint); color: var(--accent); font-weight: 650; }
details summary { cursor: pointer; font-weight: 600; }
pre { margin: 1rem 0 0; overflow-x: auto;
  font: .82rem/1.5 ui-monospace, Menlo, Consolas, monospace; }
"""
