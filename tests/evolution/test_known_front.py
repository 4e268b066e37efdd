"""What has been measured is not put out by predictions."""

import numpy as np

from src.evolution.known_front import beside_measured, with_known_front


def test_the_front_of_what_is_known_stays_beside_predictions_that_are_too_good():
    """Every prediction dominates all that was measured: without a place of its own no measured point would stay."""
    measured = np.array([[9.0, 1.0], [5.0, 3.0], [6.0, 4.0], [2.0, 8.0]])  # the third is dominated
    predicted = np.array([[-float(k), 0.1 / (k + 1)] for k in range(10)])
    values, known = np.concatenate([measured, predicted]), np.arange(14) < 4
    kept = with_known_front(values, known, most=4, count=8, seed=0)
    assert {0, 1, 3} <= set(kept.tolist())
    assert len(set(kept.tolist())) == 8


def test_of_a_larger_front_so_many_stay_as_are_allowed_and_more_is_never_asked_for():
    values = np.stack([np.arange(6.0), -np.arange(6.0)], 1)
    everything = np.ones(6, dtype=bool)
    assert len(with_known_front(values, everything, most=2, count=4, seed=0)) == 4
    assert with_known_front(values, everything, most=9, count=9, seed=0).tolist() == list(range(6))
    assert len(with_known_front(values, ~everything, most=2, count=3, seed=0)) == 3
    assert {0, 5} <= set(with_known_front(values, everything, most=2, count=2, seed=0).tolist())  # the ends


def test_what_is_known_competes_by_what_was_measured():
    rows, predicted = np.array([[1, 2], [3, 4]]), np.array([[9.0, 5.0], [8.0, 6.0]])
    objectives, known = beside_measured(rows, predicted, np.array([[3, 4], [7, 7]]), np.array([[1.0, 6.0], [2.0, 2.0]]))
    assert objectives.tolist() == [[9, 5], [1, 6]]
    assert known.tolist() == [False, True]
    assert beside_measured(rows[:0], predicted[:0], rows, predicted)[0].shape == (0, 2)
