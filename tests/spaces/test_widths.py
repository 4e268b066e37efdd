"""The space of channel widths: what it draws is admissible, and all that is admissible can be drawn."""

import itertools

import pytest
import torch

from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.runtime.build import network_from
from src.runtime.seeds import keyed_generator
from src.spaces.widths import WidthSpace, resized_config
from tests.searching import BASE

GROUPED = {"_target_": "torchvision.models.resnext50_32x4d", "num_classes": 10}


@pytest.fixture(scope="module")
def tiny() -> tuple[WidthSpace, dict[tuple[int, ...], int]]:
    """A space of 81 architectures, and the MACs of each, counted one by one."""
    space = WidthSpace(BASE, (1, 8, 8), min_width=2, max_width=6, shape="even")
    vectors = itertools.product((2, 4, 6), repeat=len(space.bounds))
    return space, {widths: space.macs(dict(zip(space.bounds, widths, strict=True))) for widths in vectors}


def test_reachable_is_what_brute_force_finds(tiny):
    space, every = tiny
    assert space.reachable() == (min(every.values()), max(every.values()))


@pytest.mark.parametrize(("first", "last"), [(0, 80), (20, 60), (40, 44)])
def test_all_that_lies_in_the_band_is_drawn_and_nothing_else(tiny, first, last):
    """An architecture that is never drawn is no part of the baseline."""
    space, every = tiny
    low, high = (sorted(every.values())[place] for place in (first, last))
    drawn = {tuple(widths.values()) for widths in space.sample(20_000, keyed_generator(0), (low, high))}
    assert drawn == {widths for widths, macs in every.items() if low <= macs <= high}


def test_a_band_between_two_architectures_names_the_nearest(tiny):
    space, every = tiny
    costs = sorted(set(every.values()))
    low, high = max(itertools.pairwise(costs[20:-20]), key=lambda pair: pair[1] - pair[0])
    with pytest.raises(UserError, match=f"nearest that were seen have {low:,} and {high:,} MACs"):
        space.sample(1, keyed_generator(0), (low + 1, high - 1))


def test_an_infeasible_budget_names_the_reachable_range(tiny):
    least, most = tiny[0].reachable()
    with pytest.raises(UserError, match=f"at most 1,000 MACs; those that it has reach from {least:,} to {most:,}"):
        tiny[0].sample(1, keyed_generator(0), (None, 1000))


def test_the_macs_cover_the_band_and_not_one_value_of_it():
    """Widths that are drawn one by one have nearly all the same MACs."""
    space = WidthSpace({"_target_": "src.networks.resnet.resnet20", "num_classes": 10}, (3, 32, 32))
    macs = torch.tensor([space.macs(w) for w in space.sample(2000, keyed_generator(0), (1e7, 1e9))])
    shares = torch.histogram(macs.double().log10(), torch.linspace(7, 9, 5, dtype=torch.float64)).hist / len(macs)
    assert shares.sum() == 1
    assert shares.min() > 0.2
    assert shares.max() < 0.3


def test_shapes_vary_about_the_base_or_about_even_widths():
    """A baseline that does not start where the search starts would be too easy to beat."""
    for shape, ratio in (("base", 4.0), ("even", 1.0)):
        config = {"_target_": "src.networks.resnet.resnet20", "num_classes": 10}
        space = WidthSpace(config, (3, 32, 32), max_width=2048, shape=shape)
        logs = space.costs.vector(space.sample(2000, keyed_generator(0), (2e9, 4e9))).log()  # far from the bounds
        names = space.costs.names
        between = logs[:, names.index("layer3.0.conv1")] - logs[:, names.index("layer1.0.conv1")]
        assert float(between.mean().exp()) == pytest.approx(ratio, rel=0.1)


def test_widths_keep_their_bounds_and_what_the_network_demands():
    """Groups of a grouped convolution as well as the user's multiple; and the costs are those of what is built."""
    space = WidthSpace(GROUPED, (3, 32, 32), min_width=20, max_width=200, multiple=6)
    assert {96, 6} <= set(space.multiples.values())
    drawn = space.sample(200, keyed_generator(0))
    for widths in drawn:
        for name, width in widths.items():
            assert type(width) is int
            assert 20 <= width <= 200
            assert width % space.multiples[name] == 0
    network = network_from(space.config(drawn[0]))
    assert channel_graph(network, (3, 32, 32)).widths() == drawn[0]
    assert sum(p.numel() for p in network.parameters()) == space.params(drawn[0])


def test_a_draw_depends_on_its_key_alone():
    first, second = (WidthSpace(BASE, (1, 8, 8)) for _ in range(2))
    torch.rand(7)
    assert first.sample(20, keyed_generator(1, "a")) == second.sample(20, keyed_generator(1, "a"))
    assert first.sample(20, keyed_generator(1, "a")) != first.sample(20, keyed_generator(2, "a"))


def test_to_make_a_space_moves_no_other_draw():
    """It builds a network; a data loader that shuffles after it must not see that."""
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    WidthSpace(BASE, (1, 8, 8))
    assert torch.rand(1) == expected


def test_it_starts_where_its_model_stands_and_does_not_nest():
    found = resized_config(BASE, (1, 8, 8), {"stem": 10})
    space = WidthSpace(found, (1, 8, 8))
    assert space.inner == BASE
    assert space.start["stem"] == 10
    assert space.start["layer1.0.conv1"] == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_width": 9, "max_width": 8}, "width group 'stem': min_width=9 and max_width=8 leave no width"),
        ({"multiple": 0}, "method.width_multiple=0"),
        ({"max_width": "wide"}, "method.max_width='wide'"),
        ({"shape": "evn"}, "method.shape='evn' is not known; did you mean 'even'"),
    ],
)
def test_impossible_bounds_are_named(options, message):
    with pytest.raises(UserError, match=message):
        WidthSpace(BASE, (1, 8, 8), **options)
