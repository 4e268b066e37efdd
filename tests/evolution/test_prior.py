import pytest
import torch

from src.evolution.expected_cost import expected_cost
from src.evolution.grid import BinGrid
from src.evolution.prior import fitted, sampled
from tests.evolution.spaces import quadratic_cost, small_grid

GRID = small_grid()
ROWS = GRID.all_rows()
LEAST, MOST = GRID.reachable()
THERE = GRID.low[:, None] + torch.arange(5) <= GRID.high[:, None]


def some_probabilities(seed: int) -> torch.Tensor:
    chances = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * THERE
    return chances / chances.sum(1, keepdim=True)


def squared_too(rows: torch.Tensor) -> torch.Tensor:
    """As where a convolution has one group as inputs and outputs."""
    return quadratic_cost(rows) + 7 * rows[:, 1] ** 2


@pytest.mark.parametrize("cost", [quadratic_cost, squared_too])
def test_the_expected_cost_is_that_of_all_rows(cost):
    """Against the sum over every row of its probability times its cost."""
    grid = BinGrid(GRID.low, GRID.high, cost)
    for seed in range(3):
        chances = some_probabilities(seed)
        places = ROWS - GRID.low
        weights = torch.stack([chances[group, places[:, group]] for group in range(4)]).prod(0)
        assert float(expected_cost(grid)(chances)) == pytest.approx(float((weights * cost(ROWS)).sum()), rel=1e-12)


def test_the_expected_cost_of_one_group():
    grid = BinGrid(torch.tensor([1]), torch.tensor([3]), lambda rows: 5 + 2 * rows[:, 0])
    assert float(expected_cost(grid)(torch.tensor([[0.5, 0.0, 0.5]], dtype=torch.float64))) == pytest.approx(9)


def planted(best=(2, 0, 1, 3)) -> torch.Tensor:
    """Losses with one good number of bins in each group."""
    table = torch.full((4, 5), 2.0, dtype=torch.float64)
    table[torch.arange(4), torch.tensor(best)] = 1.0
    return torch.where(THERE, table, torch.nan)


def test_it_concentrates_on_planted_bins_where_the_budget_allows():
    row = GRID.low + torch.tensor([2, 0, 1, 3])
    chances = fitted(planted(), GRID, target=float(GRID.cost(row[None])))
    assert torch.equal(chances.argmax(1), torch.tensor([2, 0, 1, 3]))
    assert bool((chances.amax(1) > 0.95).all())
    assert bool((chances[~THERE] == 0).all())


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_the_expected_macs_keep_to_the_target(share: float):
    """Whatever the losses want: those of more bins are lower here, and the target decides."""
    losses = torch.where(THERE, 1 / (1 + torch.arange(5.0, dtype=torch.float64)), torch.nan)
    target = share * MOST
    assert float(expected_cost(GRID)(fitted(losses, GRID, target))) == pytest.approx(target, rel=0.02)


def test_without_a_budget_the_minimum_is_that_of_boltzmann():
    """Closed form: loss - temperature * entropy is least where p is in proportion to exp(-loss / temperature)."""
    losses = torch.where(THERE, torch.linspace(0, 1, 20, dtype=torch.float64).reshape(4, 5), torch.nan)
    scaled = (losses - losses.nan_to_num(9).min()) / (losses.nan_to_num(-9).max() - losses.nan_to_num(9).min())
    wanted = (-scaled / 0.2).masked_fill(~THERE, -torch.inf).softmax(1)
    found = fitted(losses, GRID, target=1.0, strength=0.0, temperature=0.2)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_what_was_never_seen_is_not_attractive():
    """In the authors' later code it gets a loss of 1e-4, and the prior is full of widths that were never trained."""
    table = planted()
    table[0] = torch.tensor([1.5, torch.nan, 2.0, 2.0, torch.nan])
    chances = fitted(table, GRID, target=float(MOST), strength=0.0)
    assert float(chances[0, 1]) < 0.05
    assert float(chances[0, 0]) > 0.9


def test_nothing_seen_at_all_is_refused():
    with pytest.raises(ValueError, match="at least"):
        fitted(torch.full((4, 5), torch.nan, dtype=torch.float64), GRID, target=1.0)


def test_samples_have_the_fitted_frequencies():
    chances = some_probabilities(0)
    rows = sampled(chances, GRID, 20_000, torch.Generator().manual_seed(0))
    assert bool(((rows >= GRID.low) & (rows <= GRID.high)).all())
    counts = torch.stack([(rows == GRID.low + place).sum(0) for place in range(5)], 1)
    torch.testing.assert_close(counts / 20_000, chances, atol=0.02, rtol=0, check_dtype=False)
