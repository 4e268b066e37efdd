"""CONet on networks of cells: width groups, votes and parameters, against the tables of the specification."""

import random
import re

import pytest
import torch

from src.graph.channel_graph import ChannelGraph, channel_graph
from src.graph.cost import cost_polynomial
from src.graph.resize import resized
from src.graph.votes import votes
from src.networks.cell_network import CellNetwork

DARTS, PLUS = "DARTS_V2", "DARTS_PLUS_CIFAR100"
SHAPE = (3, 32, 32)
# cells: normal, reduction, normal after a reduction, normal
PUBLISHED = {
    DARTS: (
        "out0,in3,in11,out21,out23 | out1,in7,in15,in19 | out5,out9,in23 | out17,out13",
        "out3,in5 | out7,in9 | out11,in13 | out15,in17 | out19,in21",
        "out0,out1",
    ),
    PLUS: (
        "out0,out5,in7,out9,in15,in19 | out1,in3,in11 | out13,out17,in23 | out21,out25",
        "out3,in5 | out7,in9 | out11,in13 | out15,in17 | out19,in21 | out23,in25",
        "out0,out2+out3,in5,out5,in7,out7 | out1,in2+in3",
    ),
}


def network_of(genotype: str, layers: int, channels: int = 16, **options) -> CellNetwork:
    with torch.device("meta"):
        return CellNetwork(genotype, channels, layers, 100, **options)


def numbered(network: CellNetwork, graph: ChannelGraph, rule: str) -> dict[str, list[set[str]]]:
    """Of each cell (`cells.0`, and `stem`) the voices of the widths that it writes.

    Convolutions are numbered in parameter order within their cell, as the released code numbers them.
    """
    convolutions = [name.removesuffix(".weight") for name, p in network.named_parameters() if p.dim() == 4]
    first = {}
    for place, name in enumerate(convolutions):
        first.setdefault(_cell(name), place)
    found: dict[str, list[set[str]]] = {}
    for group, voices in votes(graph, rule).items():
        said = {"+".join(f"{side}{convolutions.index(n) - first[_cell(n)]}" for n, side in voice) for voice in voices}
        found.setdefault(_cell(group), []).append(said)
    return found


def _cell(name: str) -> str:
    return re.match(r"cells\.\d+|stem", name)[0]


def table(rows: str, later: bool = False) -> list[set[str]]:
    """The rows of a table; in a cell after a reduction all numbers are one higher, and out0 is the mean of two."""
    if later:
        rows = re.sub(r"\d+", lambda number: str(int(number[0]) + 1), rows)
        rows = re.sub(r"\bout1\b", "out0+out1", rows, count=1)
    return [set(row.strip().split(",")) for row in rows.split("|")]


def same(found: list[set[str]], expected: list[set[str]]) -> bool:
    return sorted(map(sorted, found)) == sorted(map(sorted, expected))


@pytest.mark.parametrize(
    ("genotype", "layers", "free", "small", "large"),
    [
        (DARTS, 7, 48, 0.139, 6.96),
        (DARTS, 14, 111, 0.303, 15.90),
        (DARTS, 20, 165, 0.443, 23.56),
        (PLUS, 7, 55, 0.160, 7.76),
        (PLUS, 14, 125, 0.341, 17.24),
    ],
)
def test_groups_and_parameters_are_those_of_the_specification(genotype, layers, free, small, large):
    """All widths at 32 and at 256, in millions: the stem is one of them, classes are 100."""
    graph = channel_graph(network_of(genotype, layers), SHAPE)
    assert len(graph.free) == free
    assert not graph.unknown
    params = cost_polynomial(graph).params
    for width, expected in ((32, small), (256, large)):
        millions = int(params(dict.fromkeys(graph.widths(), width))) / 1e6
        assert round(millions, 3 if width == 32 else 2) == expected


@pytest.mark.parametrize(
    ("genotype", "layers", "channels", "millions"),
    [(DARTS, 7, 16, 0.246), (PLUS, 7, 16, 0.284), (DARTS, 14, 48, 4.013), (PLUS, 14, 48, 4.418)],
)
def test_baselines_have_the_published_parameters(genotype, layers, channels, millions):
    network = network_of(genotype, layers, channels)
    found = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert found == pytest.approx(millions, abs=6e-4)


@pytest.mark.parametrize(("genotype", "counts"), [(DARTS, (24, 2, 25, 24)), (PLUS, (26, 8, 27, 26))])
def test_cells_have_as_many_convolutions_as_published(genotype, counts):
    graph = channel_graph(network_of(genotype, 4, reductions=[1]), SHAPE)
    found = [_cell(layer.name) for layer in graph.layers if layer.kind != "linear"]
    assert [found.count(f"cells.{cell}") for cell in range(4)] == list(counts)


@pytest.mark.parametrize("genotype", [DARTS, PLUS])
def test_released_votes_are_those_of_the_tables(genotype):
    """Parity with CONet's released search hangs on it. The two halves of a factorised reduce have one voice."""
    network = network_of(genotype, 4, reductions=[1])
    found = numbered(network, channel_graph(network, SHAPE), "released")
    normal, inner, reduction = PUBLISHED[genotype]
    assert found["stem"] == [{"out0"}]
    assert same(found["cells.0"], table(normal) + table(inner))
    assert same(found["cells.1"], table(reduction))
    assert same(found["cells.2"], table(normal, later=True) + table(inner, later=True))
    assert same(found["cells.3"], found["cells.0"])


def test_corrected_votes_count_what_reads_the_stem():
    """That is all that the tables leave out: every other side reads or writes one group, or a concatenation."""
    network = network_of(DARTS, 4, reductions=[1])
    graph = channel_graph(network, SHAPE)
    released, corrected = votes(graph, "released"), votes(graph, "corrected")
    readers = ("cells.0.preprocess0.conv", "cells.0.preprocess1.conv", "cells.1.preprocess0.conv")
    assert corrected.pop("stem.0") == [*released.pop("stem.0"), *(((name, "in"),) for name in readers)]
    assert corrected == released


@pytest.mark.parametrize("genotype", [DARTS, PLUS])
def test_widths_follow_each_other(genotype):
    """A network at random even widths runs, is what the polynomial says, and has as many groups."""
    torch.manual_seed(0)
    network = CellNetwork(genotype, 8, 4, reductions=[1, 2])
    graph = channel_graph(network, SHAPE)
    drawn = random.Random(0)
    widths = {group.name: 2 * drawn.randint(2, 12) for group in graph.free}
    other = resized(network, widths, SHAPE, graph)
    assert other(torch.randn(2, *SHAPE)).shape == (2, 10)
    assert sum(p.numel() for p in other.parameters()) == int(cost_polynomial(graph).params(widths))
    again = channel_graph(other, SHAPE)
    assert sorted(again.widths().values()) == sorted(widths.values())


def test_a_factorised_reduce_is_one_even_width():
    """Tied to other groups or not; its halves follow it."""
    graph = channel_graph(network_of(DARTS, 3, reductions=[1]), SHAPE)
    group = next(group for group in graph.free if group.name == "cells.2.preprocess0.conv1")
    assert (group.width, group.multiple) == (32, 2)
    other = resized(CellNetwork(DARTS, 16, 3, reductions=[1]), {group.name: 22}, SHAPE)
    reduce = other.cells[2].preprocess0
    assert (reduce.conv1.out_channels, reduce.conv2.out_channels, reduce.bn.num_features) == (11, 11, 22)
