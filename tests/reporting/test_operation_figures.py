"""What the figures of a search for operations show."""

import pytest
import torch

from src.reporting.operation_figures import probabilities_figure, proposal_costs_figure

UNIFORM = torch.tensor([[1e6, 2e6], [3e6, 4e6]])
PROPOSED = torch.tensor([[[2e6, 3e6]], [[2.5e6, 3.5e6]]])


def test_samples_of_all_proposals_stand_in_millions_beside_the_uniform_ones_with_the_bands_of_the_targets():
    figure = proposal_costs_figure(["macs", "params"], UNIFORM, PROPOSED, {"params": (2.9e6, 3.1e6)}, found=[2e6, 3e6])
    uniform, proposed, found = figure.data
    assert (uniform.x, uniform.y) == ((1, 3), (2, 4))
    assert (proposed.x, proposed.y) == ((2, 2.5), (3, 3.5))
    assert (found.x, found.y) == ((2,), (3,))
    (band,) = figure.layout.shapes
    assert (band.y0, band.y1) == (pytest.approx(2.9), pytest.approx(3.1))
    assert band.x0 == 0
    assert "domain" in band.xref


def test_one_cost_alone_has_histograms():
    figure = proposal_costs_figure(["latency"], UNIFORM[:, :1], PROPOSED[..., :1], {"latency": (1.0, 2.0)})
    assert [trace.type for trace in figure.data] == ["histogram"] * 2
    assert figure.layout.xaxis.title.text == "latency (ms)"


def test_the_map_has_the_last_probabilities_the_chosen_ones_and_their_course():
    history = torch.tensor([[[0.5, 0.5], [0.5, 0.5]], [[0.2, 0.8], [0.6, 0.4]]])
    figure = probabilities_figure(history, ["a", "b"], ["x", "y"], chosen=[1, 1], vital=[True, False])
    last, chosen, course = figure.data
    assert torch.tensor(last.z).allclose(history[-1])
    assert list(last.y) == ["<b>a</b> (vital)", "b"]
    assert list(chosen.x) == ["y", "y"]
    assert torch.tensor(course.z).allclose(history[:, :, 1].T)
    assert list(course.x) == [1, 2]


def test_without_a_history_there_is_one_map_and_the_most_probable_is_chosen():
    figure = probabilities_figure(torch.tensor([[0.2, 0.8], [0.6, 0.4]]), ["a", "b"], ["x", "y"])
    assert [trace.type for trace in figure.data] == ["heatmap", "scatter"]
    assert list(figure.data[1].x) == ["y", "x"]
