"""What the final table says of a network's probabilities."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from src.tasks.calibration import BINS, predictive_entropies
from src.tasks.classification import Classification


def measured(outputs, targets, classes=10):
    metrics = Classification(classes).test_metrics()
    for part in (slice(0, 50), slice(50, None)):
        metrics.update(outputs[part], targets[part])
    return {name: float(value) for name, value in metrics.compute().items()}


def test_nll_entropy_and_calibration_over_batches_of_unequal_size():
    """A mean of the batches' means, bins of equal counts or another base of the logarithm would be wrong figures."""
    generator = torch.Generator().manual_seed(0)
    outputs, targets = 2 * torch.randn(64, 10, generator=generator), torch.randint(10, (64,), generator=generator)
    found = measured(outputs, targets)
    assert found["nll"] == pytest.approx(float(cross_entropy(outputs, targets)), rel=1e-5)
    distributions = torch.distributions.Categorical(logits=outputs)
    assert found["entropy"] == pytest.approx(float(distributions.entropy().mean()), rel=1e-5)
    confidence, predicted = outputs.softmax(1).max(1)
    bins = (confidence * BINS).ceil()
    gaps = [
        float((bins == b).float().mean() * (confidence - (predicted == targets).float())[bins == b].mean().abs())
        for b in bins.unique()
    ]
    assert found["ece"] == pytest.approx(100 * sum(gaps), rel=1e-4)
    assert found["error"] == pytest.approx(float((predicted != targets).float().mean() * 100))


def test_probabilities_of_nought_and_one_and_a_network_that_gives_nan():
    sure = torch.tensor([[200.0, 0.0, 0.0]] * 60)
    found = measured(sure, torch.zeros(60, dtype=torch.long), 3)
    assert (found["entropy"], found["ece"], found["nll"]) == (0.0, 0.0, 0.0)
    assert predictive_entropies(torch.zeros(1, 3)).item() == pytest.approx(math.log(3))
    found = measured(sure * math.nan, torch.zeros(60, dtype=torch.long), 3)
    assert found["error"] == 100
    assert math.isnan(found["nll"])


def test_validation_measures_no_more_than_it_did():
    assert set(Classification(10).metrics()) == {"error"}
