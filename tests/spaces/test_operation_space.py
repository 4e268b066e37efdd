"""Operations as a search space: its table costs what its networks cost, to the MAC, and its draws are uniform."""

import itertools
from collections import Counter

import pytest
import torch

from src.errors import UserError
from src.graph.vital_blocks import vital_blocks
from src.networks.cascade_macs import counted_macs
from src.networks.operation_supernet import OperationSupernet
from src.runtime.build import network_from
from src.runtime.seeds import keyed_generator
from src.spaces.operation_space import OPERATIONS, OperationSpace
from tests.networks.mobile import SMALL, counted, model_config

TARGET = "src.networks.inverted_residual.InvertedResidualNet"
BASE = {"_target_": TARGET, "operations": "ir_k3_e3", "in_channels": 1, **SMALL}
F, IMAGENET = model_config("hournas_f"), (3, 224, 224)
VITAL = {
    "hournas_f": (0, 1, 5, 9, 13, 17, 21),
    "fbnet_c": (1, 5, 9, 13, 17, 21),
    "mobile_digits": (0, 1, 4, 7),
    "mobile_cifar": (0, 1, 5, 9, 13),
}


@pytest.fixture(scope="module")
def space() -> OperationSpace:
    """The space of the F macro, with all kernels."""
    return OperationSpace(F, IMAGENET, [*OPERATIONS, "ir_k7_e2", "ir_k7_e4_se"])


@pytest.fixture(scope="module")
def tiny() -> tuple[OperationSpace, dict[tuple[int, ...], int]]:
    """A space of 3^4 x 2 choices, and the MACs of each."""
    space = OperationSpace(BASE, (1, 8, 8), ["ir_k3_e1", "ir_k5_e2_se"])
    choices = itertools.product(*(row.nonzero().flatten().tolist() for row in space.costs.allowed))
    return space, {choice: space.macs(space.genotype(choice)) for choice in choices}


@pytest.mark.parametrize("name", VITAL)
def test_vital_blocks_are_known_ones_and_those_that_change_the_shape(name):
    """The graph against the rule of inverted residuals; FBNet's stem of 16 channels makes its block 0 non-vital."""
    space = OperationSpace(model_config(name), (3, 32, 32))
    assert tuple(block for block, vital in enumerate(space.vital) if vital) == VITAL[name]
    assert space.vital == tuple(not shape.keeps for shape in space.macro.blocks)
    assert space.costs.allowed[:, -1].tolist() == [not vital for vital in space.vital]


def test_vital_blocks_do_not_depend_on_what_the_base_leaves_out():
    """In a network that skips a block it is no module with an op; the space asks for the macro."""
    base = model_config("fbnet_c")
    network = network_from(base)
    found = vital_blocks(network, (3, 32, 32), [f"blocks.{b}" for b, o in enumerate(base["operations"]) if o != "skip"])
    expected = OperationSpace({**base, "operations": "ir_k3_e1"}, (3, 32, 32)).vital
    assert OperationSpace(base, (3, 32, 32)).vital == expected
    assert len(found.vital) == sum(expected) == 6


def test_the_released_genotype_costs_what_it_costs(space):
    assert (space.macs(space.start), space.params(space.start)) == (382_964_976, 5_352_462)
    assert space.costs.of(space.choice(space.start)).tolist() == [382_964_976, 5_352_462]


@pytest.mark.parametrize("shape", [IMAGENET, (3, 37, 50)])
def test_the_table_costs_what_networks_cost_exactly(shape):
    """Random genotypes, images whose sides do not halve: against the channel graph, torch's counter and the tensors."""
    space = OperationSpace({**F, "se_of": "input", "se_ratio": 0.25}, shape, [*OPERATIONS, "ir_k7_e2"])
    for genotype in space.sample(2, keyed_generator(0)):
        config = space.config(genotype)
        with torch.device("meta"):
            network = network_from(config)
        costs = (space.macs(genotype), space.params(genotype))
        assert costs == counted(config, shape) == tuple(space.costs.of(space.choice(genotype)).int().tolist())
        assert costs[0] == counted_macs(network, shape)


def test_every_entry_of_the_table_is_what_one_change_of_a_network_costs():
    """Each operation in each block, by the difference to a network that has the first one there."""
    space = OperationSpace(BASE, (1, 8, 8), ["ir_k3_e1", "ir_k5_e3_se", "ir_k7_e2"])
    first = ["ir_k3_e1"] * 5
    base = torch.tensor(counted(space.config({"operations": first}), (1, 8, 8)))
    for block, number in space.costs.allowed.nonzero().tolist():
        operations = [space.operations[number] if place == block else name for place, name in enumerate(first)]
        found = torch.tensor(counted(space.config({"operations": operations}), (1, 8, 8))) - base
        assert torch.equal(found, (space.costs.table[:, block, number] - space.costs.table[:, block, 0]).long())


def test_expected_costs_of_one_hot_gates_are_the_costs_of_the_choice(space):
    choice = space.choice(space.start)
    gates = torch.nn.functional.one_hot(choice, len(space.operations)).double()
    assert torch.equal(space.costs.expected(gates), space.costs.of(choice))


def test_genotypes_choices_and_configs_are_the_same_thing(space):
    choices = space.uniform(20, keyed_generator(1))
    assert choices.shape == (20, 22)
    for choice in choices:
        genotype = space.genotype(choice)
        assert torch.equal(space.choice(genotype), choice)
    assert OperationSpace(space.config(genotype), IMAGENET).start == genotype


