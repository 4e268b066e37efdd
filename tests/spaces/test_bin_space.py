"""Widths in bins as a search space: what it draws lies on borders and in the band, and all that does can be drawn."""

import itertools

import pytest
import torch

from src.elastic.sharing import LocallyFreeSharing
from src.errors import UserError
from src.runtime.build import network_from
from src.runtime.seeds import keyed_generator
from src.spaces.bin_space import BinSpace
from src.spaces.widths import resized_config
from tests.searching import BASE

NETS = {
    "resnet20": ("src.networks.resnet.resnet20", (3, 32, 32)),
    "mobilenet_v2": ("torchvision.models.mobilenet_v2", (3, 64, 64)),
    "efficientnet_b0": ("torchvision.models.efficientnet_b0", (3, 64, 64)),
    "resnext50_32x4d": ("torchvision.models.resnext50_32x4d", (3, 64, 64)),
    "regnet_x_400mf": ("torchvision.models.regnet_x_400mf", (3, 64, 64)),
}


@pytest.fixture(scope="module", params=NETS)
def space(request) -> BinSpace:
    target, shape = NETS[request.param]
    return BinSpace({"_target_": target, "num_classes": 10}, shape)


@pytest.fixture(scope="module")
def tiny() -> tuple[BinSpace, dict[tuple[int, ...], int]]:
    """A space of 3^4 architectures, and the MACs of each, counted one by one."""
    space = BinSpace(BASE, (1, 8, 8), bin_rule="uniform", bins_per_group=3)
    genotypes = [space.genotype(torch.tensor(row)) for row in itertools.product((1, 2, 3), repeat=len(space.names))]
    return space, {tuple(widths.values()): space.macs(widths) for widths in genotypes}


def test_rows_and_genotypes_are_the_same_thing(space):
    rows = torch.stack([space.row(widths) for widths in space.sample(50, keyed_generator(0))])
    genotypes = [space.genotype(row) for row in rows]
    assert torch.equal(torch.stack([space.row(widths) for widths in genotypes]), rows)
    assert torch.equal(space.costs.vector(genotypes), space.widths_of(rows))
    assert space.macs_of(rows).tolist() == [space.macs(widths) for widths in genotypes]
    assert space.start == space.genotype(space.high)
    assert torch.equal(space.row(space.start), space.high)


def test_widths_are_borders_of_whole_units_and_make_the_network_that_they_cost(space):
    widths = space.sample(1, keyed_generator(1))[0]
    assert all(widths[name] // space.multiples[name] in space.edges[name] for name in space.names)
    assert all(widths[name] % space.multiples[name] == 0 for name in space.names)
    network = network_from(space.config(widths))
    assert {name: len(network.get_submodule(name).weight) for name in widths} == widths
    assert sum(parameter.numel() for parameter in network.parameters()) == space.params(widths)


def test_all_layers_of_a_group_keep_the_same_channels_as_many_as_the_width_says(space):
    """One index set a group: tied layers cannot come apart, and blocks of grouped convolutions keep alike ones."""
    sharing = LocallyFreeSharing(space.edges, space.multiples, offset=2)
    for key in range(20):
        row = space.grid.uniform(1, keyed_generator(0, key))[0]
        widths = space.genotype(row)
        for choice in sharing.draw(row.tolist(), 2, keyed_generator(1, key)):
            assert {name: len(kept) for name, kept in choice.items()} == widths
            for name, kept in choice.items():
                assert kept.size == space.start[name]
                block, own = kept.size // space.multiples[name], len(kept) // space.multiples[name]
                assert {index % block for index in kept.indices} == set(kept.indices[:own])
                assert list(kept.indices) == sorted(set(kept.indices))


def test_every_bin_costs_macs(space):
    """Searches over bins bisect and repair on it."""
    rows = torch.stack([space.row(widths) for widths in space.sample(30, keyed_generator(0))])
    more = rows[:, None] + torch.eye(len(space.names), dtype=torch.int64)
    admissible = (more <= space.high).all(2)
    costs = space.macs_of(more.clamp(max=space.high).flatten(0, 1)).reshape(admissible.shape)
    assert bool((costs > space.macs_of(rows)[:, None])[admissible].all())


def test_bins_taken_away_one_by_one_sum_to_the_whole_in_any_order(space):
    """The costs of single bins at full width do not: MACs are bilinear."""
    groups = torch.repeat_interleave(torch.arange(len(space.names)), space.high)
    order = groups[torch.randperm(len(groups), generator=keyed_generator(0))]
    taken = torch.nn.functional.one_hot(order, len(space.names)).cumsum(0)
    costs = torch.cat([torch.tensor([space.full_macs]), space.macs_of(space.high - taken)])
    saved = costs[:-1] - costs[1:]
    assert int(costs[-1]) == 0
    assert int(saved.sum()) == space.full_macs
    assert int(saved.min()) >= 0
    single = space.full_macs - space.macs_of(space.high - torch.eye(len(space.names), dtype=torch.int64))
    assert int((single * space.high).sum()) > space.full_macs


def test_reachable_is_what_brute_force_finds(tiny):
    space, every = tiny
    assert space.reachable() == (min(every.values()), max(every.values()))


def test_without_a_band_bins_are_uniform_and_independent(tiny):
    """It is what the super-net is trained on."""
    space, every = tiny
    drawn = space.sample(8100, keyed_generator(0))
    counts = dict.fromkeys(every, 0)
    for widths in drawn:
        counts[tuple(widths.values())] += 1
    chi_square = sum((count - 100) ** 2 / 100 for count in counts.values())
    assert chi_square < 124.8  # 80 degrees of freedom, one in a thousand


@pytest.mark.parametrize(("first", "last"), [(0, 80), (20, 60), (40, 44), (0, 0), (80, 80)])
def test_all_that_lies_in_the_band_is_drawn_and_nothing_else(tiny, first, last):
    space, every = tiny
    low, high = (sorted(every.values())[place] for place in (first, last))
    drawn = {tuple(widths.values()) for widths in space.sample(20_000, keyed_generator(0), (low, high))}
    assert drawn == {widths for widths, macs in every.items() if low <= macs <= high}


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75])
def test_a_budget_is_met_from_close_below(space, share):
    most = share * space.full_macs
    macs = [space.macs(widths) for widths in space.sample(100, keyed_generator(0), (0.99 * most, most))]
    assert len(macs) == 100
    assert 0.99 * most <= min(macs) <= max(macs) <= most


