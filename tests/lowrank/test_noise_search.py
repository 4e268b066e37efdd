"""The free energy against the published formula, its derivatives against autograd, its minimum against a dense grid."""

import pytest
import torch

from src.lowrank import noise_search
from src.lowrank.noise_search import ScaledSpectra, free_energy, noise_variance, tau_of, threshold_ratio


def spectrum(kind: str, count: int, seed: int) -> torch.Tensor:
    """Squared singular values without a clear gap between signal and noise, mean 1, descending."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.arange(1, count + 1, dtype=torch.float64)
    normal = torch.randn(count, generator=generator, dtype=torch.float64)
    values = (
        {
            "log-normal": torch.exp(2.5 * normal),
            "power law": index**-1.4,
            "exponential": 10 ** (-7 * index / count),
            "plateaus": torch.exp(normal.mul(2).round()),
            "uniform": torch.rand(count, generator=generator, dtype=torch.float64) ** 2,
        }[kind]
        .sort(descending=True)
        .values
    )
    return values / values.mean()


def published(log_v: torch.Tensor, c: torch.Tensor, alpha: float) -> torch.Tensor:
    """F as the paper writes it, value by value, without the rearrangements of the module; (N,) -> (N,)."""
    x = c / log_v.exp()[:, None]
    tau_u = 2.5129 * alpha**0.5
    ratio = (1 + tau_u) * (1 + alpha / tau_u)
    shifted = x - (1 + alpha)
    tau = 0.5 * (shifted + (shifted**2 - 4 * alpha).clamp_min(1e-300).sqrt())
    signal = x - tau + ((tau + 1) / x).log() + alpha * (tau / alpha + 1).log()
    return torch.where(x > ratio, signal, x - x.log()).sum(1)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 1 / 9, 0.01])
def test_free_energy_and_its_derivatives(alpha: float):
    c = spectrum("log-normal", 30, seed=1)
    # The padding must not count: it stands for nothing.
    padded = torch.cat([c, c.new_zeros(7)])[None]
    scaled = ScaledSpectra(padded, torch.tensor([[alpha]], dtype=torch.float64), torch.tensor([[30]]))
    log_v = torch.linspace(-6, 0, 50, dtype=torch.float64, requires_grad=True)
    true = published(log_v, c, alpha)
    (slope,) = torch.autograd.grad(true.sum(), log_v, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), log_v)
    found = free_energy(log_v.detach()[None], scaled)
    torch.testing.assert_close(found.value[0], true.detach(), rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(found.slope[0], slope.detach(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.curvature[0], curvature, rtol=1e-7, atol=1e-7)


def test_threshold_ratio_is_where_tau_reaches_its_threshold():
    alpha = torch.tensor([1.0, 0.5, 1 / 9], dtype=torch.float64)
    torch.testing.assert_close(tau_of(threshold_ratio(alpha), alpha), 2.5129 * alpha.sqrt())


@pytest.mark.parametrize("kind", ["log-normal", "power law", "exponential", "plateaus", "uniform"])
def test_minimum_is_the_global_one(kind: str):
    """Such spectra have many local minima: a search that stops at the first is off by up to 0.17 in the rank."""
    alphas = [1.0, 0.6, 0.3, 1 / 9]
    c = torch.stack([spectrum(kind, 60, seed) for seed in range(12)])
    alpha = torch.tensor(alphas * 3, dtype=torch.float64)[:, None]
    scaled = ScaledSpectra(c, alpha, torch.full((12, 1), 60))
    lower = torch.full((12,), 1e-6, dtype=torch.float64)
    found = noise_variance(scaled, lower)
    for index in range(12):
        grid = torch.linspace(lower[index].log().item(), 0, 20001, dtype=torch.float64)
        best = published(grid, c[index], alpha[index].item())
        reached = published(found[index].log()[None], c[index], alpha[index].item())
        assert reached.item() <= best.min().item() + 1e-6
        ratio = threshold_ratio(alpha[index])
        true_rank = (c[index] > grid[best.argmin()].exp() * ratio).sum()
        assert (c[index] > found[index] * ratio).sum() == true_rank


def test_cutting_the_grid_into_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    c = torch.stack([spectrum("log-normal", 40, seed) for seed in range(5)])
    scaled = ScaledSpectra(c, torch.full((5, 1), 0.4, dtype=torch.float64), torch.full((5, 1), 40))
    lower = torch.full((5,), 1e-3, dtype=torch.float64)
    whole = noise_variance(scaled, lower)
    monkeypatch.setattr(noise_search, "_ELEMENTS", 1)
    torch.testing.assert_close(noise_variance(scaled, lower), whole, rtol=1e-12, atol=0)
