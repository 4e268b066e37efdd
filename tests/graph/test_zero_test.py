"""Which blocks a network cannot do without, by running it. More networks: tests/benchmarks/lesions.py zeros."""

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.graph.vital_blocks import vital_blocks
from src.graph.zero_test import vital_by_zeros
from src.networks.resnet import ResNet
from tests.graph.vital_lists import TORCHVISION, built


@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0", "squeezenet1_0"])
def test_it_agrees_with_the_graph(name):
    """Two ways that share nothing must come to the same blocks, or one of them is wrong."""
    model = built("torchvision", name, "cpu")
    blocks = vital_blocks(model, (3, 48, 48), TORCHVISION[name][0]).blocks
    assert list(vital_by_zeros(model, (3, 48, 48), blocks)) == TORCHVISION[name][2]


class Scaled(nn.Module):
    """A block with a layer scale that begins near zero, attention, and a parameter that a function uses."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.scale = nn.Parameter(torch.full((4,), 1e-30))
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        return torch.tanh(self.attention(x, x, x)[0] @ self.weight) * self.scale


class Tokens(nn.Module):
    def __init__(self, shortcut: bool) -> None:
        super().__init__()
        self.patch, self.block, self.shortcut = nn.Conv2d(3, 4, 4, 4), Scaled(), shortcut
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.head((self.block(x) + x if self.shortcut else self.block(x)).mean(1))


@pytest.mark.parametrize("shortcut", [True, False])
def test_what_is_no_plain_layer_is_silenced_too(shortcut):
    """A small scale must not hide what passes it, and parameters of functions must not go on speaking."""
    torch.manual_seed(0)
    model = Tokens(shortcut)
    assert vital_by_zeros(model, (3, 8, 8), ["block"]) == vital_blocks(model, (3, 8, 8), ["block"]).vital
    assert vital_by_zeros(model, (3, 8, 8), ["block"]) == (() if shortcut else ("block",))
    assert model.block.scale.max() < 1e-20  # the model itself is as it was


def test_what_it_cannot_tell_is_an_error():
    """Equal outputs of a network that ignores its input say nothing of its blocks."""
    with pytest.raises(UserError, match=r"no module 'layer1.O'.*did you mean 'layer1.0'"):
        vital_by_zeros(ResNet([1], [2]), (3, 4, 4), ["layer1.O"])
    deaf = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Hardtanh(0, 1e-300), nn.Hardtanh(2, 3), nn.Flatten(), nn.Linear(32, 2))
    with pytest.raises(UserError, match="the same output"):
        vital_by_zeros(deaf, (3, 4, 4), ["0"])


def test_a_head_that_begins_at_zero_is_no_obstacle():
    fresh = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(32, 2))
    nn.init.zeros_(fresh[2].weight)
    assert vital_by_zeros(fresh, (3, 4, 4), ["0", "2"]) == ("0", "2")
