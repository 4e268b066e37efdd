"""The space of cells: its costs against built networks, and its draws against a list of all there are."""

import json
from collections import Counter
from itertools import product

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from src.errors import UserError
from src.networks.genotypes import DARTS_V2
from src.runtime.build import network_from
from src.runtime.seeds import keyed_generator
from src.spaces.cell_space import CellSpace
from src.spaces.derivation import derive

NETWORK = "src.networks.cell_network.CellNetwork"
BASE = {"_target_": NETWORK, "genotype": "DARTS_V2", "channels": 4, "layers": 5, "in_channels": 1}
TINY = {"operations": ["none", "skip_connect", "sep_conv_3x3"], "nodes": 2}


def counted(config: dict, input_shape: tuple) -> tuple[int, int]:
    """MACs and parameters of the network that is built of a config, as torch counts them."""
    network = network_from(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(2, *input_shape))
    return counter.get_total_flops() // 4, sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("changes", "input_shape"),
    [
        ({}, (1, 8, 8)),
        ({"affine": False, "pool_norm": True, "drop_path": 0.2, "stem_multiplier": 1}, (1, 8, 8)),
        ({"reductions": [0, 1, 4], "in_channels": 3}, (3, 13, 9)),  # one behind the other, odd sizes
        ({"reductions": [], "layers": 1, "normalise_outputs": True}, (1, 7, 7)),
    ],
)
def test_costs_are_those_of_the_built_network(changes, input_shape):
    space = CellSpace({**BASE, **changes}, input_shape)
    for genotype in [*space.sample(3, keyed_generator(0, "cells", 0)), space.start]:
        assert (space.macs(genotype), space.params(genotype)) == counted(space.config(genotype), input_shape)


def test_costs_of_cells_that_are_never_drawn_are_exact_too():
    """Of the rule ard, with several operations on an edge; of an output that leaves nodes out; of other nodes."""
    space = CellSpace(BASE, (1, 8, 8), operations=["skip_connect", "sep_conv_5x5", "max_pool_3x3"])
    shape = (2, len(space.edges), 3)
    noise = torch.randn(shape, generator=keyed_generator(0, "log alpha", 0))
    many = derive("ard", -noise, noise + 2.5, space.operations, space.edges)
    odd = {**DARTS_V2, "normal_concat": [3, 5]}
    few = {"normal": [[["dil_conv_5x5", 0]]], "reduce": many["reduce"][:2]}
    for genotype in (many, odd, few):
        assert (space.macs(genotype), space.params(genotype)) == counted(space.config(genotype), (1, 8, 8))
    assert space.config(odd)["genotype"]["normal_concat"] == [3, 5]
    live = torch.stack([space.mask(many), torch.zeros(shape, dtype=torch.bool)])
    costs = space.costs_of(live)
    assert costs[0].tolist() == [space.macs(many), space.params(many)]
    assert torch.equal(costs[1], space.fixed)


def test_the_cells_of_darts_have_their_published_number_of_parameters():
    """In figures of DARTS (https://arxiv.org/abs/1806.09055): 3.3 M for CIFAR-10 at 36 channels and 20 cells."""
    space = CellSpace({"_target_": NETWORK, "genotype": "DARTS_V2"}, (3, 8, 8))
    assert space.params(space.start) == 3_349_342


def test_draws_are_uniform_over_all_cells():
    """Cells of two nodes and two operations: 4 of the first node, 12 of the second, 48^2 in all; here of one cell."""
    space = CellSpace(BASE, (1, 8, 8), **TINY)
    drawn = Counter(json.dumps(genotype["reduce"]) for genotype in space.sample(9600, keyed_generator(0, "cells", 1)))
    names, pairs = TINY["operations"][1:], [(0, 1), (0, 2), (1, 2)]
    nodes = [
        [[[a, s], [b, t]] for (s, t), a, b in product(own, names, names)] for own in (pairs[:1], pairs)
    ]  # fmt: skip
    expected = {json.dumps(list(cell)) for cell in product(*nodes)}
    assert set(drawn) == expected
    assert len(expected) == 48
    # chi square of 47 degrees of freedom: above 83 in one of a thousand
    assert sum((count - 200) ** 2 / 200 for count in drawn.values()) < 83


def test_within_a_band_draws_are_those_that_lie_in_it_and_its_ends_are_reached():
    space = CellSpace(BASE, (1, 8, 8), **TINY)
    least, most = space.reachable()
    for band in ((least, least), (most, most), (0.4 * least + 0.6 * most, None)):
        low, high = (end if end is not None else most for end in band)
        drawn = space.sample(20, keyed_generator(0, "cells", 2), band)
        assert all(low <= space.macs(genotype) <= high for genotype in drawn)
    with pytest.raises(UserError, match=rf"at least {most + 1:,} MACs; those that it has reach from {least:,} to"):
        space.sample(1, keyed_generator(0, "cells", 2), (most + 1, None))
    with pytest.raises(UserError, match=rf"no architecture was found .* reaches from {least:,} to {most:,} MACs"):
        space.sample(1, keyed_generator(0, "cells", 2), (least + 1, least + 2))


def test_what_is_around_the_network_stays_around_it():
    """A search that starts from a variational network returns one, and counts its means alone."""
    base = {"_target_": "src.variational.conversion.variational", "model": BASE, "threshold": 2.0}
    space, plain = CellSpace(base, (1, 8, 8)), CellSpace(BASE, (1, 8, 8))
    config = space.config(space.start)
    assert config == {**base, "model": plain.config(plain.start)}
    assert config["model"]["genotype"]["normal"] == DARTS_V2["normal"]
    assert json.loads(json.dumps(config)) == config
    assert space.params(space.start) == plain.params(plain.start)


def test_the_super_net_is_as_large_as_the_base_unless_told_otherwise():
    space = CellSpace({**BASE, "reductions": [1, 3]}, (1, 8, 8), **TINY)
    network = network_from(space.supernet_config())
    assert (network.operations, network.edges, network.reductions) == (space.operations, space.edges, [1, 3])
    config = space.supernet_config(channels=2, layers=3, normalise_outputs=True)
    assert (config["channels"], config["reductions"], config["nodes"]) == (2, None, 2)
    assert network_from(config).reductions == [1, 2]
    drawn = space.sample(1, keyed_generator(0, "cells", 3))[0]
    assert network.extracted(drawn).genotype["normal"] == drawn["normal"]


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        ({"_target_": "src.networks.resnet.resnet20"}, {}, r"cells are searched .* the model is src.networks.resnet"),
        (BASE, {"operations": ["none"]}, r"method.space.operations=\['none'\] is not allowed"),
        (BASE, {"operations": ["sep_conv"]}, r"method.space.operations='sep_conv' is not known"),
        (BASE, {"nodes": 0}, r"method.space.nodes=0"),
        ({**BASE, "in_channels": 3}, {}, "model.in_channels=3 is not allowed; of the images here it is 1"),
        ({**BASE, "chanels": 4}, {}, r"no argument 'chanels'; did you mean 'channels'"),
        ({**BASE, "genotype": {**DARTS_V2, "reduce": DARTS_V2["reduce"][:3]}}, {}, "have 4 and 3 nodes: give one"),
    ],
)
def test_what_cannot_be_searched_is_told(base, options, message):
    with pytest.raises(UserError, match=message):
        CellSpace(base, (1, 8, 8), **options)
