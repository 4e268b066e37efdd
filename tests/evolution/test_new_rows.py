"""Different rows from draws that repeat themselves."""

import numpy as np

from src.evolution.new_rows import distinct, new_rows


def test_rows_come_once_and_none_that_is_known():
    draws = iter([[0, 1, 1, 2], [2, 3], [4, 5]])
    found = new_rows(lambda: np.array(next(draws))[:, None], 3, np.array([[0]]))
    assert found.ravel().tolist() == [1, 2, 3]
    assert distinct(np.array([[3, 1], [2, 2], [3, 1], [0, 0]])).tolist() == [[3, 1], [2, 2], [0, 0]]


def test_a_space_that_is_used_up_ends_it():
    """Otherwise a search that asks for more rows than there are would never go on."""
    assert new_rows(lambda: np.array([[0], [1]]), 5, np.array([[0]])).tolist() == [[1]]
