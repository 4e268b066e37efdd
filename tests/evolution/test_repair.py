import pytest
import torch

from src.evolution.grid import Band
from src.evolution.repair import repaired
from tests.evolution.spaces import small_grid

GRID = small_grid()
ROWS = GRID.all_rows()
COSTS = GRID.cost(ROWS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.95])
@pytest.mark.parametrize("width", [0.02, 0.1, 1.0])
def test_every_row_comes_into_every_band_that_holds_one(share: float, width: float):
    """Against all rows of the grid: the repair gives up only where a band is empty, and then it says so of all."""
    most = int(share * int(COSTS.max()))
    band = Band(int((1 - width) * most), most)
    rows, inside = repaired(ROWS, GRID, band, generator())
    assert bool(((rows >= GRID.low) & (rows <= GRID.high)).all())
    assert torch.equal(inside, band.holds(GRID.cost(rows)))
    assert bool(inside.all()) == bool(band.holds(COSTS).any())
    assert bool(inside.any()) == bool(inside.all())


def test_rows_in_the_band_are_left_alone():
    band = Band(int(COSTS.median()), int(COSTS.max()))
    rows, _ = repaired(ROWS, GRID, band, generator())
    assert torch.equal(rows[band.holds(COSTS)], ROWS[band.holds(COSTS)])


def test_without_a_least_a_row_only_loses_bins_and_the_least_row_is_the_last_resort():
    rows, inside = repaired(ROWS, GRID, Band(0, int(COSTS.min())), generator())
    assert bool(inside.all())
    assert torch.equal(rows, GRID.low.expand_as(ROWS))


def test_where_nothing_fits_it_ends_and_says_so():
    """An impossible band must neither hang the search nor pass for met."""
    rows, inside = repaired(ROWS, GRID, Band(0, int(COSTS.min()) - 1), generator())
    assert not bool(inside.any())
    assert torch.equal(rows, GRID.low.expand_as(ROWS))
    rows, inside = repaired(ROWS, GRID, Band(int(COSTS.max()) + 1, 10 * int(COSTS.max())), generator())
    assert not bool(inside.any())
    assert torch.equal(rows, GRID.high.expand_as(ROWS))


def test_a_budget_missed_from_below_leaves_the_dearest_row_seen():
    """Between the costs of two rows there is nothing: best effort stays under the budget."""
    ordered = COSTS.unique()
    gap = int((ordered[1:] - ordered[:-1]).argmax())
    band = Band(int(ordered[gap]) + 1, int(ordered[gap + 1]) - 1)
    rows, inside = repaired(ROWS, GRID, band, generator())
    assert not bool(inside.any())
    assert int(GRID.cost(rows).max()) == int(ordered[gap])


def test_the_seed_alone_decides():
    band = Band(int(0.4 * COSTS.max()), int(0.5 * COSTS.max()))
    state = torch.get_rng_state()
    first, again, other = (repaired(ROWS, GRID, band, generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())
