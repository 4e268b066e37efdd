"""The table at the end of a multirun, as it is printed."""

import io

from rich.table import Table

from src.runtime.multirun.comparison import print_whole


def test_a_table_wider_than_the_terminal_loses_nothing(monkeypatch):
    """In a log of 80 columns 2.45 would be printed as 2.4, and nothing would say so."""
    monkeypatch.setenv("COLUMNS", "30")
    table, printed = Table(), io.StringIO()
    for name in ("setting", "network"):
        table.add_column(name, no_wrap=True)
    table.add_row("stage=digits/joint_plus", "2.45 (± 0.71)")
    print_whole(table, printed)
    assert "stage=digits/joint_plus" in printed.getvalue()
    assert "2.45 (± 0.71)" in printed.getvalue()
