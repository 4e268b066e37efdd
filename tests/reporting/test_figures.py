"""The figures show the data that they were given."""

from dataclasses import replace

import pytest

from src.reporting.candidates import Candidate
from src.reporting.figures import (
    condition_figure,
    front_figure,
    learning_curves_figure,
    rank_figure,
    slope_figure,
    width_figure,
)


def candidate(id, error, macs, architecture=None, extra=None):
    return Candidate(id, None, id, error, macs, 1000, 1.0, architecture or {"stem": 16 + id, "conv": 32}, extra or {})


def traces(figure):
    return {trace.name: trace for trace in figure.data}


CANDIDATES = [
    candidate(0, 9.0, 10e6),
    candidate(1, 5.0, 20e6),
    candidate(2, 7.0, 30e6),
    candidate(3, float("nan"), 5e6),
]


def test_front_holds_all_finite_candidates_and_the_front_in_order():
    shown = traces(front_figure(CANDIDATES))
    assert list(shown["candidates"].x) == [10, 20, 30]
    assert list(shown["candidates"].y) == [9, 5, 7]
    assert list(zip(shown["Pareto front"].x, shown["Pareto front"].y, strict=True)) == [(10, 9), (20, 5)]
    assert "stem 17" in shown["candidates"].hovertext[1]
    assert "candidate 1" in shown["candidates"].hovertext[1]


def test_outdated_candidates_are_drawn_apart_and_inside():
    figure = front_figure([*CANDIDATES, replace(candidate(4, 1.0, 50e6), outdated=True)])
    shown = traces(figure)
    assert list(shown["outdated candidates"].x) == [50]
    assert list(shown["candidates"].x) == [10, 20, 30]
    assert list(shown["Pareto front"].x) == [10, 20]
    assert figure.layout.xaxis.range[1] > 50


def test_marked_networks_are_inside_the_drawing():
    base = {"name": "resnet20", "macs": 41e6, "error": 2.0, "params": 270_000}
    figure = front_figure(CANDIDATES, base=base, found=CANDIDATES[1])
    shown = traces(figure)
    assert (shown["resnet20"].x[0], shown["resnet20"].y[0]) == (41, 2)
    assert (shown["found network"].x[0], shown["found network"].y[0]) == (20, 5)
    assert figure.layout.xaxis.range[1] > 41
    assert figure.layout.yaxis.range[0] < 2
    assert figure.layout.xaxis.title.text == "MACs (M)"


def test_a_base_of_unknown_error_is_a_line_at_its_macs():
    line = traces(front_figure(CANDIDATES, base={"macs": 41e6, "params": 5}))["base network (MACs only)"]
    assert list(line.x) == [41, 41]
    assert line.mode == "lines"


@pytest.mark.parametrize("count", [0, 1, 500])
def test_front_can_be_drawn_for_none_one_and_many(count):
    figure = front_figure([candidate(i, 5.0 + i % 7, int(1e6 + i)) for i in range(count)])
    assert len(figure.data[0].x) == count
    assert ("text" in figure.data[0].mode) == (count < 30)  # 500 ids would cover the picture
    figure.to_json()


def test_width_map_has_a_row_for_each_group_and_a_column_for_each_trial():
    figure = width_figure(
        [{"stem": 16, "conv": 32}, {"stem": 32, "conv": 16, "late": 8}], start={"stem": 16, "conv": 32}
    )
    heat = figure.data[0]
    assert list(heat.y) == ["stem", "conv", "late"]
    assert [list(row) for row in heat.z] == [[0, 1], [0, -1], [None, None]]  # doublings against the start
    assert [list(row) for row in heat.text] == [["16", "32"], ["32", "16"], ["", "8"]]
    assert heat.zmin == -heat.zmax  # the start is white
    assert figure.layout.yaxis.autorange == "reversed"


def test_width_map_of_candidates_is_headed_by_their_ids():
    heat = width_figure([candidate(4, 1.0, 1), candidate(9, 1.0, 1)]).data[0]
    assert list(heat.x) == ["4", "9"]
    assert [list(row) for row in heat.z] == [[20, 25], [32, 32]]


def test_width_map_ends_with_the_network_that_was_found():
    """Its widths follow from the last candidate's ranks, so no candidate has them."""
    heat = width_figure([{"stem": 16}], found={"stem": 12}).data[0]
    assert list(heat.x) == ["1", "found"]
    assert [list(row) for row in heat.z] == [[16, 12]]


def test_rank_curves_break_at_trials_and_bridge_epochs_that_were_not_measured():
    figure = rank_figure({"stem": [0.1, None, 0.3, 0.05, 0.2]}, boundaries=[3])
    assert list(figure.data[0].x) == [1, 3, None, 4, 5]
    assert list(figure.data[0].y) == [0.1, 0.3, None, 0.05, 0.2]
    assert [shape.x0 for shape in figure.layout.shapes] == [3.5]
    assert [note.text for note in figure.layout.annotations] == ["trial 1", "trial 2"]


def test_slopes_stand_against_delta():
    shown = traces(slope_figure({"stem": [0.02, 0.01], "conv": [0.005, 0.006]}, delta=0.0075))
    assert list(shown["conv"].y) == [0.005, 0.006]
    assert set(shown["delta = 0.0075"].y) == {0.0075}


def test_conditions_stand_against_mu_on_a_logarithmic_axis():
    figure = condition_figure({"stem": [2.0, 20.0]}, mu=10)
    assert set(traces(figure)["mu = 10"].y) == {10}
    assert figure.layout.yaxis.type == "log"
    assert not figure.layout.annotations
    assert "every rank is 0" in condition_figure({"stem": [0.0, 0.0]}, mu=10).layout.annotations[0].text


def test_before_the_first_update_the_picture_says_so():
    assert slope_figure({"stem": []}, delta=0.01).layout.annotations[0].text == "no update yet"


def test_errors_and_losses_have_their_own_axes():
    figure = learning_curves_figure(
        {"val/error": [9.0, 8.0], "val/loss": [1.0, float("nan")], "train/loss": [2.0, 1.5]}
    )
    shown = traces(figure)
    assert shown["val/error"].yaxis == "y"
    assert shown["train/loss"].yaxis == shown["val/loss"].yaxis == "y2"
    assert list(shown["val/loss"].y) == [1.0]
    assert learning_curves_figure({}).data == ()


def test_many_curves_get_distinct_colours():
    figure = rank_figure({str(i): [0.1 * i] for i in range(30)})
    assert len({trace.line.color for trace in figure.data}) == 30