def test_a_supernet_holds_what_may_be_chosen_in_the_order_of_the_table(space):
    """So that gates of the whole table fit: only `skip`, the last, is missing where it is not allowed."""
    small = OperationSpace(BASE, (1, 8, 8), ["ir_k3_e1", "ir_k5_e2"])
    network = network_from(small.supernet_config())
    assert isinstance(network, OperationSupernet)
    assert network.choices == [["ir_k3_e1", "ir_k5_e2", *["skip"][: not vital]] for vital in small.vital]
    choice = small.uniform(1, keyed_generator(2))[0].tolist()
    assert network.extracted(choice).operations == small.genotype(choice)["operations"]
    vital_only = small.supernet_config([["ir_k3_e1"] if vital else [] for vital in small.vital])
    found = network_from(vital_only).eval()(torch.zeros(2, 1, 8, 8))
    assert found.shape == (2, 10)


def test_draws_are_uniform_and_skip_no_vital_block(tiny):
    """Each of 162 choices 40 times on average: the chi-square statistic has mean 161 and deviation 18."""
    space, macs = tiny
    drawn = Counter(map(tuple, space.uniform(6480, keyed_generator(3)).tolist()))
    assert drawn.keys() == macs.keys()
    assert sum((count - 40) ** 2 / 40 for count in drawn.values()) < 161 + 5 * 18


@pytest.mark.parametrize("part", [(0.0, 0.02), (0.3, 0.6), (0.95, 1.0)])
def test_draws_within_a_band_are_uniform_among_all_that_lie_in_it(tiny, part):
    space, macs = tiny
    least, most = space.reachable()
    low, high = (least + share * (most - least) for share in part)
    inside = {choice for choice, cost in macs.items() if low <= cost <= high}
    genotypes = space.sample(40 * len(inside), keyed_generator(4), (low, high))
    drawn = Counter(tuple(space.choice(genotype).tolist()) for genotype in genotypes)
    assert drawn.keys() == inside
    assert sum((count - 40) ** 2 / 40 for count in drawn.values()) < len(inside) + 7 * (2 * len(inside)) ** 0.5


def test_the_reach_is_that_of_all_choices(tiny):
    space, macs = tiny
    assert space.reachable() == (min(macs.values()), max(macs.values()))


def test_narrow_bands_at_the_ends_are_met(space):
    """The cheapest choices of the F macro are fewer than one in 10^20."""
    least, most = space.reachable()
    for band in ((None, 1.01 * least), (0.99 * most, None), (383e6, 383.2e6)):
        low, high = (bound or end for bound, end in zip(band, (0, 1e12), strict=True))
        assert all(low <= space.macs(genotype) <= high for genotype in space.sample(3, keyed_generator(5), band))


def test_a_band_that_cannot_be_met_names_the_reach(tiny, space):
    with pytest.raises(UserError, match="from 1,000 to 2,000 MACs; those that it has reach from 76,231,184 to"):
        space.sample(1, keyed_generator(0), (1e3, 2e3))
    small, macs = tiny
    low, high = sorted(set(macs.values()))[3:5]  # neighbours, with nothing between them
    with pytest.raises(UserError, match=rf"reach(es)? from {small.reachable()[0]:,}"):
        small.sample(1, keyed_generator(0), (low + 1, high - 1))


def test_making_a_space_draws_no_random_number():
    before = torch.get_rng_state()
    OperationSpace(BASE, (1, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_other_models_are_refused_by_name():
    with pytest.raises(UserError, match=r"model=mobile_digits.*src.networks.resnet.resnet20 gives a ResNet"):
        OperationSpace({"_target_": "src.networks.resnet.resnet20"}, (3, 32, 32))


def test_a_network_that_has_other_widths_is_refused():
    """What CONet or CafeNet have made of a mobile network is one too, but costs are those of its macro no more."""
    resized = {"_target_": "src.graph.resize.resized", "model": BASE, "input_shape": [1, 8, 8]}
    before = torch.get_rng_state()
    assert OperationSpace({**resized, "widths": {}}, (1, 8, 8)).start == OperationSpace(BASE, (1, 8, 8)).start
    with pytest.raises(UserError, match="whose widths another search has changed"):
        OperationSpace({**resized, "widths": {"head.conv": 8}}, (1, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"operations": ["ir_k3_e1", "ir_k3_6"]}, r"method.space.operations\[1\]='ir_k3_6'.*did you mean 'ir_k3_e6"),
        ({"operations": ["skip"]}, r"operations\[0\]='skip'.*method.space.skip"),
        ({"operations": ["ir_k3_e1"] * 2}, "twice"),
        ({"operations": []}, "must be a list of names"),
        ({"skip": "no"}, "method.space.skip='no'"),
    ],
)
def test_mistakes_are_told_by_the_name_in_the_config(settings, words):
    with pytest.raises(UserError, match=words):
        OperationSpace(BASE, (1, 8, 8), **settings)


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        (["ir_k3_e1"] * 4, "names 5 operations, not 4"),
        (["ir_k3_e1", "ir_k3_e4", *["ir_k3_e1"] * 3], "block 1: 'ir_k3_e4' is no operation of this search space"),
        (["skip"] * 5, "block 2 is vital"),
    ],
)
def test_a_genotype_of_another_space_is_an_error(operations, words):
    with pytest.raises(UserError, match=words):
        OperationSpace(BASE, (1, 8, 8)).choice({"operations": operations})


def test_without_skip_no_block_is_left_out():
    space = OperationSpace(BASE, (1, 8, 8), ["ir_k3_e1"], skip=False)
    assert space.operations == ("ir_k3_e1",)
    assert space.reachable()[0] == space.reachable()[1]
