"""Resized weights follow the model's own initialisation."""

import pytest
import torch
import torchvision
from torch import nn

from src.graph.channel_graph import channel_graph
from src.graph.initialise import fan_modes, redrawn
from src.graph.resize import resized
from src.networks.resnet import resnet20


@pytest.mark.parametrize(
    ("build", "conv"),
    [
        (lambda: resnet20(init="he"), "out"),
        (lambda: resnet20(), "in"),
        (lambda: torchvision.models.densenet121(), "in"),
        (lambda: torchvision.models.convnext_tiny(), "none"),
    ],
)
def test_the_rule_of_an_initialisation_is_read_off_the_weights(build, conv):
    torch.manual_seed(0)
    assert fan_modes(build())[nn.modules.conv._ConvNd] == conv


@pytest.mark.parametrize("name", ["mobilenet_v2", "mnasnet0_5"])
def test_a_resized_network_starts_like_the_constructor_at_those_widths(name):
    """If it did not, found and base network would be compared across initialisations."""
    torch.manual_seed(0)
    if name == "mobilenet_v2":
        large, small = torchvision.models.mobilenet_v2(), torchvision.models.mobilenet_v2(width_mult=0.5)
    else:
        large, small = torchvision.models.mnasnet1_0(), torchvision.models.mnasnet0_5()
    widths = channel_graph(small, (3, 64, 64)).widths()
    made = resized(large, widths, (3, 64, 64))
    for (key, got), (_, wanted) in zip(made.named_parameters(), small.named_parameters(), strict=True):
        assert got.shape == wanted.shape
        if wanted.std(correction=0) == 0:
            assert torch.equal(got, wanted), key
        elif wanted.numel() > 2000:
            assert float(got.detach().std() / wanted.detach().std()) == pytest.approx(1, abs=0.1), key


def test_distributions_are_kept():
    torch.manual_seed(0)
    uniform = redrawn(torch.empty(100, 100).uniform_(-0.2, 0.2), (50, 60))
    assert uniform.abs().max() <= 0.21
    normal = redrawn(torch.randn(100, 100) * 0.3 + 1, (80, 70), scale=2.0)
    assert float(normal.std()) == pytest.approx(0.6, abs=0.03)
    assert float(normal.mean()) == pytest.approx(1.0, abs=0.03)
    assert torch.equal(redrawn(torch.ones(4), (7,)), torch.ones(7))
    assert torch.equal(redrawn(torch.zeros(4, dtype=torch.int64), (2,)), torch.zeros(2, dtype=torch.int64))
