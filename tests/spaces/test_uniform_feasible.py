"""Uniform draws from all choices that meet the targets."""

import pytest
import torch
from scipy import stats

from src.errors import UserError
from src.spaces import uniform_feasible as module
from src.spaces.uniform_feasible import all_feasible, uniform_feasible
from tests.spaces.cost_tables import all_choices, random_table, targets
from tests.spaces.f_macro import TARGETS, f_table


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(4))
def test_all_feasible_choices_are_those_of_a_list_of_all_choices(seed):
    table = random_table(seed)
    choices = all_choices(table)
    given = targets(0.2, **dict(zip(table.names, table.of(choices)[17].tolist(), strict=True)))
    assert all_feasible(table, given).tolist() == choices[given.met_by(choices, table)].tolist()


@pytest.mark.parametrize("enumerated", [module.ENUMERATED, 1])
@pytest.mark.parametrize("place", [0.03, 0.5, 0.9])
def test_each_feasible_choice_is_drawn_equally_often(enumerated, place, monkeypatch):
    """By a list and by the tilted draws; far from the mean the tilt has to be undone, or cheap ones prevail."""
    monkeypatch.setattr(module, "ENUMERATED", enumerated)
    table = random_table(5)
    costs = table.of(all_choices(table)).sort(0).values
    given = targets(0.25, **dict(zip(table.names, costs[int(place * len(costs))].tolist(), strict=True)))
    members = all_feasible(table, given)
    assert len(members) > 5
    drawn = uniform_feasible(table, given, 40 * len(members), _generator())
    assert given.met_by(drawn, table).all()
    seen = (drawn[:, None] == members).all(2).sum(0)
    assert seen.sum() == len(drawn)
    assert stats.chisquare(seen.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("tolerance", [0.05, 0.002])
def test_uniform_draws_of_the_f_macro_are_different_and_the_same_for_one_seed(tolerance):
    given = targets(tolerance, **TARGETS)
    drawn = uniform_feasible(f_table(), given, 200, _generator())
    assert given.met_by(drawn, f_table()).all()
    assert len(drawn.unique(dim=0)) == 200
    assert drawn.equal(uniform_feasible(f_table(), given, 200, _generator()))
    assert not drawn.equal(uniform_feasible(f_table(), given, 200, _generator(1)))


def test_targets_at_the_least_cost_leave_the_one_choice():
    table = f_table()
    least = {name: ends[0] for name, ends in table.reachable().items()}
    drawn = uniform_feasible(table, targets(1e-6, **least), 5, _generator())
    assert (table.of(drawn) == torch.tensor(list(least.values())).double()).all()


def test_infeasible_targets_are_no_endless_loop():
    for table in (f_table(), random_table(0)):
        with pytest.raises(UserError, match=r"reach from"):
            uniform_feasible(table, targets(0.05, macs=1.0), 1, _generator())


def test_too_few_to_be_found_by_drawing_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "_MOST_DRAWS", module._BATCH)
    table = f_table()
    choice = torch.where(table.allowed.sum(1) == 1, table.allowed.int().argmax(1), 3)
    one = targets(1e-3, **dict(zip(table.names, table.of(choice).tolist(), strict=True)))
    with pytest.raises(UserError, match=r"method\.tolerance=0.001 leaves so few"):
        uniform_feasible(table, one, 10**5, _generator())
