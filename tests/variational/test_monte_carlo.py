"""Prediction by the mean over drawn networks."""

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.variational.conversion import variational
from src.variational.monte_carlo import MonteCarlo


def network(log_sigma2: float = -4.0) -> nn.Module:
    torch.manual_seed(0)
    return variational(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)), log_sigma2)


@pytest.mark.parametrize("noise", ["weights", "local"])
def test_it_is_the_mean_of_softmaxes(noise):
    """The mean of logits, or of log-probabilities, would be another prediction, and no probability."""
    model, images = network(), torch.randn(5, 1, 4, 4)
    predicting = MonteCarlo(model, samples=4, noise=noise)
    torch.manual_seed(1)
    found = predicting(images)
    torch.manual_seed(1)
    single = MonteCarlo(model, samples=1, noise=noise)
    expected = torch.stack([single(images).exp() for _ in range(4)]).mean(0)
    torch.testing.assert_close(found.exp(), expected)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(5))
    assert not torch.equal(predicting(images), predicting(images))
    assert all(layer.sampled is None for layer in (model[0], model[3])), "the network itself is left alone"


def test_it_stays_in_evaluation_mode():
    predicting = MonteCarlo(network(), samples=2).train()
    assert not any(module.training for module in predicting.modules())


def test_without_variance_it_is_the_network():
    model, images = network(-60.0).eval(), torch.randn(5, 1, 4, 4)
    found = MonteCarlo(model, samples=3)(images)
    torch.testing.assert_close(found, model(images).log_softmax(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "eval_samples=0"),
        ({"noise": "lrt"}, "eval_noise='lrt'"),
        ({"network": nn.Linear(2, 2)}, "Linear has no variational layers"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(UserError, match=message):
        MonteCarlo(**{"network": network(), **options})
