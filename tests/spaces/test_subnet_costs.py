"""The table of costs against networks that are built, to the MAC and to the parameter."""

import itertools

import numpy as np
import pytest
import torch

from src.networks.cascade_macs import counted_macs
from src.networks.elastic_mobile.families import FAMILIES
from src.networks.elastic_mobile.macro import macro_of
from src.networks.elastic_mobile.subnet import Subnet
from src.spaces.subnet_costs import SubnetCosts
from src.spaces.subnet_rows import SubnetRows
from tests.networks.mobile import counted

SUBNET = f"{Subnet.__module__}.{Subnet.__qualname__}"


def check_costs(space: str | dict, row: np.ndarray, classes: int = 7, in_channels: int = 3) -> None:
    """The table against the channel graph and the tensors of a network without data."""
    rows = SubnetRows(macro_of(space))
    with torch.device("meta"):
        network = Subnet(space, rows.genotype(row), classes, in_channels)
    found = SubnetCosts(rows.macro, in_channels, classes).of(rows.choices(row[None]))
    assert found.dtype == np.int64
    macs = counted_macs(network, (in_channels, 9, 9))
    assert found[0].tolist() == [macs, sum(parameter.numel() for parameter in network.parameters())]


def random_row(space: str | dict, seed: int) -> np.ndarray:
    return SubnetRows(macro_of(space)).uniform(1, np.random.default_rng(seed))[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_table_costs_what_networks_cost_exactly(family):
    check_costs(family, random_row(family, 2))


def test_torch_counts_what_the_table_says():
    """The graph and the table could share a mistake; torch's counter runs the network."""
    rows, row = SubnetRows(macro_of("small_images")), random_row("small_images", 5)
    config = {"_target_": SUBNET, "space": "small_images", "genotype": rows.genotype(row)}
    found = SubnetCosts(rows.macro, 3, 10).of(rows.choices(row[None]))[0]
    assert tuple(found.tolist()) == counted(config, (3, 9, 9))


def test_other_multipliers_strides_and_odd_sides_cost_what_they_cost():
    """Widths of 0.35 and 1.3 of the base, sides that do not halve, grey images."""
    space = {"family": "small_images", "multipliers": [0.35, 1.3], "resolutions": [19, 23], "stem_stride": 2}
    check_costs(space, random_row(space, 2), in_channels=1)
    check_costs(space, random_row(space, 3), classes=1)


def test_the_ends_of_a_space_are_exact_where_the_largest_widths_do_not_cost_most():
    """Shortcuts that need no convolution make a wider block cheaper: against all sub-nets."""
    stage = {"kernels": [3], "expansions": [2], "activation": "relu", "per_block": False}
    stages = [
        {**stage, "widths": [56, 64], "depths": [1, 2], "stride": 1},
        {**stage, "widths": [64], "depths": [1], "stride": 1, "expansions": [1]},
    ]
    macro = macro_of("tiny_images", stages=stages, stems=[16, 64], shortcuts="projected")
    rows, costs = SubnetRows(macro), SubnetCosts(macro, 3, 10)
    every = np.array(list(itertools.product(*map(range, rows.alphabet))))
    macs = costs.of(rows.choices(every))[:, 0]
    assert costs.reachable() == (macs.min(), macs.max())
    largest = costs.of(rows.choices(rows.alphabet[None] - 1))[0, 0]
    assert largest < macs.max()


def test_costs_are_summed_from_the_table_row_by_row():
    """Many rows at once cost what each costs alone."""
    rows = SubnetRows(macro_of("alphanet"))
    costs, drawn = SubnetCosts(rows.macro, 3, 1000), rows.uniform(50, np.random.default_rng(0))
    alone = [costs.of(rows.choices(row[None]))[0] for row in drawn]
    assert np.array_equal(costs.of(rows.choices(drawn)), alone)
