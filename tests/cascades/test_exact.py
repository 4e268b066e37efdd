"""The exact front, against all cascades one by one."""

import itertools

import numpy as np
import pytest

from src.cascades.evaluation import CascadeEvaluator
from src.cascades.exact import count_cascades, exact_front
from src.cascades.thresholds import ThresholdGrid
from src.errors import UserError
from tests.cascades.test_evaluation import coarse, made, real


def all_rows(members: int, slots: int, levels: int) -> np.ndarray:
    """Each cascade of different members under all thresholds."""
    rows = []
    for length in range(1, slots + 1):
        for chosen in itertools.permutations(range(1, members + 1), length):
            for levels_of in itertools.product(range(levels), repeat=length - 1):
                rows.append([*chosen, *[0] * (slots - length), *levels_of, *[0] * (slots - length)])
    return np.array(rows)


def front_of(objectives: np.ndarray) -> set[tuple[float, float]]:
    points = sorted({tuple(values) for values in objectives.tolist()})
    kept, cheapest = set(), np.inf
    for error, cost in points:
        if cost < cheapest:
            kept.add((error, cost))
            cheapest = cost
    return kept


@pytest.mark.parametrize("objective", ["macs", "params"])
@pytest.mark.parametrize(
    ("make", "slots", "levels"),
    [(lambda: made(samples=150), 3, 6), (coarse, 3, 9), (lambda: made(members=4, samples=90), 4, 4)],
    ids=["made", "ties", "four"],
)
def test_it_is_the_front_of_all_cascades(make, slots, levels, objective):
    """Else gaps are measured against something that is not the truth."""
    pool = make()
    evaluator = CascadeEvaluator(pool, slots, ThresholdGrid(levels))
    rows = all_rows(len(pool), slots, levels)
    assert len(rows) == count_cascades(len(pool), slots, levels)
    found, errors, costs = exact_front(evaluator.tables, pool.costs(objective), slots, objective != "params")
    objectives = evaluator.objectives(found, ("error", objective))
    np.testing.assert_array_equal(objectives[:, 0], 100 * errors / pool.samples)
    np.testing.assert_allclose(objectives[:, 1], costs, rtol=1e-14)
    truth = front_of(evaluator.objectives(rows, ("error", objective)).round(9))
    assert {tuple(values) for values in objectives.round(9).tolist()} == truth


def test_on_six_real_networks_it_is_the_front_of_all_cascades():
    pool = real(5000).chosen([0, 2, 4, 9, 13, 17])
    evaluator = CascadeEvaluator(pool, 3, ThresholdGrid(11))
    found, _, _ = exact_front(evaluator.tables, pool.costs("macs"), 3)
    truth = front_of(evaluator.objectives(all_rows(6, 3, 11)).round(6))
    assert {tuple(values) for values in evaluator.objectives(found).round(6).tolist()} == truth


def test_what_would_take_days_is_refused():
    tables = CascadeEvaluator(made(members=18, samples=50)).tables
    with pytest.raises(UserError, match="fewer slots"):
        exact_front(tables, np.ones(18), 5)
