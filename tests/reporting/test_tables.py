"""The final table: what people read and what programs read."""

import csv
import io
import json

import pytest
from rich.console import Console

from src.reporting.tables import comparison_cells, print_table, write_table_csv

ROWS = [
    {
        "network": "base resnet20",
        "width": {"stem": 16, "layer3": 64},
        "parameters": 2_510_000,
        "MACs": 41_200_000,
        "validation error": [1.39, 1.11, 1.67],
        "test error": [2.0, 2.1, 2.2],
        "seconds": [45.0, 44.0, 47.0],
    },
    {
        "network": "found",
        "width": [{"stem": 18, "layer3": 40}] * 3,
        "params": [1_360_000, 1_200_000, 1_500_000],
        "macs": [25_000_000, 24_000_000, 25_500_000],
        "val_error": 1.2,
        "test_error": None,
        "seconds": 30.0,
    },
]


def shown(rows, width=80):
    stream = io.StringIO()
    print_table(rows, console=Console(file=stream, width=width))
    return stream.getvalue()


def test_cells_hold_median_range_and_change():
    base, found = comparison_cells(ROWS)
    assert base["parameters"] == "2.51 M"
    assert base["validation error (%)"] == "1.39\n(1.11-1.67)"
    assert base["seconds"] == "45"
    assert found["parameters"] == "1.36 M\n(-46 %)\n(1.20-1.50)"
    assert found["MACs"] == "25.0 M\n(-39 %)\n(24.0-25.5)"
    assert found["width"] == "18-40\nmean 29"
    assert found["test error (%)"] == "-"


def test_table_fits_into_80_columns_without_cutting_anything():
    text = shown(ROWS)
    assert max(map(len, text.splitlines())) <= 80
    for row in comparison_cells(ROWS):
        for cell in row.values():
            assert all(line in text for line in cell.split("\n"))
    assert "base resnet20" in text  # on one line: the columns move together before a name is broken
    assert "median of 3 seeds" in text
    assert "\x1b" not in text


def test_long_names_wrap_and_leave_the_numbers_whole():
    text = shown([{**row, "network": f"{row['network']} of a very long name"} for row in ROWS])
    assert max(map(len, text.splitlines())) <= 80
    assert "(1.11-1.67)" in text
    assert "(1.20-1.50)" in text


def test_unknown_columns_and_no_rows_are_shown_too():
    (cells,) = comparison_cells([{"network": "x", "latency_ms": 1.23456}])
    assert cells == {"network": "x", "latency ms": "1.235"}
    assert shown([]).strip() == ""


def test_csv_has_a_line_for_each_seed_with_full_numbers(tmp_path):
    path = write_table_csv(tmp_path / "comparison.csv", ROWS)
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["run"] for line in lines] == ["0", "1", "2"] * 2
    assert [float(line["val_error"]) for line in lines] == [1.39, 1.11, 1.67, 1.2, 1.2, 1.2]
    assert lines[1]["macs"] == "41200000"
    assert lines[5]["test_error"] == ""
    assert json.loads(lines[3]["width"]) == {"stem": 18, "layer3": 40}


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_table_can_be_printed_to_any_log(encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_table(ROWS, title="results", console=Console(file=stream, width=80))
    stream.seek(0)
    assert "2.51 M" in stream.read()


TRUST = {"nll": 0.1, "ece": 1.5, "entropy": 0.2, "noise_entropy": 1.0, "monte_carlo_nll": 0.1}


def test_trust_is_for_the_report_and_non_zero_parameters_where_they_say_more():
    """The terminal has 80 columns, and tables of networks without zeros stay as they were."""
    rows = [{**row, **TRUST, "nonzero": row.get("parameters", row.get("params"))} for row in ROWS]
    assert shown(rows) == shown(ROWS)
    assert comparison_cells(rows)[0]["ECE (%)"] == "1.50"
    rows[1] |= {"params": 1_360_000, "macs": 25_000_000, "nonzero": [400_000, 350_000, 420_000]}
    rows[0] |= {"test error": [12.0, 12.1, 12.2], "seconds": [123_456.0]}
    text = shown(rows)
    assert max(map(len, text.splitlines())) <= 80
    assert all(word in text for word in ("non-zero", "0.40 M", "(-84 %)", "(12.00-12.20)", "123456"))
