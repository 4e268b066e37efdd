"""The KL gradient on flat tensors against autograd, and where the phases of a training begin."""

import pytest
import torch

from src.errors import UserError
from src.variational.kl import KLS, log_alpha
from src.variational.training import FINE_TUNING, kl_gradients, kl_sum, log_sigma2_of, phases


@pytest.mark.parametrize("kl", KLS)
def test_gradients_are_those_of_autograd(kl):
    """A wrong factor would still train, towards another optimum; at theta = 0 and far out nothing may be NaN."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.cat([0.3 * torch.randn(50, generator=generator), torch.tensor([0.0, 1e-9, 40.0])]).requires_grad_()
    log_sigma2 = torch.cat([4 * torch.randn(50, generator=generator) - 4, torch.tensor([-50.0, 50.0, -9.0])])
    log_sigma2.requires_grad_()
    kept = torch.rand(53, generator=generator) < 0.7
    total = KLS[kl](log_alpha(theta.double(), log_sigma2.double()))[kept].sum()
    expected = torch.autograd.grad(total, (theta, log_sigma2))
    found = kl_gradients(theta, log_sigma2, kept, kl)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(kl_sum(theta, log_sigma2, kept, kl).double(), total.detach(), rtol=1e-5, atol=0)
    assert all(bool(gradient.isfinite().all()) and not gradient[~kept].any() for gradient in found)


def test_phases_begin_with_epochs():
    found = phases(10, warmup=0.1, ramp=0.4, finetune=0.2)
    assert (found.ramp, found.full, found.fine_tuning) == (1, 5, 8)
    assert [found.factor(at) for at in (0.9, 1, 3, 5, 7.9, 8)] == pytest.approx([0, 0, 0.5, 1, 1, 0])
    assert phases(1, 0.1, 0.4, 0.0).factor(0.0) == 1  # too short for a ramp: the KL is there all the same
    assert FINE_TUNING not in {phases(4, 0.1, 0.4, 0.0).name(epoch) for epoch in range(6)}
    assert phases(4, 0.0, 0.0, 1.0).name(0) == FINE_TUNING
    with pytest.raises(UserError, match="more than 1 in all"):
        phases(10, 0.5, 0.5, 0.2)


def test_sigma_follows_theta_and_the_kept_weights_stay_live():
    """Else a weight that fine-tuning makes smaller would be taken away by the evaluation that follows."""
    before = torch.tensor([2.9999999, -5.0, 0.0])
    theta = torch.tensor([1e-6, -0.2, 3.0])
    after = log_alpha(theta, log_sigma2_of(before, theta, 3.0))
    assert bool((after < 3).all())
    torch.testing.assert_close(after, before, atol=2e-3, rtol=0)
