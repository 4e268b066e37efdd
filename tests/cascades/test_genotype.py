"""Rows of genes and what they stand for."""

import numpy as np

from src.cascades.genotype import CascadePlan, alphabet, canonical, decode, without_idle
from src.cascades.thresholds import ThresholdGrid


def test_empty_slots_take_their_threshold_along():
    rows = np.array([[0, 3, 0, 5, 10, 20, 30], [3, 5, 0, 0, 30, 1, 2]])
    assert canonical(rows).tolist() == [[3, 5, 0, 0, 30, 0, 0]] * 2


def test_repeats_are_empty_slots_or_charged():
    rows = np.array([[3, 5, 3, 1, 10, 20, 30]])
    assert canonical(rows).tolist() == [[3, 5, 1, 0, 10, 30, 0]]
    assert canonical(rows, "charge").tolist() == rows.tolist()


def test_canonical_rows_stay():
    """Else one cascade is counted twice in a budget."""
    rows = np.random.default_rng(0).integers(0, 4, (500, 7))
    for repeats in ("refuse", "charge"):
        once = canonical(rows, repeats)
        np.testing.assert_array_equal(canonical(once, repeats), once)
    assert ((canonical(rows)[:, :4] > 0).sum(1) <= 3).all()


def test_members_that_no_sample_comes_to_are_left_out():
    """Else a network is stored and loaded that never answers."""
    rows, reached = np.array([[3, 5, 1, 2, 10, 0, 30]]), np.array([[9, 4, 0, 0]])
    assert without_idle(rows, reached).tolist() == [[3, 5, 0, 0, 10, 0, 0]]


def test_decoded():
    grid = ThresholdGrid(51)
    assert decode(np.array([3, 5, 0, 0, 30, 0, 0]), grid.values) == CascadePlan((2, 4), (0.6,))
    assert decode(np.zeros(7, np.int64), grid.values) == CascadePlan((), ())
    assert alphabet(18, 3, 51).tolist() == [19, 19, 19, 51, 51]
