"""What is tied, what is frozen, and what is said about it."""

import warnings

import pytest
from torch import nn

from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.graph.resize import resized
from tests.graph import networks


def test_an_unknown_op_freezes_what_it_touches_with_one_warning():
    """Otherwise a width beside an op of unknown meaning would be changed, and the network broken."""
    with pytest.warns(UserWarning, match="cumsum") as caught:
        graph = channel_graph(networks.Unknown(), (3, 4, 4))
    assert len(caught) == 1
    assert set(graph.widths()) == {"b", "c"}
    with pytest.raises(UserError, match="cumsum"):
        resized(networks.Unknown(), {"a": 4}, (3, 4, 4), graph)


def test_a_width_that_the_forward_writes_as_a_number_is_frozen():
    with pytest.warns(UserWarning, match="view"):
        graph = channel_graph(networks.HardCoded(), (3, 4, 4))
    assert set(graph.widths()) == {"a"}


def test_nothing_is_said_about_a_network_that_is_known():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert channel_graph(networks.Odds(), (3, 4, 4)).unknown == {}


def test_ties():
    """Chunk halves, concatenation cuts, group norm asks for multiples."""
    gate = channel_graph(networks.Gate(), (3, 4, 4))
    assert gate.widths() == {"conv": 8, "out": 4}
    assert channel_graph(networks.AddConcat(), (3, 4, 4)).widths() == {"left": 6, "right": 10}
    odds = {group.name: group.multiple for group in channel_graph(networks.Odds(), (3, 4, 4)).free}
    assert odds == {"up": 2, "point": 1, "hidden": 1}  # two outputs a channel, four groups to normalise


def test_input_and_classifier_are_never_searched():
    graph = channel_graph(networks.Twice(), (3, 4, 4))
    frozen = {group.frozen: group.width for group in graph.groups if group.frozen}
    assert frozen == {"it is the input": 3, "it is an output of the network": 5}


def test_a_model_that_cannot_be_traced_names_module_and_op():
    with pytest.raises(UserError, match=r"'inner' \(Inner\).*if x.sum\(\) > 0"):
        channel_graph(networks.Branching(), (3, 4, 4))


def test_images_that_do_not_fit_name_the_layer():
    with pytest.raises(UserError, match=r"does not take images of shape \(1, 4, 4\): 'conv' \(Conv2d\)"):
        channel_graph(networks.Gate(), (1, 4, 4))


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"stam": 4}, "did you mean 'stem'"),
        ({"stem": 0}, "positive multiple of 1"),
        ({"stem": 2.5}, "positive multiple of 1"),
        ({"fc": 3}, "cannot change: it is an output"),
    ],
)
def test_inadmissible_widths_are_named(widths, message):
    with pytest.raises(UserError, match=message):
        resized(networks.Twice(), widths, (3, 4, 4))


def test_resized_leaves_the_given_model_alone():
    model = networks.Twice()
    other = resized(model, {"stem": 3}, (3, 4, 4))
    assert model.shared.weight.shape == (8, 8, 3, 3)
    assert (other.shared.in_channels, other.shared.out_channels, other.fc.in_features) == (3, 3, 3)
    assert isinstance(other, networks.Twice)
    assert isinstance(other.shared.weight, nn.Parameter)
