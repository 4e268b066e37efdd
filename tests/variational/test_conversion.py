"""Networks with variational layers and back, and that searches take them as they take the plain ones."""

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.graph.resize import check_resizable, resized
from src.networks.cell_network import CellNetwork
from src.networks.lenet import LeNet5, LeNet300100
from src.networks.resnet import resnet20
from src.runtime.build import network_from
from src.variational.conversion import deterministic, variational, variational_layers

CONFIG = {
    "_target_": "src.variational.conversion.variational",
    "model": {"_target_": "src.networks.resnet.ResNet", "blocks": [1, 1], "channels": [4, 8]},
    "init_log_sigma2": -3.0,
}


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return network_from(CONFIG)


def test_means_are_the_weights_of_the_model():
    """A copy that drew its weights anew would throw away pre-training; one that shared them would train the model."""
    model = resnet20()
    found = variational(model, init_log_sigma2=-40.0)
    layers = variational_layers(found)
    assert set(layers) == {n for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    state, own = found.state_dict(), model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in own.items())
    assert {name.rpartition(".")[2] for name in set(state) - set(own)} == {"log_sigma2", "kept"}
    assert state["stem.weight"].data_ptr() != own["stem.weight"].data_ptr()
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():  # vanishing variances: the deterministic network (T9)
        torch.testing.assert_close(found.eval()(images), model.eval()(images))
        torch.testing.assert_close(found.train()(images), model.train()(images), atol=0.02, rtol=0)


def test_deterministic_is_what_evaluation_computes(network):
    """Bit for bit, with plain layers, zeros where weights were removed, and biases and statistics as they are."""
    images = torch.randn(4, 3, 16, 16)
    network(images)
    network.eval()
    plain = deterministic(network)
    assert not variational_layers(plain)
    assert "log_sigma2" not in str(list(plain.state_dict()))
    assert torch.equal(plain(images), network(images))
    assert (plain.stem.weight == 0).sum() == (~network.stem.live()).sum() > 0
    assert not plain.training


def test_the_stem_may_stay_plain():
    layers = variational_layers(variational(resnet20(), stem=False))
    assert "stem" not in layers
    assert len(layers) == len(variational_layers(variational(resnet20()))) - 1


def test_a_layer_that_is_shared_stays_shared():
    """Two copies of one layer would be two posteriors."""
    layer = nn.Linear(3, 3)
    found = variational(nn.Sequential(layer, nn.ReLU(), layer))
    assert found[0] is found[2]
    assert len(variational_layers(found)) == 1
    assert isinstance(variational(layer), nn.Linear)
    assert variational(variational(layer)).log_sigma2.shape == (3, 3)


class Scaled(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * 2


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Sequential(Scaled(1, 1, 1)), {}, "0 is a Scaled, which cannot be made variational"),
        (nn.Sequential(nn.Conv1d(1, 1, 1)), {}, "0 is a Conv1d"),
        (nn.MultiheadAttention(4, 2), {}, "out_proj is a NonDynamicallyQuantizableLinear"),
        (nn.Linear(1, 1), {"threshold": "three"}, "model.threshold='three'"),
        (nn.Linear(1, 1), {"init_log_sigma2": None}, "model.init_log_sigma2=None"),
        (nn.Linear(1, 1), {"stem": "no"}, "model.stem='no'"),
    ],
)
def test_mistakes(model, options, message):
    """A layer that would silently stay deterministic is counted as dense, and nobody would know."""
    with pytest.raises(UserError, match=message):
        variational(model, **options)


NETWORKS = [
    (lambda: network_from(CONFIG["model"]), (3, 32, 32)),
    (lambda: CellNetwork("DARTS_V1", channels=4, layers=3), (3, 16, 16)),
    (LeNet5, (1, 28, 28)),
    (LeNet300100, (1, 28, 28)),
]


@pytest.mark.parametrize(("build", "shape"), NETWORKS, ids=["resnet", "cells", "lenet_5", "lenet_300_100"])
def test_widths_are_searched_as_in_the_plain_network(build, shape):
    """What a variational search has found is the input of the next one: variances and masks follow the weights."""
    plain, network = build(), variational(build())
    graph, own = channel_graph(plain, shape), channel_graph(network, shape)
    assert own.free
    assert own.widths() == graph.widths()
    assert cost_polynomial(own).macs(own.widths()) == cost_polynomial(graph).macs(graph.widths())
    check_resizable(network, own)
    wider = resized(network, {group.name: group.width + group.multiple for group in own.free}, shape, own)
    layers = variational_layers(wider)
    assert all(layer.log_sigma2.shape == layer.kept.shape == layer.weight.shape for layer in layers.values())
    assert all(layer.kept.all() and (layer.log_sigma2 == -10).all() for layer in layers.values())
    # what says how sure a layer is of its weights does not count: each candidate would look twice as large as it is
    assert cost_polynomial(own).params({group.name: group.width + group.multiple for group in own.free}) == sum(
        p.numel() for p in deterministic(wider).parameters()
    )
    wider(torch.randn(2, *shape)).sum().backward()


def test_frozen_masks_keep_their_widths(network):
    """The places of a mask belong to the weights that it was learnt with; other widths would draw it anew."""
    with torch.no_grad():
        network.layer1[0].conv1.log_sigma2[0] = 20.0
    assert channel_graph(network, (3, 16, 16)).free
    network.layer1[0].conv1.freeze()
    with pytest.warns(UserWarning, match="layer1.0.conv1.kept"):
        graph = channel_graph(network, (3, 16, 16))
    frozen = {group.name for group in graph.groups} - {group.name for group in graph.free}
    assert "layer1.0.conv1" in frozen
