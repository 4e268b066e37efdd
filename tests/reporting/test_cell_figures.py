"""What the figures of a search for cells show."""

import math

import pytest

from src.reporting.cell_figures import cell_figure, gates_figure, histogram_figure, live_figure, short_cells
from src.reporting.cell_plan import cell_plan

NODES = [
    [["sep_conv_3x3", 0], ["skip_connect", 1]],
    [["dil_conv_5x5", 0], ["max_pool_3x3", 2], ["sep_conv_5x5", 2]],
]
ALL = [
    [[name, state] for state in range(2 + node) for name in ("sep_conv_3x3", "avg_pool_3x3", "skip_connect")]
    for node in range(4)
]


def test_a_genotype_in_a_line():
    line = "normal: sep3(0) skip(1) | dil5(0) max(2) sep5(2); reduce: own(0)"
    assert short_cells({"normal": NODES, "reduce": [[["own", 0]]]}) == line


def test_every_operation_has_a_box_that_touches_no_other_box_and_no_wire_but_its_own():
    """However many operations a cell has: a label that another part covers cannot be read."""
    for nodes in (NODES, ALL):
        plan = cell_plan(nodes, range(2, 2 + len(nodes)))
        places = [(box.operation, box.state, box.node) for box in plan.boxes]
        assert sorted(places) == sorted((name, state, i) for i, node in enumerate(nodes) for name, state in node)
        for i, a in enumerate(plan.boxes):
            for b in plan.boxes[:i]:
                assert a.right < b.left or b.right < a.left or a.top < b.bottom or b.top < a.bottom
            for (x0, y0), (x1, y1) in plan.wires:
                inside = max(x0, x1) > a.left and min(x0, x1) < a.right
                assert not (inside and max(y0, y1) > a.bottom and min(y0, y1) < a.top)


def test_a_cell_shows_each_operation_with_its_edge_and_dashes_what_has_no_parameters():
    figure = cell_figure(NODES, "normal cell")
    texts = {
        (text, *data[1:])
        for trace in figure.data
        if trace.mode == "text"
        for text, data in zip(trace.text, trace.customdata, strict=True)
    }
    assert ("sep5", "node 0", 1) in texts
    assert ("skip", "c<sub>k-1</sub>", 0) in texts
    assert len(texts) == 5
    assert sum(shape.line.dash == "dash" for shape in figure.layout.shapes) == 2
    assert figure.layout.title.text == "normal cell"


def test_an_output_that_leaves_nodes_out_gets_wires_of_the_others_alone():
    assert [y for _, y in cell_plan(NODES, [3]).outputs] == [cell_plan(NODES, [2, 3]).states[3][1]]


def test_the_map_of_gates_crosses_out_dead_ones_and_has_the_threshold_in_its_middle():
    alpha = [[[1.0, 5.0], [math.inf, 2.0]], [[3.0, 3.0], [3.0, 3.0]]]
    live = [[[True, False], [True, True]], [[True, True], [True, True]]]
    operations, edges = ["skip_connect", "sep_conv_3x3"], [(0, 0), (0, 1)]
    figure = gates_figure(alpha, operations, edges, threshold=3.0, live=live)
    first, crossed, _, none = figure.data
    assert first.z[0][1] == 5
    assert first.z[1][0] is None
    assert (first.zmin, first.zmax) == (1, 5)
    assert (list(crossed.x), list(crossed.y)) == (["sep3"], ["c<sub>k-2</sub> → 0"])
    assert not none.x


def test_the_histogram_has_shares_and_entropy_of_each_cell_over_epochs():
    figure = histogram_figure([{"normal": NODES, "reduce": NODES}, {"normal": NODES[:1], "reduce": [[["own", 0]]]}])
    shares = {trace.name: list(trace.y) for trace in figure.data if trace.type == "bar" and trace.xaxis == "x"}
    assert shares["skip"] == pytest.approx([20, 50])
    assert shares["max"] == pytest.approx([20, 0])
    assert [sum(own) for own in zip(*shares.values(), strict=True)] == pytest.approx([100, 100])
    entropies = [list(trace.y) for trace in figure.data if trace.name == "entropy"]
    assert entropies[0] == pytest.approx([math.log(5), math.log(2)])
    assert entropies[1] == pytest.approx([math.log(5), 0])


def test_live_operations_stand_over_the_weight_of_the_kl():
    live, gamma = live_figure([10, 7], [0.0, 0.1]).data
    assert (list(live.x), list(live.y), list(gamma.y)) == ([1, 2], [10, 7], [0, 0.1])
    assert len(live_figure([10, 7]).data) == 1
