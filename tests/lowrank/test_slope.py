"""The rank average slope decides the direction of every width."""

import pytest
import torch

from src.errors import UserError
from src.lowrank.slope import average_votes, rank_average_slope


def test_constant_curve_has_no_slope():
    assert rank_average_slope(torch.full((20,), 0.3)).item() == 0


@pytest.mark.parametrize("growth", [0.001, 0.02])
def test_line_gives_its_growth(growth: float):
    curve = 0.1 + growth * torch.arange(20, dtype=torch.float64)
    assert rank_average_slope(curve).item() == pytest.approx(growth * 19 / 19.0001, rel=1e-12)
    assert rank_average_slope(curve, slope_eps=0.5).item() == pytest.approx(growth * 19 / 19.5, rel=1e-12)


def test_falling_curve_has_slope_zero_and_not_less():
    assert rank_average_slope(torch.linspace(0.5, 0.1, 20)).item() == 0


def test_tied_peaks_count_from_the_first():
    curve = torch.tensor([0.1, 0.3, 0.2, 0.3, 0.3], dtype=torch.float64)
    assert rank_average_slope(curve).item() == pytest.approx(0.2 / 1.0001, rel=1e-12)


def test_many_curves_at_once_equal_one_by_one():
    curves = torch.rand(3, 5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = rank_average_slope(curves)
    assert found.shape == (3, 5)
    for row in range(3):
        for column in range(5):
            assert found[row, column] == rank_average_slope(curves[row, column])


def test_votes_are_averaged_before_the_peak_is_sought():
    """Two opposite curves cancel; the mean of their two slopes would not."""
    rising = torch.linspace(0, 0.2, 10, dtype=torch.float64)
    curve = average_votes([rising, 0.2 - rising])
    torch.testing.assert_close(curve, torch.full((10,), 0.1, dtype=torch.float64))
    assert abs(rank_average_slope(curve).item()) < 1e-12
    assert rank_average_slope(torch.stack([rising, 0.2 - rising])).mean().item() > 0.01


def test_failed_epochs_are_left_out_and_not_taken_for_zero():
    """A NaN that became 0 at epoch 0 would look like a jump of the rank, and expand the width."""
    nan = float("nan")
    votes = torch.tensor([[nan, 0.2, nan], [0.1, 0.4, nan]], dtype=torch.float64)
    torch.testing.assert_close(average_votes(votes), torch.tensor([0.1, 0.3, nan], dtype=torch.float64), equal_nan=True)
    curve = torch.tensor([nan, 0.2, nan, 0.4], dtype=torch.float64)
    assert rank_average_slope(curve).item() == pytest.approx(0.2 / 2.0001)
    assert rank_average_slope(torch.full((4,), nan)).isnan()


def test_conditions_of_one_epoch_are_averaged_too():
    assert average_votes(torch.tensor([2.0, 4.0])).item() == 3


def test_nothing_to_measure_is_an_error():
    with pytest.raises(UserError, match="no vote"):
        average_votes(torch.empty(0, 5))
    with pytest.raises(UserError, match="no epoch"):
        rank_average_slope(torch.empty(3, 0))
