"""What the figures of a width search in bins show."""

import math

from src.reporting.bin_figures import bins_figure, evenness_figure


def test_each_group_has_its_bins_their_size_and_their_cost():
    figure = bins_figure({"a": 3, "b": 5}, {"a": 32, "b": 4}, {"a": 0.01, "b": 0.02})
    assert [(list(bar.x), list(bar.y)) for bar in figure.data] == [
        (["a", "b"], values) for values in ([3, 5], [32, 4], [1.0, 2.0])
    ]


def test_a_group_of_which_nothing_is_known_yet_has_no_bar():
    figure = evenness_figure({"a": 0.9, "b": math.nan})
    assert list(figure.data[0].x) == ["a"]
    assert not figure.layout.annotations
    assert evenness_figure({"a": math.nan}).layout.annotations[0].text == "too few steps yet"
