"""What the figures of cascades show."""

import math

import pytest

from src.errors import UserError
from src.reporting.cascade_figures import (
    CascadeStages,
    FrontPoint,
    cascade_front_figure,
    exits_figure,
    front_caption,
)

CASCADES = [FrontPoint("a > b", 6.0, 20e6, 6.5, 21e6), FrontPoint("a", 9.0, 10e6, 6.0, 10e6)]
NETWORKS = [FrontPoint("a", 9.0, 10e6, 9.5, 10e6), FrontPoint("b", 7.0, 40e6, 7.5, 40e6)]


def _traces(figure):
    return {(trace.name, trace.yaxis or "y"): (list(trace.x), list(trace.y)) for trace in figure.data}


def test_validation_stands_above_test_each_by_increasing_cost():
    figure = cascade_front_figure(CASCADES, NETWORKS, exact=[(5.0, 20e6), (8.0, 10e6)])
    assert _traces(figure) == {
        ("single networks", "y"): ([10, 40], [9, 7]),
        ("exact front", "y"): ([10, 20], [8, 5]),
        ("cascades", "y"): ([10, 20], [9, 6]),
        ("single networks", "y2"): ([10, 40], [9.5, 7.5]),
        ("cascades", "y2"): ([10, 21], [6, 6.5]),
    }
    assert [trace.name for trace in figure.data if trace.showlegend] == ["single networks", "exact front", "cascades"]


def test_without_test_values_there_is_one_drawing_and_few_networks_are_named():
    figure = cascade_front_figure([FrontPoint("a > b", 6.0, 20e6)], NETWORKS)
    assert {trace.yaxis for trace in figure.data} == {"y"}
    assert list(figure.data[0].text) == ["a", "b"]
    many = cascade_front_figure([], [FrontPoint(str(i), 5.0 + i, 1e6 + i) for i in range(30)])
    assert many.data[0].text is None
    assert "<b>29</b>" in many.data[0].hovertext[29]


def test_what_has_no_place_on_a_logarithmic_axis_is_left_out():
    """A cascade of no-ops costs nothing or infinitely much; it must not stretch the axes."""
    odd = [FrontPoint("none", 100.0, math.inf), FrontPoint("free", 5.0, 0.0), FrontPoint("nan", math.nan, 1e6)]
    figure = cascade_front_figure([*CASCADES, *odd], NETWORKS)
    assert _traces(figure)["cascades", "y"] == ([10, 20], [9, 6])
    low, high = figure.layout.xaxis.range
    assert low < 1 < math.log10(40) < high < 2
    assert figure.layout.yaxis.range == figure.layout.yaxis2.range
    assert not cascade_front_figure([]).data


def test_the_axis_says_what_is_paid():
    figure = cascade_front_figure([FrontPoint("a", 6.0, 20.0)], cost="latency")
    assert figure.layout.xaxis.title.text == "average latency (ms)"
    assert list(figure.data[0].x) == [20.0]
    with pytest.raises(UserError, match="did you mean 'latency'"):
        cascade_front_figure(CASCADES, cost="latncy")


def test_the_caption_names_what_is_there():
    assert "2 cascades" in front_caption(CASCADES, NETWORKS)
    assert "on test" in front_caption(CASCADES, NETWORKS)
    assert "exact" in front_caption(CASCADES, NETWORKS, exact=True)
    alone = front_caption([FrontPoint("a", 6.0, 2e6)], NETWORKS)
    assert "test" not in alone
    assert "exact" not in alone


def test_each_stage_shows_who_leaves_and_what_it_takes():
    """Of 100 images 60 leave the first cascade at its first stage, which takes 100 of 100 + 40 * 5 = 300 MACs."""
    stages = [CascadeStages("one", ["a", "b"], [100, 40], [1.0, 5.0]), CascadeStages("one", ["b"], [100], [5.0])]
    bars = [(bar.name, list(bar.y), [round(x, 2) for x in bar.x]) for bar in exits_figure(stages).data]
    assert bars == [
        ("stage 1", [0, 1], [60, 100]),
        ("stage 1", [0, 1], [33.33, 100]),
        ("stage 2", [0], [40]),
        ("stage 2", [0], [66.67]),
    ]
    with pytest.raises(ValueError, match="of one length"):
        exits_figure([CascadeStages("one", ["a", "b"], [100], [1.0, 5.0])])
    assert not exits_figure([]).data
