"""Gates of operations: moments of their draws, what dead ones give, and their KL."""

import pytest
import torch

from src.errors import UserError
from src.variational.gates import StructuralGates
from src.variational.kl import ard_kl


def test_draws_have_the_moments_of_the_posterior():
    """An example noise that is shared by the batch, or a scalar one that is not, would be another estimator."""
    gates = StructuralGates((2, 3, 4), theta=0.7, log_sigma2=-2.0)
    torch.manual_seed(0)
    drawn = gates.draw("example", 20_000)
    assert drawn.shape == (20_000, 2, 3, 4)
    torch.testing.assert_close(drawn.mean(0), gates.means(), atol=0.015, rtol=0)
    torch.testing.assert_close(drawn.var(0), gates.variances(), atol=0, rtol=0.06)
    assert abs(torch.corrcoef(drawn.flatten(1).T) - torch.eye(24)).max() < 0.04
    assert gates.draw("scalar", 5).shape == (2, 3, 4)
    assert not torch.equal(gates.draw("scalar"), gates.draw("scalar"))


def test_the_start_is_the_scale_of_a_uniform_softmax():
    gates = StructuralGates((2, 14, 7))
    assert gates.means().unique().item() == pytest.approx(1 / 7)
    assert gates.log_sigma2.unique().item() == -6
    assert len(list(gates.parameters())) == 2
    fixed = StructuralGates((2, 14, 7), trainable=False)
    assert not list(fixed.parameters())
    assert set(fixed.state_dict()) == {"theta", "log_sigma2", "live"}


def test_dead_gates_are_zero_and_cost_nothing():
    """A dead operation is skipped: a gate, a gradient or a KL of it would be of something that is not there."""
    gates = StructuralGates((1, 2, 3))
    whole = gates.kl("ard").item()
    gates.live[0, 0] = False
    assert not gates.draw("example", 4)[:, 0, 0].any()
    assert gates.draw("example", 4)[:, 0, 1].all()
    assert not gates.means()[0, 0].any()
    assert not gates.variances()[0, 0].any()
    assert gates.kl("ard").item() == pytest.approx(whole / 2)
    assert gates.kl("ard").item() == pytest.approx(ard_kl(gates.log_alpha())[0, 1].sum().item())
    (gates.draw("scalar").sum() + gates.kl("sparse_vd")).backward()
    assert not gates.theta.grad[0, 0].any()
    assert not gates.log_sigma2.grad[0, 0].any()
    assert gates.theta.grad[0, 1].all()
    assert gates.log_sigma2.grad[0, 1].all()


def test_prunable():
    gates = StructuralGates((1, 1, 3), threshold=3.0)
    with torch.no_grad():
        gates.theta.copy_(torch.tensor([1.0, 0.01, 0.01]))
        gates.live[0, 0, 2] = False
    assert gates.prunable().tolist() == [[[False, True, False]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"shape": (0, 1, 1)}, "gates.types=0"), ({"log_sigma2": float("inf")}, "init_log_sigma2_z")],
)
def test_mistakes(options, message):
    with pytest.raises(UserError, match=message):
        StructuralGates(**{"shape": (1, 1, 1), **options})


def test_unknown_noise():
    with pytest.raises(UserError, match="did you mean 'scalar'"):
        StructuralGates((1, 1, 1)).draw("scaler")
