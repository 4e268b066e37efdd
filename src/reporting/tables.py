"""The table that ends a search: what it started from against what it found.

A row is a dict. Known keys: `network` (name), `width` (widths `{group: int}`, or text), `parameters`, `nonzero` (those
of them that are not zero), `macs`, `val_error`, `test_error` (percent), `seconds`, and in `UNPRINTED` what a terminal
has no room for. A value may be a list with one entry a seed; `seed` may name the seeds. Other keys become columns of
their own. Parameters and MACs are compared with the first row.
"""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from src.reporting import quantities
from src.whole_files import write_whole

_SPELLED = {  # key: heading, how a value is written
    "parameters": ("parameters", quantities.amount),
    "nonzero": ("non-zero", quantities.amount),
    "macs": ("MACs", quantities.amount),
    "val_error": ("validation error (%)", quantities.percent),
    "test_error": ("test error (%)", quantities.percent),
    "seconds": ("seconds", quantities.seconds),
    "nll": ("NLL (nats)", quantities.figure),
    "ece": ("ECE (%)", quantities.percent),
    "entropy": ("entropy (nats)", quantities.figure),
    "noise_entropy": ("entropy on noise (nats)", quantities.figure),
    "monte_carlo_error": ("Monte-Carlo error (%)", quantities.percent),
    "monte_carlo_nll": ("Monte-Carlo NLL (nats)", quantities.figure),
    "monte_carlo_ece": ("Monte-Carlo ECE (%)", quantities.percent),
    "monte_carlo_entropy": ("Monte-Carlo entropy (nats)", quantities.figure),
    "monte_carlo_noise_entropy": ("Monte-Carlo entropy on noise (nats)", quantities.figure),
}
UNPRINTED = tuple(_SPELLED)[tuple(_SPELLED).index("nll") :]
_COMPARED = ("parameters", "nonzero", "macs")
_OTHER_NAMES = {"params": "parameters", "validation_error": "val_error", "widths": "width"}


def plain_rows(rows: Sequence[Mapping]) -> list[dict]:
    """Rows with the keys of this module: "test error" is `test_error`, `params` is `parameters`."""
    named = [{str(key).strip().lower().replace(" ", "_"): value for key, value in row.items()} for row in rows]
    return [{_OTHER_NAMES.get(key, key): value for key, value in row.items()} for row in named]


def comparison_cells(rows: Sequence[Mapping]) -> list[dict[str, str]]:
    """The table as text, a dict {heading: cell} a row; a second line of a cell holds its detail.

    Several seeds give the median and, below it, the range in brackets (of seconds the median only); parameters and
    MACs of all rows but the first give their change against the first row.
    """
    rows = plain_rows(rows)
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key != "seed"]
    first = {key: quantities.middle(_runs(rows[0].get(key))) for key in _COMPARED} if rows else {}
    table = []
    for index, row in enumerate(rows):
        cells = {}
        for key in keys:
            heading, spell = _SPELLED.get(key, (key.replace("_", " "), quantities.figure))
            if key == "width":
                cells[heading] = _width_cell(row.get(key))
            else:
                cells[heading] = _cell(row.get(key), spell, first.get(key) if index else None)
        table.append(cells)
    return table


def _runs(value) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _width_cell(value) -> str:
    runs = _runs(value)
    if all(isinstance(run, Mapping) for run in runs):
        return quantities.width_summary(runs).replace(", ", "\n")
    return "\n".join(dict.fromkeys(quantities.figure(run) for run in runs))


def _cell(value, spell, reference: float | None) -> str:
    runs = _runs(value)
    if not any(quantities.is_number(run) for run in runs):
        return "\n".join(dict.fromkeys(quantities.figure(run) for run in runs))
    centre = quantities.middle(runs)
    lines = [spell(centre), quantities.relative(centre, reference)]
    if spell is not quantities.seconds:
        lines.append(quantities.spread(runs, spell))
    return "\n".join([lines[0], *(f"({line})" for line in lines[1:] if line)])


def comparison_note(rows: Sequence[Mapping]) -> str | None:
    """What has to be said beside a table of several seeds; None for one of single runs."""
    runs = max((len(_runs(value)) for row in plain_rows(rows) for value in row.values()), default=1)
    return f"median of {runs} seeds, range in brackets" if runs > 1 else None


def comparison_table(rows: Sequence[Mapping], title: str | None = None) -> Table:
    """The rows of `comparison_cells` for a terminal; fits into 80 columns, where long names of networks wrap.

    Non-zero parameters, of several seeds the median, are shown where they read differently from the parameters.
    """
    cells = comparison_cells(_printed(rows))
    columns = {}
    for heading in cells[0] if cells else ():
        columns[heading] = [heading.replace(" error", "\nerror"), *(row[heading] for row in cells)]
    natural = sum(max(len(line) for text in texts for line in text.split("\n")) + 2 for texts in columns.values())
    table = Table(title=title, caption=comparison_note(rows), box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.padding = (0, 1 if natural <= 82 else 0, 0, 0)
    for heading, texts in columns.items():
        name = heading == "network"
        side = "left" if name or heading == "width" else "right"
        table.add_column(texts[0], justify=side, overflow="fold", no_wrap=not name, min_width=8 if name else None)
    for row in cells:
        table.add_row(*row.values())
    return table


def _printed(rows: Sequence[Mapping]) -> list[dict]:
    rows, left_out = plain_rows(rows), set(UNPRINTED)
    nonzero, whole = (
        [{quantities.amount(run) for run in _runs(row.get(key))} for row in rows] for key in ("nonzero", "parameters")
    )
    if all(found <= {*given, quantities.NOTHING} for found, given in zip(nonzero, whole, strict=True)):
        left_out.add("nonzero")
    else:
        rows = [row | {"nonzero": quantities.middle(_runs(row.get("nonzero")))} for row in rows]
    return [{key: value for key, value in row.items() if key not in left_out} for row in rows]


def print_table(rows: Sequence[Mapping], title: str | None = None, console: Console | None = None) -> None:
    """Prints the comparison; without colours and control characters where the output is no terminal."""
    (console or Console()).print(comparison_table(rows, title))


def write_table_csv(path: str | os.PathLike, rows: Sequence[Mapping]) -> Path:
    """Writes the rows as CSV for programs: full numbers, one line for each network and seed, whole or not at all.

    Lists are taken apart (column `run` counts from 0), single values are repeated, widths are JSON.
    """
    lines = []
    for row in plain_rows(rows):
        for run in range(max((len(_runs(value)) for value in row.values()), default=1)):
            line = {"network": row.get("network", ""), "run": run}
            for key, value in row.items():
                runs = _runs(value)
                entry = runs[0] if len(runs) == 1 else runs[run] if run < len(runs) else None
                line[key] = json.dumps(entry) if isinstance(entry, Mapping) else entry
            lines.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return write_whole(path, text.getvalue())
