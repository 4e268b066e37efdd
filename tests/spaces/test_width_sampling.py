"""The functions that find widths of a given cost, against a search of every step."""

import itertools

import pytest
import torch
from torch import Tensor

from src.runtime.seeds import keyed_generator
from src.spaces.width_sampling import Grid, log_uniform_targets, one_step_within, random_profiles, scaled_to


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def cost(widths: Tensor) -> Tensor:
    a, b, c = widths.unbind(-1)
    return 3 * a * b + 5 * b * c + 7 * c


GRID = Grid(vector(4, 6, 8), vector(20, 24, 24), multiples=vector(2, 3, 8), centre=vector(9, 12, 14), cost=cost)


def staircase(profile: Tensor) -> list[Tensor]:
    """Every admissible vector along the factor, in order: one between each two factors at which a width rounds up."""
    factors = sorted(
        (step * float(multiple) - float(multiple) / 2) / float(width)
        for width, multiple in zip(profile, GRID.multiples, strict=True)
        for step in range(1, 20)
    )
    middles = [factors[0] / 2, *((a + b) / 2 for a, b in itertools.pairwise(factors)), factors[-1] * 2]
    return [GRID.nearest(profile * factor) for factor in middles]


def test_scaled_to_finds_the_two_steps_about_the_target():
    """Against all steps: a bisection that ended elsewhere would miss the band or pass the budget."""
    generator = keyed_generator(0, "test")
    profiles = random_profiles(GRID, 50, generator)
    targets = log_uniform_targets(int(cost(GRID.low)), int(cost(GRID.high)), 50, generator)
    targets[:2] = vector(float(cost(GRID.low)), float(cost(GRID.high)))
    below, above = scaled_to(GRID, profiles, targets)
    for i, target in enumerate(targets):
        steps = staircase(profiles[i])
        assert torch.equal(below[i], [step for step in steps if cost(step) <= target][-1])
        assert torch.equal(above[i], ([step for step in steps if cost(step) > target] or [GRID.high])[0])


def test_targets_are_whole_and_have_equal_shares_for_equal_ratios():
    targets = log_uniform_targets(100, 1600, 8000, keyed_generator(0, "test"))
    assert torch.equal(targets, targets.round())
    shares = torch.histogram(targets.log2(), vector(*torch.tensor([100, 200, 400, 800, 1601]).log2().tolist())).hist
    assert shares.sum() == 8000
    assert shares.min() > 1800
    assert shares.max() < 2200
    assert set(log_uniform_targets(3, 5, 200, keyed_generator(1)).tolist()) == {3, 4, 5}


def test_profiles_reach_from_the_centre_to_the_whole_range_about_it():
    profiles = random_profiles(GRID, 4000, keyed_generator(0, "test"))
    places = (profiles / GRID.centre).log() / (GRID.high / GRID.low).log()
    assert places.abs().max() <= 0.5
    assert places.abs().amax(0).min() > 0.48
    assert places.abs().amax(1).min() < 0.01
    assert places.mean(0).abs().max() < 0.01


@pytest.mark.parametrize(("least", "most"), [(400, 420), (1000, 1010), (1, 2)])
def test_a_repair_is_one_step_that_hits_the_band_wherever_there_is_one(least: int, most: int):
    """By trying every step: without the repair narrow budgets would be called infeasible."""
    every = torch.cartesian_prod(*(torch.arange(low, high + 1, m, dtype=torch.float64) for low, high, m in zip(
        GRID.low.tolist(), GRID.high.tolist(), GRID.multiples.tolist(), strict=True)))  # fmt: skip
    below, above = every[:-1], every[1:]
    rows, hit = one_step_within(GRID, below, above, least, most, keyed_generator(0))
    for i in range(len(below)):
        steps = torch.diag(GRID.multiples)
        options = {tuple(row) for row in torch.cat([below[i] + steps, above[i] - steps]).tolist()}
        right = {row for row in options & set(map(tuple, every.tolist())) if least <= float(cost(vector(*row))) <= most}
        assert bool(hit[i]) == bool(right)
        assert not hit[i] or tuple(rows[i].tolist()) in right
