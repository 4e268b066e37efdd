"""The baselines at a budget: uniform scaling by brute force over the factor, and random widths."""

from functools import partial
from itertools import pairwise

import pytest
import torch

from src.errors import UserError, check_choices
from src.methods.width_controls import CONTROLS, random_widths, uniform_widths
from src.runtime.build import network_from
from src.spaces.bin_space import BinSpace
from tests.searching import BASE

SPACES = {
    "resnet": partial(BinSpace, BASE, (1, 8, 8), bin_rule="uniform", bins_per_group=4),
    "resnext": partial(
        BinSpace, {"_target_": "torchvision.models.resnext50_32x4d", "num_classes": 5}, (3, 32, 32), bin_rule="share"
    ),
}


@pytest.fixture(scope="module", params=SPACES)
def space(request) -> BinSpace:
    return SPACES[request.param]()


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_uniform_widths_are_one_factor_times_those_of_the_base(space, share):
    """Of all factors the one nearest to the budget from below; a baseline that wastes it would be easy to beat."""
    budget = int(share * space.macs(space.start))
    widths = uniform_widths(space, budget)
    assert space.macs(widths) <= budget
    nearest = 0
    for factor in torch.linspace(0, 1, 4001, dtype=torch.float64).tolist():
        scaled = {name: max(m, int(factor * space.start[name] / m + 0.5) * m) for name, m in space.multiples.items()}
        macs = space.macs(scaled)
        nearest = max(nearest, macs if macs <= budget else 0)
    assert space.macs(widths) >= 0.99 * nearest
    within = [(width, space.multiples[name], space.start[name]) for name, width in widths.items()]
    assert max((width - m) / full for width, m, full in within) <= min((width + m) / full for width, m, full in within)


def test_at_the_whole_budget_uniform_is_the_base(space):
    assert uniform_widths(space, space.macs(space.start)) == space.start


def test_random_widths_lie_close_under_the_budget(space):
    most = int(0.5 * space.macs(space.start))
    drawn = [random_widths(space, 0, most, torch.Generator().manual_seed(seed)) for seed in range(4)]
    assert all(0.97 * most - 1 <= space.macs(widths) <= most for widths in drawn)
    assert drawn[0] == random_widths(space, 0, most, torch.Generator().manual_seed(0))
    assert len({tuple(widths.values()) for widths in drawn}) > 1
    network_from(space.config(drawn[0]))


def test_where_no_width_is_so_close_the_whole_band_serves():
    """Two wide bins a group leave gaps under a budget."""
    space = BinSpace(BASE, (1, 8, 8), bin_rule="uniform", bins_per_group=2)
    costs = sorted({space.macs(g) for g in space.sample(400, torch.Generator().manual_seed(0))})
    low, high = max(pairwise(costs), key=lambda pair: pair[1] / pair[0])
    assert high > low / 0.97 + 2  # else there is no gap to test
    widths = random_widths(space, low - 1, high - 1, torch.Generator().manual_seed(0))
    assert low - 1 <= space.macs(widths) <= high - 1


def test_their_names_are_checked():
    assert check_choices("method.controls", ["random", "uniform", "random"], CONTROLS) == ["random", "uniform"]
    assert check_choices("method.controls", [], CONTROLS) == []
    for wrong in ("uniform", None, ["best"]):
        with pytest.raises(UserError, match=r"method\.controls="):
            check_choices("method.controls", wrong, CONTROLS)
