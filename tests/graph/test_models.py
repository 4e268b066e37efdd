"""The promise of the channel graph on the networks that people use: same network, same cost, any widths."""

import random

import pytest
import timm
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.graph.resize import resized
from src.networks import resnet
from tests.graph import networks

TORCHVISION = {
    "resnet18": 12,
    "resnet34": 20,
    "resnet50": 37,
    "resnext50_32x4d": 37,
    "mobilenet_v2": 25,
    "mobilenet_v3_small": 27,
    "mobilenet_v3_large": 30,
    "efficientnet_b0": 40,
    "mnasnet1_0": 25,
    "vgg11_bn": 10,
    "densenet121": 120,
    "squeezenet1_0": 25,
    "regnet_y_400mf": 53,
    "shufflenet_v2_x1_0": 21,
    "googlenet": 61,
    "convnext_tiny": 22,
}
TIMM = {"seresnet50": 53, "convnext_atto": 16, "nfnet_f0": 57, "hrnet_w18_small": 45, "tf_efficientnet_b0": 40}
CIFAR = {"resnet20": 12, "resnet32": 18, "resnet56": 30, "resnet18": 12, "resnet34": 20}
SMALL = {"Gate": 2, "AddConcat": 2, "HardCoded": 1, "Unknown": 2, "Twice": 1, "Odds": 3, "PlainTensor": 1}
CASES = [
    *[("torchvision", name, free, (3, 96, 96)) for name, free in TORCHVISION.items()],
    *[("timm", name, free, (3, 64, 64)) for name, free in TIMM.items()],
    *[("cifar", name, free, (3, 32, 32)) for name, free in CIFAR.items()],
    *[("small", name, free, (3, 4, 4)) for name, free in SMALL.items()],
]


def build(family: str, name: str) -> torch.nn.Module:
    if family == "torchvision":
        options = {"init_weights": False} if name == "googlenet" else {}
        return torchvision.models.get_model(name, weights=None, **options)
    if family == "timm":
        return timm.create_model(name)
    return getattr(resnet if family == "cifar" else networks, name)()


def counted_macs(model: torch.nn.Module, shape: tuple) -> int:
    """An independent count: torch's own counter, halved."""
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


@pytest.mark.filterwarnings("ignore:the widths around")
@pytest.mark.parametrize(("family", "name", "free", "shape"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
def test_same_network_same_cost_any_widths(family, name, free, shape):
    """Without it a search would compare networks that are not what their widths say, at costs that are wrong."""
    torch.manual_seed(0)
    model = build(family, name)
    graph = channel_graph(model, shape)
    polynomial = cost_polynomial(graph)
    assert len(graph.free) == free  # fewer: something froze that did not before

    today = graph.widths()
    same = resized(model, today, shape, graph).eval()
    x = torch.randn(2, *shape)
    with torch.no_grad():
        assert torch.equal(same(x), model.eval()(x))
    assert int(polynomial.macs(today)) == counted_macs(model, shape)
    assert int(polynomial.params(today)) == sum(p.numel() for p in model.parameters())

    draw = random.Random(0)
    # at one channel a group a grouped convolution would have become a depthwise one, which ties both its sides
    least = {g.name: 1 if g.multiple == 1 else 2 for g in graph.free}
    widths = {
        g.name: g.multiple * draw.randint(least[g.name], max(2, round(0.8 * g.width / g.multiple))) for g in graph.free
    }
    other = resized(model, widths, shape, graph)
    assert int(polynomial.macs(widths)) == counted_macs(other, shape)
    assert int(polynomial.params(widths)) == sum(p.numel() for p in other.parameters())
    outputs = other.train()(x)
    sum(out.sum() for out in (outputs if isinstance(outputs, tuple) else [outputs])).backward()
    assert all(p.grad is not None for p in other.parameters() if p.requires_grad)
    again = channel_graph(other.eval(), shape)
    assert again.widths() == widths  # its attributes say what its tensors are
