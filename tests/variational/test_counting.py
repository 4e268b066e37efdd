"""How many parameters a variational network leaves."""

import torch
from torch import nn

from src.variational.conversion import deterministic, variational
from src.variational.counting import layer_sparsity, nonzero_parameters


def network() -> nn.Module:
    plain = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    with torch.no_grad():
        plain[0].weight.fill_(1.0)
        plain[3].weight.fill_(1.0)
        plain[0].bias.fill_(1.0)
        plain[3].bias.copy_(torch.tensor([0.0, 1.0]))
        plain[1].weight[0] = 0.0
    found = variational(plain)
    with torch.no_grad():
        found[0].log_sigma2.flatten()[:10] = 4.0  # removed by their noise
        found[3].weight[0, :5] = 0.0  # gone by their means
    return found


def test_counts():
    """By hand: 54 - 10 and 24 - 5 weights; 3 and 1 biases; scales and shifts of the norm that are not 0: 2 and 0."""
    found = network()
    assert nonzero_parameters(found) == 44 + 19 + 3 + 1 + 2
    assert layer_sparsity(found) == [("0", 54, 44), ("3", 24, 19)]
    assert nonzero_parameters(deterministic(found)) == nonzero_parameters(found)
    assert layer_sparsity(deterministic(found)) == layer_sparsity(found)


def test_shared_parameters_count_once():
    layer = nn.Linear(2, 2)
    tied = nn.Linear(2, 2)
    tied.weight = layer.weight
    assert nonzero_parameters(variational(nn.Sequential(layer, layer, tied))) == 4 + 2 + 2
