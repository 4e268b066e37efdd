"""KL terms against the specification's table, torch's own divergence and their bounds (T1 to T4)."""

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.distributions import Normal, kl_divergence

from src.errors import UserError
from src.variational.kl import KLS, SLOPES, ard_kl, kl_named, log_alpha, sparse_vd_kl

# log alpha: ARD, sparse VD, slope of ARD (section 4)
TABLE = {
    -10: (5.000023, 5.635781, -0.499977),
    -8: (4.000168, 4.635899, -0.499832),
    -5: (2.503358, 3.136684, -0.496654),
    -3: (1.524294, 2.115590, -0.476287),
    0: (0.346574, 0.431239, -0.25),
    3: (0.024294, 0.025420, -0.023713),
    5: (0.003358, 0.003415, -0.003346),
    8: (0.000168, 0.000168, -0.000168),
}
EVERYWHERE = torch.linspace(-50, 50, 401)


def test_the_table():
    """A wrong constant of the fit or a lost factor would move every sparsity that is reported."""
    given = torch.tensor(list(TABLE), dtype=torch.float32, requires_grad=True)
    ard, sparse, slope = (torch.tensor(column) for column in zip(*TABLE.values(), strict=True))
    torch.testing.assert_close(ard_kl(given), ard, atol=1e-6, rtol=0)
    torch.testing.assert_close(sparse_vd_kl(given), sparse, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(ard_kl(given).sum(), given)[0], slope, atol=1e-6, rtol=0)
    assert (ard_kl(given) <= sparse_vd_kl(given)).all()


@pytest.mark.parametrize("name", KLS)
def test_shape(name):
    """Falling and convex, 0 at the one end and a line of slope -1/2 at the other: else it would not prune."""
    given = EVERYWHERE.double().requires_grad_()
    kl = KLS[name](given)
    (slope,) = torch.autograd.grad(kl.sum(), given)
    assert (kl.diff() < 0).all()
    assert kl[-1] < 1e-20
    assert slope[0] == pytest.approx(-0.5, abs=1e-12)
    if name == "ard":  # the fit of the other is convex but for a part
        assert (slope.diff() >= 0).all()
    torch.testing.assert_close(SLOPES[name](given.detach()), slope)


def test_ard_is_the_divergence_from_the_best_prior():
    """The closed form stands for a prior whose precision is at its optimum, 1 / (theta^2 + sigma^2)."""
    theta, sigma = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.1, dtype=torch.float64)
    expected = kl_divergence(Normal(theta, sigma), Normal(0.0, (theta**2 + sigma**2).sqrt()))
    found = ard_kl(log_alpha(theta, 2 * sigma.log(), eps=0.0))
    assert float(expected) == pytest.approx(1.1512925465, abs=1e-10)
    assert float(found) == pytest.approx(float(expected), abs=1e-10)
    for mean, variance, precision in ((0.3, 0.01, 10.0), (1.5, 4.0, 0.16)):

        def divergence(log_precision: float, mean: float = mean, variance: float = variance) -> float:
            prior = Normal(0.0, float(torch.tensor(-0.5 * log_precision, dtype=torch.float64).exp()))
            return float(kl_divergence(Normal(mean, torch.tensor(variance, dtype=torch.float64).sqrt()), prior))

        best = minimize_scalar(divergence, bounds=(-8, 8), method="bounded", options={"xatol": 1e-9})
        assert float(torch.tensor(best.x).exp()) == pytest.approx(precision, rel=1e-4)
        ours = ard_kl(log_alpha(torch.tensor(mean), torch.tensor(variance).log()))
        assert float(ours) == pytest.approx(best.fun, rel=1e-5)


def test_scale_does_not_matter():
    """Normalised layers give the scale of theta no meaning; the KL must not either."""
    theta, log_sigma2 = torch.randn(50).double(), torch.randn(50).double()
    for kl in KLS.values():
        scaled = kl(log_alpha(7 * theta, log_sigma2 + 2 * torch.tensor(7.0).double().log(), eps=0.0))
        torch.testing.assert_close(scaled, kl(log_alpha(theta, log_sigma2, eps=0.0)))


@pytest.mark.parametrize("name", KLS)
def test_finite_everywhere(name):
    """theta = 0 and extreme alphas occur in every run; one NaN there would end it. In half floats too."""
    for given in (EVERYWHERE, torch.tensor([-1e4, 1e4])):
        given = given.clone().requires_grad_()
        kl = KLS[name](given)
        kl.sum().backward()
        assert kl.isfinite().all()
        assert given.grad.isfinite().all()
        assert SLOPES[name](given.detach()).isfinite().all()
    theta = torch.zeros(3, requires_grad=True)
    log_sigma2 = torch.tensor([-50.0, 0.0, 50.0], requires_grad=True)
    KLS[name](log_alpha(theta, log_sigma2)).sum().backward()
    assert theta.grad.isfinite().all()
    assert log_sigma2.grad.isfinite().all()
    with torch.autocast("cpu", torch.bfloat16):
        half = KLS[name](log_alpha(torch.zeros(3, dtype=torch.bfloat16), log_sigma2))
    assert half.dtype == torch.float32
    assert half.isfinite().all()


def test_an_unknown_kl_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'ard'"):
        kl_named("adr")
