"""Numbers are spelled alike everywhere."""

import math

import pytest

from src.reporting import quantities


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (820, "820"), (1234, "1.23 k"), (85_300, "85.3 k"), (99_960, "0.10 M"), (270_000, "0.27 M"),
        (999_999, "1.00 M"), (2_510_000, "2.51 M"), (9_996_000, "10.0 M"), (41_200_000, "41.2 M"),
        (99_960_000, "100 M"), (999_600_000, "1.00 G"), (None, "-"), (math.nan, "-"),
    ],
)  # fmt: skip
def test_amounts_have_three_digits_and_a_unit(value, text):
    assert quantities.amount(value) == text


def test_clock_shows_hours_only_when_there_are_some():
    assert [quantities.clock(s) for s in (0.4, 72, 3723.4, None)] == ["0:00", "1:12", "1:02:03", "?"]


def test_change_is_relative_to_the_reference():
    assert quantities.relative(1.36, 2.51) == "-46 %"
    assert quantities.relative(105.0, 100) == "+5.0 %"
    assert quantities.relative(1.0, None) == ""
    assert quantities.relative(1.0, 0) == ""


def test_spread_of_runs():
    assert quantities.spread([1.39, 1.11, 1.67, None], quantities.percent) == "1.11-1.67"
    assert quantities.spread([1.2e6, 1.5e6], quantities.amount) == "1.20-1.50"
    assert quantities.spread([9e5, 2e9], quantities.amount) == "0.90 M-2.00 G"
    assert quantities.spread([1.0, 1.001], quantities.percent) == ""


def test_width_summary_pools_several_runs():
    assert quantities.width_summary({"a": 16, "b": 64, "c": 32}) == "16-64, mean 37.3"
    assert quantities.width_summary([{"a": 16}, {"a": 32}]) == "16-32, mean 24"
    assert quantities.width_summary({"a": 32, "b": 32}) == "32"
    assert quantities.width_summary({}) == "-"