def test_a_budget_of_all_macs_admits_the_full_network(space):
    assert space.sample(1, keyed_generator(0), (space.full_macs, space.full_macs)) == [space.start]
    assert space.reachable()[1] == space.full_macs


def test_an_impossible_budget_names_the_reachable_range(space):
    least, most = space.reachable()
    with pytest.raises(UserError, match=f"at most 1,000 MACs; those that it has reach from {least:,} to {most:,} MACs"):
        space.sample(1, keyed_generator(0), (None, 1000))


def test_a_band_between_two_architectures_names_the_nearest(tiny):
    space, every = tiny
    costs = sorted(set(every.values()))
    low, high = max(itertools.pairwise(costs[20:-20]), key=lambda pair: pair[1] - pair[0])
    least, most = space.reachable()
    with pytest.raises(UserError, match=f"have {low:,} and {high:,} MACs, and .* from {least:,} to {most:,}"):
        space.sample(1, keyed_generator(0), (low + 1, high - 1))


def test_a_draw_depends_on_its_key_alone(tiny):
    space, other = tiny[0], BinSpace(BASE, (1, 8, 8), bin_rule="uniform", bins_per_group=3)
    torch.rand(7)
    band = (None, 0.5 * space.full_macs)
    assert space.sample(20, keyed_generator(1), band) == other.sample(20, keyed_generator(1), band)
    assert space.sample(20, keyed_generator(1), band) != space.sample(20, keyed_generator(2), band)


def test_to_make_a_space_moves_no_other_draw():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    BinSpace(BASE, (1, 8, 8))
    assert torch.rand(1) == expected


def test_the_full_widths_are_those_of_its_model_and_searches_do_not_nest():
    found = resized_config(BASE, (1, 8, 8), {"stem": 10})
    space = BinSpace(found, (1, 8, 8))
    assert space.inner == BASE
    assert space.start["stem"] == space.edges["stem"][-1] == 10
    assert space.reachable()[1] == space.macs(space.start)


def test_squeezed_channels_stay_unless_they_are_asked_for():
    target, shape = NETS["efficientnet_b0"]
    fixed, searched = (BinSpace({"_target_": target}, shape, search_squeeze=squeeze) for squeeze in (False, True))
    alone = {name for name, own in fixed.edges.items() if len(own) == 1}
    assert alone == {name for name in fixed.names if name.endswith("fc1")}
    assert len(alone) == 16
    assert all(len(own) > 1 for own in searched.edges.values())
    assert fixed.sample(1, keyed_generator(0))[0].items() >= {name: fixed.start[name] for name in alone}.items()


def test_channels_without_macs_stay():
    """GoogLeNet's auxiliary heads are trained, but no part of what an image costs."""
    options = {"num_classes": 10, "init_weights": False, "aux_logits": True}
    space = BinSpace({"_target_": "torchvision.models.googlenet", **options}, (3, 64, 64))
    alone = {name for name, own in space.edges.items() if len(own) == 1}
    assert {name.split(".")[0] for name in alone} == {"aux1", "aux2"}


def test_no_width_is_below_the_smallest_that_is_allowed():
    space = BinSpace(BASE, (1, 8, 8), bin_rule="uniform", bins_per_group=4, min_width=9)
    assert space.genotype(space.low) == {name: min(9, full) for name, full in space.start.items()}
    with pytest.raises(UserError, match=r"width 6 of 'layer2.0.conv1' is not .* the nearest that is: 9"):
        space.row({**space.start, "layer2.0.conv1": 6})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem": 6}, "width 6 of 'stem' is not on the border of a bin; the nearest that is: 5"),
        ({"stem": 80}, "width 80 of 'stem' is not on the border of a bin; the nearest that is: 8"),
        ({"stemm": 8}, "there is no width group 'stemm' to set; did you mean 'stem'"),
        ({"stem": None}, "'stem' is missing; all 4 groups need a width"),
    ],
)
def test_genotypes_off_the_borders_are_refused(tiny, change, message):
    """Rounded without a word, a found network would not be the one that is trained."""
    widths = {name: width for name, width in (tiny[0].start | change).items() if width is not None}
    with pytest.raises(UserError, match=message):
        tiny[0].row(widths)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_bin": 0}, "method.min_bin=0"),
        ({"min_width": 0}, "method.min_width=0"),
        ({"search_squeeze": 1}, "method.search_squeeze=1"),
    ],
)
def test_its_arguments_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        BinSpace(BASE, (1, 8, 8), **options)
