"""Tables of the blocks of a network: which are vital, what they cost, and what lesions of them do to the accuracy."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from src.reporting import quantities
from src.whole_files import write_whole


@dataclass(frozen=True)
class BlockRow:
    """A block: whether it is vital, its MACs for one image and its parameters, and those as shares of all."""

    block: str
    vital: bool
    macs: int
    params: int
    macs_share: float
    params_share: float


@dataclass(frozen=True)
class Lesions:
    """Accuracies in percent: without a lesion, and of each (block, rate); a block without a transform has none."""

    clean: float
    rates: tuple[float, ...]
    accuracy: dict[tuple[str, float], float]

    def medians(self, blocks: Sequence[str]) -> list[float | None]:
        """For each rate the median over `blocks`; None where there are none."""
        return [quantities.middle([self.accuracy.get((block, rate)) for block in blocks]) for rate in self.rates]


def block_cells(rows: Sequence[BlockRow], lesions: Lesions | None = None) -> list[dict[str, str]]:
    """The table as text, a dict {heading: cell} a block: costs, or with lesions accuracies; at the end both groups."""
    cells = [{"block": row.block, "vital": "yes" if row.vital else "", **_values([row], lesions)} for row in rows]
    for name, vital in (("vital", True), ("non-vital", False)) if rows else ():
        own = [row for row in rows if row.vital == vital]
        group = f"{len(own)} {name}{', median' if lesions else ', sum'}"
        cells.append({"block": group, "vital": "", **_values(own, lesions)})
    return cells


def _values(rows: Sequence[BlockRow], lesions: Lesions | None) -> dict[str, str]:
    if lesions is not None:
        values = zip(lesions.rates, lesions.medians([row.block for row in rows]), strict=True)
        return {f"p = {rate:g}": quantities.percent(value) for rate, value in values}
    return {
        "MACs": quantities.amount(sum(row.macs for row in rows)),
        "of all": f"{100 * sum(row.macs_share for row in rows):.1f} %",
        "parameters": quantities.amount(sum(row.params for row in rows)),
        "of all ": f"{100 * sum(row.params_share for row in rows):.1f} %",
    }


def lesion_caption(lesions: Lesions) -> str:
    """What has to be said of the accuracies."""
    clean = quantities.percent(lesions.clean)
    return f"accuracy (%) with each channel of the block's transform at zero with probability p; {clean} without"


def block_table(rows: Sequence[BlockRow], lesions: Lesions | None = None, title: str | None = None) -> Table:
    """The rows of `block_cells` for a terminal; fits into 80 columns."""
    cells = block_cells(rows, lesions)
    caption = lesion_caption(lesions) if lesions else None
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in cells[0] if cells else ():
        table.add_column(heading.strip(), justify="left" if heading in ("block", "vital") else "right")
    for number, row in enumerate(cells):
        table.add_row(*row.values(), end_section=number == len(rows) - 1)
    return table


def as_markdown(cells: Sequence[Mapping[str, str]]) -> str:
    """Rows of `block_cells` for TensorBoard."""
    lines = [list(cells[0]), ["---"] * len(cells[0]), *(list(row.values()) for row in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_blocks(path: str | os.PathLike, rows: Sequence[BlockRow]) -> Path:
    """`vital_blocks.csv`, for programs: full numbers, a line for each block."""
    heads = ["block", "vital", "macs", "params", "macs_share", "params_share"]
    lines = [[r.block, str(r.vital).lower(), r.macs, r.params, r.macs_share, r.params_share] for r in rows]
    return _write(path, heads, lines)


def write_lesions(path: str | os.PathLike, rows: Sequence[BlockRow], lesions: Lesions) -> Path:
    """`lesions.csv`: a line for each block and probability, accuracies in percent."""
    heads = ["block", "vital", "p", "accuracy", "accuracy_without"]
    known = lesions.accuracy
    lines = [
        [row.block, str(row.vital).lower(), rate, known[row.block, rate], lesions.clean]
        for row in rows
        for rate in lesions.rates
        if (row.block, rate) in known
    ]
    return _write(path, heads, lines)


def _write(path: str | os.PathLike, heads: Sequence[str], lines: Sequence[Sequence]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(lines)
    return write_whole(path, text.getvalue())
