"""Signal-to-noise ratios against the specification's table and Monte-Carlo estimates (section 5)."""

import pytest
import torch

from src.errors import UserError
from src.variational.selection import RANKS, mean_abs, rank_named, snr, snr_plus

TABLE = {10: 10.0, 3: 3.00413, 1: 1.25, 0.2231: 0.7903, 0: 0.68333, -0.2231: 0.58637, -1: 0.31857, -3: 0.0268}


def test_positive_snr():
    """The table, for any scale of theta and sigma."""
    ratios, expected = torch.tensor(list(TABLE)).double(), torch.tensor(list(TABLE.values())).double()
    for sigma in (1.0, 0.01):
        found = snr_plus(ratios * sigma, torch.full_like(ratios, sigma))
        torch.testing.assert_close(found, expected, atol=6e-6, rtol=0)


def test_positive_snr_by_drawing():
    """An independent way to the same numbers: means and deviations of what is drawn and cut at 0."""
    theta, sigma = torch.tensor([1.0, 0.0, -0.5]), torch.tensor([0.5, 1.0, 0.5])
    drawn = (theta + sigma * torch.randn(400_000, 3, generator=torch.Generator().manual_seed(0))).clamp_min(0)
    torch.testing.assert_close(snr_plus(theta, sigma).float(), drawn.mean(0) / drawn.std(0), rtol=0.01, atol=0)


def test_positive_snr_is_monotone_and_finite():
    """Its differences lose all digits in float32, and far from 0 in float64: the rank of weak gates would be noise."""
    ratios = torch.linspace(-29, 12, 500)
    found = snr_plus(ratios, torch.ones(500))
    assert (found.diff() > 0).all()
    assert snr_plus(torch.tensor([-1e6, 1e6, 0.0]), torch.tensor([1.0, 1e-3, 0.0])).isfinite().all()


def test_ranks():
    """A strongly negative gate is strong by SNR and weak by positive SNR; alpha is SNR^-2."""
    theta, sigma = torch.tensor([0.5, -2.0, 0.0]), torch.tensor([0.5, 0.5, 0.0])
    assert {name: RANKS[name](theta, sigma).argmax().item() for name in RANKS} == {
        "snr": 1,
        "snr_plus": 0,
        "mean_abs": 1,
    }
    assert snr(theta, sigma).tolist() == [1.0, 4.0, 0.0]
    assert mean_abs(theta, sigma).tolist() == [0.5, 2.0, 0.0]
    with pytest.raises(UserError, match="did you mean 'snr_plus'"):
        rank_named("snr_pluss")
