"""Gumbel-softmax gates against their definition, torch's own, and the distribution that they draw from."""

import math

import pytest
import torch

from src.errors import UserError
from src.networks.gumbel import gates, gumbel_noise

LOGITS = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.3, -torch.inf], [1.0, -torch.inf, -torch.inf]])


def noise(seed: int = 0) -> torch.Tensor:
    return gumbel_noise((3, 3), torch.Generator().manual_seed(seed))


def test_noise_is_gumbel():
    """Mean: Euler's constant, variance: pi^2 / 6; and P(g < x) = exp(-exp(-x))."""
    drawn = gumbel_noise((400_000,), torch.Generator().manual_seed(0)).double()
    assert drawn.isfinite().all()
    assert abs(drawn.mean() - 0.5772) < 0.006
    assert abs(drawn.var() - math.pi**2 / 6) < 0.02
    for x in (-1.0, 0.0, 2.0):
        assert abs((drawn < x).double().mean() - math.exp(-math.exp(-x))) < 0.003


@pytest.mark.parametrize("tau", [0.3, 1.0, 5.0])
def test_soft_gates_are_the_definition(tau):
    scores = ((LOGITS + noise()).double() / tau).exp()
    expected = scores / scores.sum(1, keepdim=True)
    found = gates(LOGITS, noise(), tau)
    assert torch.allclose(found.double(), expected, atol=1e-6)
    assert torch.equal(found == 0, LOGITS.isneginf())


def test_without_noise_they_are_the_softmax():
    assert torch.allclose(gates(LOGITS), LOGITS.softmax(1))


@pytest.mark.parametrize("tau", [1e-2, 1e-30, 1e-300])
def test_towards_temperature_zero_they_are_one_hot(tau):
    """However small: no overflow, no NaN; and they pick what the hard gates pick."""
    soft = gates(LOGITS, noise(), tau)
    assert torch.equal(soft, gates(LOGITS, noise(), 1.0, hard=True))
    assert torch.equal(soft.sum(1), torch.ones(3))


def test_towards_high_temperature_they_are_even_over_what_a_block_has():
    assert torch.allclose(gates(LOGITS, noise(), 1e9), torch.tensor([[1 / 3] * 3, [0.5, 0.5, 0], [1, 0, 0]]))


def test_hard_gates_are_exactly_one_hot_with_the_gradient_of_the_soft_ones():
    weights, grads = torch.tensor([[1.0, 2.0, 3.0]] * 3), []
    for hard in (False, True):
        logits = LOGITS.clone().requires_grad_()
        found = gates(logits, noise(3), 0.7, hard)
        (found * weights).sum().backward()
        grads.append(logits.grad)
        assert not hard or set(found.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(*grads)
    assert (grads[0][:2].abs().sum(1) > 0).all()
    assert grads[0].isfinite().all()


def test_they_pick_with_the_probabilities_of_the_softmax():
    """The Gumbel-max trick, at any temperature; 5 standard deviations of 40,000 draws."""
    logits = LOGITS[:1].expand(40_000, 3)
    drawn = gates(logits, gumbel_noise((40_000, 3), torch.Generator().manual_seed(1)), 4.0, hard=True)
    assert torch.allclose(drawn.mean(0), LOGITS[0].softmax(0), atol=0.0125)


def test_a_block_without_operations_has_gates_of_zero_and_no_gradient():
    logits = torch.tensor([[-torch.inf, -torch.inf], [0.0, 1.0]], requires_grad=True)
    for hard in (False, True):
        found = gates(logits, None, 1.0, hard)
        assert torch.equal(found[0], torch.zeros(2))
        (found[:, 0].sum()).backward()
    assert logits.grad.isfinite().all()
    assert torch.equal(logits.grad[0], torch.zeros(2))


@pytest.mark.parametrize("tau", [0, -1.0, float("nan")])
def test_a_temperature_that_is_none_is_an_error(tau):
    with pytest.raises(UserError, match="tau"):
        gates(LOGITS, None, tau)
