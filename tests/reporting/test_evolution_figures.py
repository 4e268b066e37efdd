"""The figures of an evolution show the data that they were given, and nothing that is not a number."""

import math

from src.reporting.evolution_figures import archives_figure, hypervolume_figure, prediction_figure, surrogate_figure


def traces(figure):
    return {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}


def test_hypervolumes_are_lines_over_iterations_from_zero():
    figure = hypervolume_figure({"NAT": [0.5, 0.6, 0.7], "random": [0.5, None, 0.55]})
    assert traces(figure) == {"NAT": ([0, 1, 2], [0.5, 0.6, 0.7]), "random": ([0, 2], [0.5, 0.55])}
    assert figure.layout.showlegend
    assert not hypervolume_figure({"NAT": [0.5]}).layout.showlegend


def test_the_first_iteration_has_no_surrogate():
    figure = surrogate_figure([None, 0.8], [None, 0.6], [None, 1.5])
    assert traces(figure) == {"Spearman": ([1], [0.8]), "Kendall": ([1], [0.6]), "RMSE": ([1], [1.5])}
    assert figure.data[2].yaxis == "y2"  # percent has an axis of its own


def test_predictions_stand_beside_a_line_of_equal_errors():
    shown = traces(prediction_figure([10.0, 12.0, math.nan], [11.0, 15.0, 9.0]))
    assert shown["sub-nets"] == ([10, 12], [11, 15])
    assert shown["equal"][0] == shown["equal"][1]
    assert shown["equal"][0][0] < 10
    assert shown["equal"][0][1] > 15


def test_archives_are_coloured_by_iteration():
    (points,) = archives_figure([9.0, 8.0, math.nan], [2e6, 1e6, 1e6], [0, 3, 1]).data
    assert list(points.x) == [2, 1]
    assert list(points.marker.color) == [0, 3]


def test_all_of_them_say_so_where_there_is_nothing_yet():
    empty = [
        hypervolume_figure({}),
        surrogate_figure([], [], []),
        prediction_figure([], []),
        archives_figure([], [], []),
    ]
    assert all(figure.layout.annotations[0].text for figure in empty)
