"""The protocol that all searches keep, and that they stay within the budget (tests 18 of the specification)."""

import random

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.evolution.evolution import Evolution
from src.evolution.grid import Band
from src.evolution.random_search import RandomSearch
from src.evolution.searcher import Searcher, replayed
from src.evolution.uniform import UniformScaling, uniform_rows
from tests.evolution.spaces import made_up, run_out, small_grid

GRID = small_grid()
COSTS = GRID.cost(GRID.all_rows())
FULL = int(COSTS.max())


def evolution(seed: int = 0, band: Band | None = None, evaluations: int | None = 50, **options) -> Evolution:
    return Evolution(GRID, seed, band, population=12, evaluations=evaluations, **options)


def front(seed: int = 0, band: Band | None = None, evaluations: int | None = 50) -> Evolution:
    return evolution(seed, band, evaluations, objectives=2)


def random_search(seed: int = 0, band: Band | None = None, evaluations: int | None = 50) -> RandomSearch:
    return RandomSearch(GRID, seed, band, population=12, evaluations=evaluations)


def value(row) -> tuple[float, ...]:
    return (made_up(row),)


def two_values(row) -> tuple[float, float]:
    return made_up(row), float(GRID.cost(torch.tensor([row])))


SEARCHES = [(evolution, value), (front, two_values), (random_search, value)]
each_search = pytest.mark.parametrize(("search", "value"), SEARCHES, ids=["evolution", "front", "random"])


@each_search
@pytest.mark.parametrize(("low", "high"), [(0, 0.25), (0.45, 0.5), (0.9, 1)])
def test_every_row_keeps_to_the_band_and_none_comes_twice(search, value, low: float, high: float):
    band = Band(int(low * FULL), int(high * FULL))
    found = run_out(search(band=band, evaluations=30), value)
    assert all(cost in band for cost in GRID.cost(torch.tensor(list(found))).tolist())
    assert len(set(found)) == len(found) == min(30, int(band.holds(COSTS).sum()))


@each_search
def test_a_search_without_a_bound_finds_every_row_there_is(search, value):
    """A small space is searched to its end, and then the search ends too."""
    band = Band(0, FULL // 3)
    assert len(run_out(search(band=band, evaluations=None), value)) == int(band.holds(COSTS).sum())


@each_search
def test_the_seed_decides_and_no_global_generator_is_touched(search, value):
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    band = Band(FULL // 4, FULL // 2)
    first, again, other = (list(run_out(search(seed, band, 30), value)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002


@each_search
def test_interrupted_anywhere_and_replayed_is_uninterrupted(search, value):
    """After each row that was told, in the middle of a generation too: the rest is proposed as if nothing had been."""
    whole = run_out(search(), value)
    for count in range(len(whole) + 1):
        rest = run_out(replayed(search(), dict(list(whole.items())[:count])), value)
        assert list(rest) == list(whole)


@each_search
def test_values_of_rows_that_were_not_proposed_change_nothing(search, value):
    """A memo shared with another search saves evaluations and does not change what is proposed."""
    whole = list(run_out(search(seed=1), value))
    helped = replayed(search(seed=1), run_out(search(seed=2), value))
    asked = []
    while not helped.done:
        asked += helped.ask()
        helped.tell({row: value(row) for row in helped.ask()})
    assert helped.proposed == whole
    assert len(asked) < len(whole)


@each_search
def test_a_row_that_is_no_number_is_the_worst(search, value):
    """A diverged candidate must neither win nor stop the search."""
    broken = {(4, 3, 4, 5), (1, 1, 2, 1)}
    nans = (float("nan"),) * len(value((1, 1, 2, 1)))
    searcher = search(evaluations=None)
    found = run_out(searcher, lambda row: nans if row in broken else value(row))
    assert len(found) == len(COSTS)
    assert min(found, key=searcher.value) not in broken


def test_the_same_rows_are_asked_for_until_they_are_told():
    searcher = evolution()
    rows = searcher.ask()
    assert rows == searcher.ask()
    searcher.tell({row: value(row) for row in rows[3:]})
    assert searcher.ask() == rows[:3]
    assert searcher.generation == 0
    searcher.tell({row: value(row) for row in rows[:3]})
    searcher.tell({rows[0]: (-1.0,)})
    assert searcher.known[rows[0]] == value(rows[0]), "a second value would make a replay go another way"
    assert not set(searcher.ask()) & set(rows)
    assert searcher.generation == 1


def test_a_wrong_number_of_values_is_refused():
    with pytest.raises(ValueError, match="2 values, and there are 1"):
        evolution().tell({(1, 1, 2, 1): (0.0, 1.0)})


@pytest.mark.parametrize("band", [Band(0, int(COSTS.min()) - 1), Band(FULL + 1, 2 * FULL), Band(20, 10)])
@pytest.mark.parametrize("kind", [evolution, random_search, lambda band: UniformScaling(GRID, band)])
def test_an_impossible_band_names_what_can_be_reached(kind, band: Band):
    with pytest.raises(UserError, match=f"{int(COSTS.min()):,} to {FULL:,} MACs"):
        kind(band=band)


def test_the_first_generation_holds_the_uniform_row_and_the_rows_of_a_prior():
    """So the result is never judged worse than uniform scaling, and at 100 % the full network is among the rows."""
    band = Band(0, FULL // 2)
    rows = evolution(band=band, first=[(1, 3, 2, 5), (4, 3, 4, 5)]).ask()
    assert rows[0] == UniformScaling(GRID, band).ask()[0]
    assert rows[1] == (1, 3, 2, 5)
    assert all(cost in band for cost in GRID.cost(torch.tensor(rows)).tolist())
    assert evolution().ask()[0] == tuple(GRID.high.tolist())


def test_a_front_is_found_sooner_than_at_random():
    """Of the true front, by brute force, in 100 of 180 rows and five seeds: random rows hit 100 / 180 of it."""
    rows = GRID.all_rows().tolist()
    points = torch.tensor([two_values(tuple(row)) for row in rows])
    beaten = ((points[:, None] >= points).all(2) & (points[:, None] > points).any(2)).any(1)
    best = {tuple(row) for row, is_beaten in zip(rows, beaten.tolist(), strict=True) if not is_beaten}
    hits = sum(len(best & set(run_out(front(seed, evaluations=100), two_values))) for seed in range(5))
    assert hits / (5 * len(best)) > 1.2 * 100 / len(rows)


def test_uniform_rows_are_those_of_all_factors():
    """Against a fine grid of factors; exact halves count as the larger number of bins."""
    factors = torch.linspace(0, 1, 20001, dtype=torch.float64)
    wanted = GRID.clipped((factors[:, None] * GRID.high + 0.5 + 1e-9).floor().long())
    assert torch.equal(uniform_rows(GRID), torch.unique_consecutive(wanted, dim=0))


@pytest.mark.parametrize("share", [0.12, 0.25, 0.5, 0.75, 1.0])
def test_uniform_scaling_is_the_widest_that_fits(share: float):
    costs = GRID.cost(uniform_rows(GRID))
    (row,) = UniformScaling(GRID, Band(0, int(share * FULL))).ask()
    assert int(GRID.cost(torch.tensor([row]))) == int(costs[costs <= int(share * FULL)].max())


def test_a_front_of_uniform_rows_spans_the_band():
    rows = UniformScaling(GRID, count=5).ask()
    assert rows[0] == tuple(GRID.high.tolist())
    assert rows[-1] == tuple(GRID.low.tolist())
    assert len(rows) == 5


def test_a_searcher_is_abstract():
    with pytest.raises(TypeError):
        Searcher(GRID)
