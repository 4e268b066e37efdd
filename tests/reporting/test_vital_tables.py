"""Tables and pictures of vital blocks, from plain data."""

import pytest
from rich.console import Console

from src.reporting.vital_figures import blocks_figure, lesions_figure
from src.reporting.vital_tables import BlockRow, Lesions, as_markdown, block_cells, block_table, write_lesions

ROWS = [
    BlockRow("layer1.0", False, 600, 60, 0.6, 0.3),
    BlockRow("layer1.1", False, 100, 40, 0.1, 0.2),
    BlockRow("layer2.0", True, 200, 80, 0.2, 0.4),
]
_FOUND = {"layer1.0": (97.0, 90.0), "layer2.0": (60.0, 10.0), "layer1.1": (95.0, 50.0)}
LESIONS = Lesions(98.0, (0.3, 1.0), {(block, p): found[p == 1] for block, found in _FOUND.items() for p in (0.3, 1.0)})


def test_groups_are_summed_and_their_medians_taken():
    """The claim of the paper is about groups, not about single blocks."""
    sums = block_cells(ROWS)[-2:]
    assert [(row["block"], row["MACs"], row["of all"]) for row in sums] == [
        ("1 vital, sum", "200", "20.0 %"),
        ("2 non-vital, sum", "700", "70.0 %"),
    ]
    medians = block_cells(ROWS, LESIONS)[-2:]
    assert [(row["p = 0.3"], row["p = 1"]) for row in medians] == [("60.00", "10.00"), ("96.00", "70.00")]
    assert block_cells([]) == []


def test_the_table_fits_and_a_group_may_be_empty():
    """A ConvNeXt has no vital block at all."""
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(block_table(ROWS[:2], LESIONS), block_table(ROWS))
    text = console.export_text()
    assert "0 vital, median" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert as_markdown(block_cells(ROWS)).count("\n") == 6


def test_a_block_without_a_transform_has_no_line(tmp_path):
    """It has no parametric ops that could be masked."""
    known = Lesions(98.0, (0.3,), {("layer2.0", 0.3): 60.0})
    text = write_lesions(tmp_path / "lesions.csv", ROWS, known).read_text()
    assert text.splitlines()[1:] == ["layer2.0,true,0.3,60.0,98.0"]
    assert block_cells(ROWS, known)[0]["p = 0.3"] == "-"


@pytest.mark.parametrize("rows", [ROWS, ROWS[:2], []])
def test_pictures_show_both_groups_in_the_order_of_the_network(rows):
    """The vital ones are told by their colour; the order is that in which the blocks run."""
    bars = blocks_figure(rows)
    assert bars.layout.xaxis.categoryarray == tuple(row.block for row in rows)
    assert [name for trace in bars.data[:2] for name in trace.x] == sorted(
        (row.block for row in rows), key=lambda name: (name != "layer2.0", name)
    )
    lines = lesions_figure(rows, LESIONS)
    medians = {trace.name: list(trace.y) for trace in lines.data if trace.showlegend is not False}
    assert medians.get("vital, median") == ([98.0, 60.0, 10.0] if rows == ROWS else None)
    assert medians.get("non-vital, median") == ([98.0, 96.0, 70.0] if rows else None)
