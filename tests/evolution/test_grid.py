import itertools

import pytest
import torch

from src.evolution.grid import BinGrid
from tests.evolution.spaces import quadratic_cost, small_grid


def test_all_rows_are_the_product_of_the_ranges():
    grid = small_grid()
    wanted = list(itertools.product(range(1, 5), range(1, 4), range(2, 5), range(1, 6)))
    assert list(map(tuple, grid.all_rows().tolist())) == wanted
    assert grid.size() == len(wanted)


def test_uniform_rows_are_equally_likely():
    """Of 64,000 draws each of the 64 rows has about 1000; five standard deviations are 157."""
    grid = small_grid((1, 2, 1), (4, 5, 4))
    rows = grid.uniform(64_000, torch.Generator().manual_seed(0))
    counts = rows.unique(dim=0, return_counts=True)[1]
    assert len(counts) == 64
    assert int((counts - 1000).abs().max()) < 157


@pytest.mark.parametrize(
    ("low", "high"),
    [([1, 2], [1, 1]), ([1], [1, 2]), ([], []), ([1.0], [2.0])],
    ids=["crossed", "unequal", "empty", "fractions"],
)
def test_bounds_that_make_no_grid_are_refused(low, high):
    with pytest.raises(ValueError, match="low"):
        BinGrid(torch.tensor(low), torch.tensor(high), quadratic_cost)
