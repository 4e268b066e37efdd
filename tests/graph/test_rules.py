"""Uses of ops that a rule could get wrong without a word: what stays free must run and be counted at other widths."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.graph.resize import check_resizable, resized

SHAPE = (3, 4, 4)


class Net(nn.Module):
    """Two convolutions of 16 channels, whatever is put between them and the classifier, and its forward."""

    def __init__(self, body, out: int = 16, **modules) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 1)
        self.fc = nn.Linear(out, 5)
        self.body = body
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.fc(self.body(self, self.a(x)).mean((2, 3)))


class CoordConv(nn.Conv2d):
    def forward(self, x):
        return super().forward(torch.cat([x, x.mean(1, keepdim=True)], 1))


class MaskedConv(nn.Conv2d):
    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.register_buffer("mask", (torch.rand_like(self.weight) > 0.5).float())

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias)


class LowRank(nn.Conv2d):
    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.down, self.up = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias) + self.up(self.down(x))


def blur() -> nn.Conv2d:
    layer = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0])).expand_as(layer.weight) / 16)
    return layer


def tied(net: Net) -> Net:
    net.c.weight = net.b.weight
    return net


NETS = {
    "group norm without vectors": lambda: Net(lambda s, y: s.b(s.n(y)), n=nn.GroupNorm(16, 16, affine=False)),
    "layer norm without vectors": lambda: Net(
        lambda s, y: s.n(s.b(y).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), n=nn.LayerNorm(16, elementwise_affine=False)
    ),
    "addition by keyword": lambda: Net(lambda s, y: torch.add(y, other=s.b(y))),
    "call by keyword": lambda: Net(lambda s, y: s.b(input=y)),
    "concatenation along axis": lambda: Net(lambda s, y: torch.cat([y, s.b(y)], axis=1), out=32),
    "a power of two": lambda: Net(lambda s, y: s.b(2**y)),
    "a power with a parameter": lambda: Net(lambda s, y: s.b(y.abs().pow(s.p)), p=nn.Parameter(torch.ones(16, 1, 1))),
    "a slice of chunks": lambda: Net(lambda s, y: s.c(torch.cat(y.chunk(4, 1)[1:], 1)), c=nn.Conv2d(12, 16, 1)),
    "expand as": lambda: Net(lambda s, y: y.mean((2, 3), keepdim=True).expand_as(s.b(y)) + y),
    "expand to numbers": lambda: Net(lambda s, y: s.b(y.mean((2, 3), keepdim=True).expand([-1, 16, 4, 4]))),
    "a norm": lambda: Net(lambda s, y: s.b(y / y.norm(2, 1, True))),
    "maxout": lambda: Net(lambda s, y: s.b(torch.cat([y, y], 1).view(y.size(0), 2, -1, y.size(2), y.size(3)).amax(1))),
    "squeeze of two dimensions": lambda: Net(lambda s, y: s.b(y.mean((2, 3), True)).squeeze((2, 3))[:, :, None, None]),
    "a convolution that adds a channel": lambda: Net(lambda s, y: s.c(y), c=CoordConv(17, 16, 1)),
    "a masked convolution": lambda: Net(lambda s, y: s.b(s.c(y)), c=MaskedConv(16, 16, 1)),
    "a low-rank update": lambda: Net(lambda s, y: s.b(s.c(y)), c=LowRank(16, 16, 1)),
    "a fixed kernel": lambda: Net(lambda s, y: s.b(s.blur(y)), blur=blur()),
    "shared weights": lambda: tied(Net(lambda s, y: s.c(s.b(y)), c=nn.Conv2d(16, 16, 1))),
    "weight norm": lambda: Net(lambda s, y: s.b(s.c(y)), c=parametrizations.weight_norm(nn.Conv2d(16, 16, 1))),
    "a weight of its own": lambda: Net(lambda s, y: F.conv2d(s.b(y), s.w), w=nn.Parameter(torch.randn(16, 16, 1, 1))),
    "crops folded into the batch": lambda: Net(
        lambda s, y: s.b(y.unsqueeze(1).expand(-1, 4, -1, -1, -1).flatten(0, 1))
    ),
    "group norm over a concatenation": lambda: Net(
        lambda s, y: s.n(torch.cat([y, s.b(y)], 1)), out=32, n=nn.GroupNorm(8, 32)
    ),
}


def counted(model: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, *SHAPE))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", NETS)
def test_what_is_free_runs_and_is_counted_at_other_widths(name):
    """A rule that is wrong here breaks a search in its second trial, or lies about MACs."""
    model = NETS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = channel_graph(model, SHAPE)
    costs = cost_polynomial(graph)
    x = torch.randn(2, *SHAPE)
    assert torch.equal(resized(model, {}, SHAPE, graph).eval()(x), model.eval()(x))
    assert int(costs.macs(graph.widths())) == counted(model)
    check_resizable(model, graph)
    other = {group.name: group.width + 2 * group.multiple for group in graph.free}
    changed = resized(model, other, SHAPE, graph)
    assert changed(x).isfinite().all()
    assert int(costs.macs(other)) == counted(changed)
    assert int(costs.params(other)) == sum(p.numel() for p in changed.parameters())


def test_a_network_without_a_free_width_has_costs():
    """Training such a network ended in an error after the training."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    graph = channel_graph(model, SHAPE)
    assert graph.free == []
    assert int(cost_polynomial(graph).macs({})) == 48 * 5


def test_statistics_of_a_resized_norm_start_anew():
    """Redrawn like weights, half of the variances of a trained network would be negative."""
    layers = [nn.Conv2d(3, 64, 1), nn.BatchNorm2d(64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5)]
    model = nn.Sequential(*layers)
    model[1].running_var.uniform_(0, 3)
    norm = resized(model, {"0": 60}, SHAPE)[1]
    assert torch.equal(norm.running_var, torch.ones(60))
    assert torch.equal(norm.running_mean, torch.zeros(60))
