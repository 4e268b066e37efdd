"""The measures of a surrogate on pairs that can be done by hand."""

import numpy as np
import pytest

from src.evolution.rank_measures import rank_measures


def test_by_hand():
    """One of the three pairs is the wrong way round: tau = (2 - 1) / 3, rho = 1 - 6 * 2 / (3 * 8)."""
    found = rank_measures([1, 3, 2], [10, 20, 30])
    assert found == pytest.approx({"rmse": np.sqrt((81 + 17**2 + 28**2) / 3), "spearman": 0.5, "kendall": 1 / 3})


def test_no_order_is_nan_and_not_an_error():
    """A surrogate of the first few sub-nets may say the same of all: a run must not end or warn for that."""
    for predicted, true in (([1, 1], [1, 2]), ([1], [1]), ([], [])):
        found = rank_measures(predicted, true)
        assert np.isnan([found["spearman"], found["kendall"]]).all()
