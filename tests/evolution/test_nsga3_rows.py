"""NSGA-III over rows: what it asks for, what it finds, and who survives."""

import numpy as np
import pytest

from src.evolution.dominance import nondominated
from src.evolution.nsga3_rows import nsga3, survivors
from tests.evolution.row_problems import Recorded, sorted_members, synthetic

ALPHABET = np.array([19, 19, 19, 51, 51, 1])


def start_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(ALPHABET, size=(count, len(ALPHABET)))


@pytest.mark.parametrize(("given", "population"), [(0, 10), (3, 10), (40, 10)])
def test_rows_are_canonical_and_different_and_the_budget_holds(given: int, population: int):
    """Each row is asked for once: the surrogate is what costs, and 10,000 evaluations are 10,000 different rows."""
    alphabet, recorded = np.array([9] * 6), Recorded(synthetic)
    start = np.random.default_rng(0).integers(alphabet, size=(given, 6))
    found = nsga3(recorded, alphabet, 0, start, sorted_members, population=population, evaluations=200)
    assert found.shape == (population, 6)
    assert len(np.unique(found, axis=0)) == population
    assert np.array_equal(found, sorted_members(found))
    assert 150 < len(recorded.rows) <= 200
    assert len(np.unique(recorded.rows, axis=0)) == len(recorded.rows)
    assert (recorded.rows >= 0).all()
    assert (recorded.rows < 9).all()
    assert set(map(tuple, sorted_members(start))) <= set(map(tuple, recorded.rows))


def test_seed_and_start_decide():
    """All ranks propose the same sub-nets, and a run that is resumed proposes what it would have proposed."""
    runs = [nsga3(synthetic, ALPHABET, seed, start_of(20), population=20, evaluations=300) for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_it_comes_closer_than_random_rows_and_spreads_over_the_front():
    """2,000 rows each: none of its own is dominated by those at random, and nearly all of theirs are."""
    at_random = synthetic(start_of(2000, seed=1))
    at_random = at_random[nondominated(at_random)]
    found = synthetic(nsga3(synthetic, ALPHABET, 0, start_of(100), population=50, evaluations=2000))
    worse = (found[None] <= at_random[:, None]).all(2).any(1)
    assert worse.mean() > 0.9
    assert not (at_random[None] <= found[:, None]).all(2).any()
    assert (found.min(0) <= at_random.min(0)).all()


def test_a_small_space_is_no_endless_search():
    found = nsga3(lambda rows: np.stack([rows.sum(1), -rows.sum(1)], 1), [2, 2, 1], 0, np.zeros((1, 3), int))
    assert sorted(map(tuple, found.tolist())) == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]


def test_infinite_objectives_do_no_harm():
    """A sub-net outside of the range of MACs has infinite ones; not even the start need hold one inside."""

    def values(rows):
        found = synthetic(rows)
        found[rows[:, 0] != 3] = np.inf
        return found

    start = start_of(30)
    start[:, 0] = 0
    found = nsga3(values, ALPHABET, 0, start, population=30, evaluations=900)
    assert np.isfinite(values(found)).all()


def test_survivors_are_the_first_fronts_with_both_ends():
    """Dominated points survive only where there is room; a front too large for that keeps its ends and its spread."""
    front = np.stack([np.arange(41.0), 40 - np.arange(41.0)], axis=1)
    points = np.concatenate([front + 30, front, front + 100])
    kept = survivors(points, 50, 0)
    assert set(range(41, 82)) <= set(kept.tolist())
    assert kept.max() < 82
    kept = survivors(points, 11, 0)
    assert {41, 81} <= set(kept.tolist())
    assert np.diff(kept).max() <= 6  # four apart, if they were even


@pytest.mark.parametrize("scales", [(1e-4, 1e7), (1e6, 1e-3)])
def test_survivors_do_not_depend_on_units(scales):
    """pymoo takes differences below 0.001 for none: errors as shares would not count beside MACs in units."""
    generator = np.random.default_rng(0)
    points = generator.random((100, 2)) * [1, 2]
    assert np.array_equal(survivors(points, 20, 0), survivors(points * scales, 20, 0))


def test_survivors_in_odd_cases():
    """More asked for than there are, equal points, points that are not finite, one or none to survive."""
    points = np.array([[1.0, 1], [1, 1], [np.inf, 0], [1, 1], [np.nan, np.nan], [2, 2]])
    assert survivors(points, 6, 0).tolist() == survivors(points, 60, 0).tolist() == list(range(6))
    assert survivors(points, 4, 0).tolist() == [0, 1, 3, 5]
    assert survivors(points, 5, 0).tolist() == [0, 1, 2, 3, 5]
    assert set(survivors(points, 2, 0).tolist()) < {0, 1, 3}
    assert survivors(points, 1, 0)[0] in (0, 1, 3)
    assert len(survivors(points, 0, 0)) == len(survivors(points[:0], 3, 0)) == 0
    assert np.array_equal(survivors(points, 2, 5), survivors(points, 2, 5))
