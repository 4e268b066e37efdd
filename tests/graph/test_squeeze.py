"""Which channels are those of squeeze-and-excitation."""

import pytest
import timm
import torchvision
from torch import nn

from src.graph.channel_graph import channel_graph
from src.graph.squeeze import squeezed_groups
from src.networks.resnet import resnet20


@pytest.mark.parametrize("size", [32, 64])  # at 32 the last stage has one position, as a squeeze has
@pytest.mark.parametrize(
    ("name", "squeezes"),
    [("efficientnet_b0", 16), ("mobilenet_v3_small", 9), ("mobilenet_v2", 0), ("resnet50", 0), ("vgg11_bn", 0)],
)
def test_of_networks_that_people_use(name, squeezes, size):
    """A classifier's hidden layer (vgg, mobilenet_v3) is no squeeze, nor is a stage that has shrunk to one position."""
    model = torchvision.models.get_model(name)
    found = squeezed_groups(channel_graph(model, (3, size, size)), model)
    assert found == {layer for layer, _ in model.named_modules() if layer.endswith("fc1")}
    assert len(found) == squeezes


def test_of_a_residual_network_of_ours():
    model = resnet20()
    assert squeezed_groups(channel_graph(model, (3, 32, 32)), model) == set()


def test_of_another_library():
    """It writes the pooling as a mean of the tensor."""
    model = timm.create_model("seresnet50")
    found = squeezed_groups(channel_graph(model, (3, 64, 64)), model)
    assert found == {layer for layer, _ in model.named_modules() if layer.endswith("se.fc1")}
    assert len(found) == 16


def test_of_linear_layers():
    """Found by what it does, not by a name or kind."""

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.down, self.up = nn.Conv2d(3, 8, 1), nn.Linear(8, 2), nn.Linear(2, 8)
            self.hidden, self.fc = nn.Linear(8, 6), nn.Linear(6, 5)

        def forward(self, x):
            x = self.conv(x)
            gate = self.up(self.down(x.mean((2, 3))).relu()).sigmoid()
            return self.fc(self.hidden((x * gate[:, :, None, None]).mean((2, 3))).relu())

    assert squeezed_groups(channel_graph(Gated(), (3, 4, 4)), Gated()) == {"down"}
