"""Which cascades of a front are kept."""

import numpy as np
import pytest

from src.cascades.thinning import front_indices, thin
from src.errors import UserError


def _kept_by_loop(errors, costs, step):
    kept, best = [], -np.inf
    for i in sorted(range(len(errors)), key=lambda i: (costs[i], errors[i], i)):
        tenths = round(round((100 - errors[i]) / step, 6))
        if tenths > best:
            kept.append(i)
            best = tenths
    return kept


def test_a_cascade_stays_only_where_its_rounded_accuracy_rises():
    """93.54 rounds to 93.5 as 93.46 does and is dropped though it is better; whole points tell 93.46 from 93.54."""
    errors = np.array([6.54, 6.46, 6.40, 7.00])
    costs = np.array([20.0, 30.0, 40.0, 10.0])
    assert thin(errors, costs).tolist() == [3, 0, 2]
    assert thin(errors, costs, step=0).tolist() == [3, 0, 1, 2]
    assert thin(errors, costs, step=1).tolist() == [3, 1]


def test_a_front_that_is_not_monotone_keeps_only_what_rises():
    assert thin(np.array([5.0, 6.0, 4.0]), np.array([1.0, 2.0, 3.0])).tolist() == [0, 2]


@pytest.mark.parametrize("step", [0.1, 0.25, 1.0])
def test_equals_a_loop(step):
    """Errors in hundredths of a percent, as 10,000 samples give them, with many exactly between two steps."""
    generator = np.random.default_rng(3)
    errors, costs = generator.integers(500, 900, 300) / 100, generator.integers(0, 200, 300).astype(float)
    assert thin(errors, costs, step).tolist() == _kept_by_loop(errors, costs, step)


def test_the_front_equals_all_pairs():
    generator = np.random.default_rng(4)
    errors, costs = generator.integers(0, 12, 80) / 4, generator.integers(0, 12, 80).astype(float)
    no_worse = (errors[:, None] <= errors) & (costs[:, None] <= costs)
    better = no_worse & ((errors[:, None] < errors) | (costs[:, None] < costs))
    earlier = no_worse & no_worse.T & (np.arange(80)[:, None] < np.arange(80))
    kept = front_indices(errors, costs)
    assert sorted(kept.tolist()) == np.flatnonzero(~(better | earlier).any(axis=0)).tolist()
    assert (np.diff(costs[kept]) > 0).all()


def test_what_is_not_finite_is_never_kept():
    errors, costs = np.array([100.0, np.nan, 5.0, 3.0]), np.array([np.inf, 1.0, 2.0, np.inf])
    assert thin(errors, costs).tolist() == front_indices(errors, costs).tolist() == [2]
    assert thin([], []).tolist() == front_indices([], []).tolist() == []


def test_a_negative_step_is_a_mistake():
    with pytest.raises(UserError, match=r"step=-0\.1"):
        thin(np.array([1.0]), np.array([1.0]), step=-0.1)
