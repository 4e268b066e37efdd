"""CONet's constraint resolution on ResNet34, against the table of the specification."""

import pytest

from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.graph.votes import votes
from src.networks.resnet import resnet34
from tests.graph import networks


@pytest.fixture(scope="module")
def graph():
    return channel_graph(resnet34(), (3, 32, 32))


def numbered(graph, rule):
    """The votes with the convolutions numbered in parameter order, as the released code numbers them."""
    model = resnet34()
    order = [name for name, parameter in model.named_parameters() if parameter.dim() == 4]
    number = {name.removesuffix(".weight"): i for i, name in enumerate(order)}
    return {
        name: {f"{side}{number[layer]}" for ((layer, side),) in voices} for name, voices in votes(graph, rule).items()
    }


RELEASED = [
    "in1 out2 in3 out4 in5 out6",
    "in7 out8 in10 out11 in12 out13 in14 out15",
    "in16 out17 in19 out20 in21 out22 in23 out24 in25 out26 in27 out28",
    "in29 out30 in32 out33 in34 out35",
]


def test_released_votes_are_those_of_the_table(graph):
    """Parity with CONet's released search hangs on it."""
    found = numbered(graph, "released")
    assert len(found) == 20
    streams = [voices for voices in found.values() if len(voices) > 2]
    assert streams == [set(row.split()) for row in RELEASED]
    inner = [voices for voices in found.values() if len(voices) == 2]
    assert len(inner) == 16
    assert {"out1", "in2"} in inner
    assert {"out34", "in35"} in inner


def test_corrected_votes_count_each_side_of_each_convolution_once(graph):
    """Stem, shortcuts and the stage boundaries are given to the width that they read or write."""
    found = numbered(graph, "corrected")
    cast = [vote for voices in found.values() for vote in voices]
    assert len(cast) == len(set(cast)) == 2 * 36 - 1  # all but the side that reads the image
    assert {"out0", "in7", "in9"} <= found["stem"]
    assert {"out9", "in16", "in18"} <= found["layer2.0.conv2"]


def test_linear_layers_speak_only_where_no_convolution_does():
    ballot = votes(channel_graph(networks.Odds(), (3, 4, 4)))
    assert ballot == {"up": [], "point": [(("point", "out"),)], "hidden": [(("hidden", "out"),), (("fc", "in"),)]}


def test_an_unknown_rule_is_named(graph):
    with pytest.raises(UserError, match="did you mean 'released'"):
        votes(graph, "relesed")
