"""The repair of random rows, on a cost that is known in closed form."""

import torch

from src.runtime.seeds import keyed_generator
from src.spaces.bin_sampling import into_band, uniform_rows

LOW, HIGH = torch.tensor([1, 2, 1, 4]), torch.tensor([9, 7, 1, 30])
PRICES = torch.tensor([5, 7, 3, 2])


def cost(rows: torch.Tensor) -> torch.Tensor:
    return (rows * PRICES).sum(1)


def draws(count: int) -> torch.Tensor:
    return uniform_rows(LOW, HIGH, count, keyed_generator(0))


def test_uniform_rows_reach_from_the_fewest_to_the_most_alike():
    """A sampler that leaves out the widest would have them judged untrained."""
    rows = draws(20_000)
    assert torch.equal(rows.amin(0), LOW)
    assert torch.equal(rows.amax(0), HIGH)
    shares = rows[:, 0].bincount()[1:] / len(rows)
    assert torch.allclose(shares, torch.full((9,), 1 / 9), atol=0.01)


def test_rows_in_the_band_stay_and_the_others_come_in_from_their_side():
    rows = draws(2000)
    found, inside, near = into_band(rows, LOW, HIGH, cost, 70, 90, keyed_generator(1))
    before, after = cost(rows), cost(found)
    assert inside.all()
    assert near == []
    assert int(after.min()) >= 70
    assert int(after.max()) <= 90
    within = (before >= 70) & (before <= 90)
    assert torch.equal(found[within], rows[within])
    assert bool((found <= rows)[before > 90].all())
    assert bool((found >= rows)[before < 70].all())
    # the walk stops at the first row that fits: the bin that went last, of at most the highest price, had to go
    assert bool((after[before > 90] + PRICES.max() > 90).all())


def test_bins_go_at_random():
    """Bins that always go from the first group on would leave most of the band unseen."""
    rows = HIGH.expand(3000, -1)
    found, *_ = into_band(rows, LOW, HIGH, cost, 70, 90, keyed_generator(2))
    gone = (rows - found).double().mean(0)
    expected = (HIGH - LOW).double() / (HIGH - LOW).sum()
    assert torch.allclose(gone / gone.sum(), expected, atol=0.02)


def test_a_narrow_band_is_walked_into():
    found, inside, _ = into_band(draws(500), LOW, HIGH, cost, 81, 81, keyed_generator(3))
    assert inside.all()
    assert bool(((found >= LOW) & (found <= HIGH)).all())
    assert (cost(found) == 81).all()


def test_of_an_empty_band_the_nearest_costs_are_told():
    """Of even prices no row costs an odd number."""
    _, inside, near = into_band(draws(200), LOW, HIGH, lambda rows: 2 * rows.sum(1), 41, 41, keyed_generator(4))
    assert not inside.any()
    assert near == [40, 42]
