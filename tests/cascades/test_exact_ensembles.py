"""The exact front of ensembles, against all of them one by one."""

import itertools

import numpy as np
import pytest

from src.cascades import exact_ensembles
from src.cascades.evaluation import CascadeEvaluator
from src.errors import UserError
from tests.cascades.test_evaluation import made
from tests.cascades.test_exact import front_of


def test_it_is_the_front_of_all_means(monkeypatch):
    monkeypatch.setattr(exact_ensembles, "_TOGETHER", 7)
    pool = made(samples=120)
    evaluator = CascadeEvaluator(pool, slots=4)
    found, errors, costs = exact_ensembles.exact_ensembles(evaluator.tables, pool.costs("macs"), 4)
    softmax, truth = np.stack(pool.outputs).astype(np.float64), []
    for size in range(1, 5):
        for chosen in map(list, itertools.combinations(range(len(pool)), size)):
            wrong = (softmax[chosen].mean(0).astype(np.float32).argmax(1) != pool.labels).sum()
            truth.append((float(wrong), pool.costs("macs")[chosen].sum()))
    assert set(zip(errors.astype(float), costs, strict=True)) == front_of(np.array(truth))
    np.testing.assert_allclose(evaluator.objectives(found), np.stack([100 * errors / 120, costs], 1))


def test_what_would_take_hours_is_refused(monkeypatch):
    monkeypatch.setattr(exact_ensembles, "MOST_ENSEMBLES", 10)
    with pytest.raises(UserError, match="fewer slots"):
        exact_ensembles.exact_ensembles(CascadeEvaluator(made(samples=50)).tables, np.ones(6), 3)
