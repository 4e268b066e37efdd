"""The report: one HTML file with everything in it. It opens from disk, needs no network and can be sent by mail."""

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from src.reporting.quantities import figure as spelled
from src.whole_files import write_whole

_LONG_FACT = 48  # a longer value, for example a command, gets a line of its own
# The tool bar of plotly has a button that sends the chart to a server of theirs: this page talks to nobody.
_BEHAVIOUR = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["sendDataToCloud", "lasso2d", "select2d"],
}
_STYLE = """
body { margin: 0; background: #fff; color: #222; line-height: 1.5;
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 28px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 8px 0 4px; }
h2 { font-size: 20px; margin: 40px 0 4px; padding-top: 12px; border-top: 1px solid #ddd; }
nav { font-size: 14px; margin: 0 0 16px; }
nav a { color: #0072B2; text-decoration: none; margin-right: 16px; white-space: nowrap; }
nav a:hover { text-decoration: underline; }
p.caption { color: #555; font-size: 14px; margin: 0 0 8px; max-width: 90ch; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 10px 24px; margin: 16px 0; }
dt { color: #666; font-size: 13px; }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
div.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 15px; margin: 12px 0; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid #222; vertical-align: bottom; }
td { border-bottom: 1px solid #e4e4e4; vertical-align: top; white-space: pre-line; }
th, td { padding: 5px 22px 5px 0; }
th:last-child, td:last-child { padding-right: 0; }
td.number, th.number { text-align: right; }
td.number { white-space: pre; }
.wide { grid-column: 1 / -1; }
@media print { nav { display: none; } h2, div.picture, tr { break-inside: avoid; } }
"""


def write_report(
    path: str | os.PathLike,
    title: str,
    facts: Mapping[str, str],
    tables: Sequence[tuple[str, Sequence[Mapping]]],
    figures: Sequence[tuple[str, str, go.Figure]],
) -> Path:
    """Writes the page, whole or not at all.

    Args:
        path: the HTML file.
        title: heading of the page.
        facts: short pairs of name and value, shown under the title.
        tables: (heading, rows); a row is a dict {column: text or number}, a table without rows is left out.
        figures: (heading, caption, plotly figure).
    """
    sections = [(heading, _table(rows)) for heading, rows in tables if rows]
    for number, (heading, caption, figure) in enumerate(figures):
        note = f'<p class="caption">{escape(caption)}</p>' if caption else ""
        sections.append((heading, f"{note}\n{_picture(figure, number)}"))
    links = [f'<a href="#part-{i}">{escape(heading)}</a>' for i, (heading, _) in enumerate(sections)]
    parts = [f'<h2 id="part-{i}">{escape(heading)}</h2>\n{body}' for i, (heading, body) in enumerate(sections)]
    pairs = "\n".join(_fact(name, str(value)) for name, value in facts.items())
    text = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
{_script(bool(figures))}
</head>
<body><main>
<h1>{escape(title)}</h1>
<dl>
{pairs}
</dl>
<nav>{" ".join(links) if len(links) > 1 else ""}</nav>
{chr(10).join(parts)}
</main></body>
</html>
"""
    return write_whole(path, text)


@cache
def _plotly() -> str:
    return get_plotlyjs()


def _fact(name: str, value: str) -> str:
    size = ' class="wide"' if len(value) > _LONG_FACT else ""
    return f"<div{size}><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _script(needed: bool) -> str:
    return f"<script>{_plotly()}</script>" if needed else ""


def _picture(figure: go.Figure, number: int) -> str:
    height = figure.layout.height or 440
    drawing = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"figure-{number}",
        default_height=f"{height}px",
        config=_BEHAVIOUR,
    )
    return f'<div class="picture">{drawing}</div>'


def _table(rows: Sequence[Mapping]) -> str:
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    cells = [[spelled(row.get(heading)) for heading in headings] for row in rows]
    numeric = [all(_looks_numeric(row[column]) for row in cells) for column in range(len(headings))]

    def line(texts, tag):
        marks = [' class="number"' if right else "" for right in numeric]
        return "".join(f"<{tag}{mark}>{escape(text)}</{tag}>" for text, mark in zip(texts, marks, strict=True))

    body = "\n".join(f"<tr>{line(row, 'td')}</tr>" for row in cells)
    return f'<div class="scroll"><table>\n<tr>{line(headings, "th")}</tr>\n{body}\n</table></div>'


def _looks_numeric(text: str) -> bool:
    """Whether a cell is a number, with or without a unit and a detail in brackets; "-" counts as a missing one."""
    return re.fullmatch(r"-|[+-]?[\d.]+(e[+-]?\d+)?( ?[GMk%])?(\n?\(.*\))*", text, re.DOTALL) is not None
