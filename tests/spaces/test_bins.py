"""The rules that cut widths into bins, on the figures of the specification and by brute force."""

import math

import pytest
import torch
import torchvision
from torch import nn

from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.graph.resize import resized
from src.networks.resnet import resnet20
from src.spaces.bins import (
    BinRule,
    dividing_bin,
    edges,
    pow2_bins,
    sensitivities,
    share_bins,
    share_for_total,
    uniform_edges,
)
from tests.spaces.mobilenet import mobilenet_v2_cifar

# full MACs, sum of n s and MACs of the layers that are linear in one width: the exact integers of the specification
MACS = {
    "mobilenet_v2": (300_774_272, 568_714_112, 32_834_432),
    "resnet50": (4_089_184_256, 8_058_306_560, 120_061_952),
}
LARGE = ("mobilenet_v2", "mobilenet_v2_cifar", "resnet50", "efficientnet_b0", "resnext50_32x4d")


class Known:
    """A network's costs at full width."""

    def __init__(self, model: nn.Module, shape: tuple[int, int, int]) -> None:
        self.model, self.shape = model, shape
        self.graph = channel_graph(model, shape)
        self.costs = cost_polynomial(self.graph)
        self.full = self.costs.vector(self.graph.widths())[0].to(torch.int64)
        self.multiples = self.costs.vector({group.name: group.multiple for group in self.graph.free})[0].to(torch.int64)
        self.sizes = self.full // self.multiples
        self.macs = int(self.costs.macs(self.full))
        self.saved = sensitivities(self.costs, self.full, self.multiples)

    def edges(self, **options) -> list[tuple[int, ...]]:
        return BinRule(**options).edges(self.costs.names, self.saved, self.sizes, self.multiples, self.macs)


@pytest.fixture(scope="module")
def nets() -> dict[str, Known]:
    large = ("mobilenet_v2", "resnet50", "efficientnet_b0", "resnext50_32x4d")
    known = {name: Known(torchvision.models.get_model(name), (3, 224, 224)) for name in large}
    cifar = {"resnet20": resnet20(), "mobilenet_v2_cifar": mobilenet_v2_cifar()}
    return known | {name: Known(model, (3, 32, 32)) for name, model in cifar.items()}


def macs_by_layer(model: nn.Module, shape: tuple[int, int, int]) -> dict[nn.Module, int]:
    """MACs of each convolution and linear layer, counted where it runs."""
    found, hooks = {}, []

    def count(module, inputs, output):
        places = output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        found[module] = places * module.weight.numel()

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            hooks.append(module.register_forward_hook(count))
    with torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("name", MACS)
def test_what_single_channels_cost_sums_to_the_published_integers(nets, name):
    """MACs are bilinear: the sensitivities sum to twice the whole but for what is linear in a single width."""
    net, (macs, saved, linear) = nets[name], MACS[name]
    counted = macs_by_layer(net.model, net.shape)
    single = [m for m in counted if isinstance(m, nn.Linear) or m.in_channels == 3 or m.groups > 1]
    assert net.macs == sum(counted.values()) == macs
    assert sum(counted[m] for m in single) == linear
    assert int((net.full * net.saved).sum()) == saved
    assert saved + linear == 2 * macs


@pytest.mark.parametrize("name", ["resnet20", "efficientnet_b0", "resnext50_32x4d"])
def test_a_sensitivity_is_what_the_network_costs_less_with_one_unit_less(nets, name):
    """Depthwise, shortcut, grouped, squeeze-and-excitation: each by building and counting the narrower network."""
    net = nets[name]
    for g, group in list(enumerate(net.graph.free))[::7]:
        narrow = resized(net.model, {group.name: group.width - group.multiple}, net.shape, net.graph)
        assert net.macs - sum(macs_by_layer(narrow, net.shape).values()) == int(net.saved[g])


@pytest.mark.parametrize(("name", "bins"), [("mobilenet_v2", 416), ("mobilenet_v2_cifar", 475), ("resnet50", 1760)])
def test_the_power_of_two_rule_gives_the_bins_of_the_specification(nets, name, bins):
    cut = nets[name].edges(min_bin=1, max_bin=32, min_bins_per_group=1)
    assert sum(map(len, cut)) == bins


def test_mobilenet_on_cifar_is_the_one_of_the_specification(nets):
    assert round(nets["mobilenet_v2_cifar"].macs / 1e6, 1) == 296.5


@pytest.mark.parametrize("name", LARGE)
def test_a_bin_that_is_not_clipped_costs_less_than_twice_the_dearest_unit(nets, name):
    saved = nets[name].saved
    bins = pow2_bins(saved, torch.tensor(1), torch.tensor(2**40))
    assert bool((saved.max() <= bins * saved).all())
    assert bool((bins * saved < 2 * saved.max()).all())
    assert bins.tolist() == [2 ** math.ceil(math.log2(int(saved.max()) / s)) for s in saved.tolist()]


def test_the_power_of_two_is_right_where_logarithms_round():
    """M / s of exactly a power of two, and next to one: a float logarithm may fall on either side."""
    top = 2**50
    saved = torch.tensor([top, top - 1, top // 2 + 1, top // 2, top // 2 - 1, 1])
    assert pow2_bins(saved, torch.tensor(1), torch.tensor(2**60)).tolist() == [1, 2, 2, 2, 4, 2**50]


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize(
    "options",
    [
        {"bin_rule": "pow2", "min_bin": 4, "max_bin": 64},
        {"bin_rule": "pow2", "max_bin": 4096, "min_bins_per_group": 4},
        {"bin_rule": "share"},
        {"bin_rule": "share", "total_bins": 300},
        {"bin_rule": "uniform", "bins_per_group": 10},
        {"bin_rule": "uniform", "total_bins": 300},
    ],
)
def test_bins_cover_every_channel_once_and_are_never_fewer_than_asked(nets, name, options):
    cut = nets[name].edges(**options)
    least = options.get("min_bins_per_group", 2)
    for own, size in zip(cut, nets[name].sizes.tolist(), strict=True):
        assert own[-1] == size
        assert list(own) == sorted(set(own))
        assert own[0] >= 1
        assert len(own) >= min(least, size)


def test_equal_bins_are_as_equal_as_can_be():
    """One rounding for all: ratios that training rounds up and search cuts off give widths that were never trained."""
    for size in range(1, 70):
        for count in (1, 7, 10, 20):
            cut = uniform_edges(size, count)
            sizes = [b - a for a, b in zip((0, *cut), cut, strict=False)]
            assert len(cut) == min(size, count)
            assert min(sizes) >= 1
            assert max(sizes) - min(sizes) <= 1
    assert uniform_edges(16, 20) == tuple(range(1, 17))


def test_the_last_bin_is_short_unless_asked_otherwise(nets):
    """144 channels in bins of 32, of MobileNetV2 on CIFAR-10."""
    net = nets["mobilenet_v2_cifar"]
    place = net.costs.names.index("features.3.conv.0.0")
    assert net.edges()[place] == (32, 64, 96, 128, 144)
    assert net.edges(short_last_bin=False)[place] == (36, 72, 108, 144)
    assert edges(9, 3) == (3, 6, 9)


@pytest.mark.parametrize(("size", "given", "exact"), [(144, 32, 36), (40, 16, 20), (64, 16, 16), (48, 32, None)])
def test_the_correction_of_the_leftover_code(size, given, exact):
    assert dividing_bin(size, given) == exact


def test_bins_that_cannot_be_made_to_divide_name_their_group():
    groups = torch.tensor([32, 1]), torch.tensor([4, 92]), torch.tensor([1, 1])
    with pytest.raises(UserError, match="bins of 32 do not divide the 92 units of width group 'late'"):
        BinRule(short_last_bin=False).edges(("early", "late"), *groups, 1000)


def test_bins_of_a_share_divide_the_width_and_cost_about_that(nets):
    net = nets["mobilenet_v2"]
    for own, size, saved in zip(net.edges(bin_rule="share"), net.sizes.tolist(), net.saved.tolist(), strict=True):
        assert size % own[0] == 0
        divisors = [d for d in range(1, size // 2 + 1) if size % d == 0]
        ratios = {d: abs(math.log(d * saved / net.macs * 400)) for d in divisors}
        assert ratios[own[0]] == min(ratios.values())
    assert share_bins([1], [12], 12, 0.2, [1], [6]) == [2]  # 2.4 is nearer to 2 than to 3
    assert share_bins([1], [14], 14, 0.2, [3], [6]) == [2]  # no divisor from 3 to 6


def test_a_total_of_bins_is_met_as_near_as_shares_can(nets):
    """Found by bisection; here against every share at which a bin changes."""
    net = nets["mobilenet_v2"]
    saved, sizes = net.saved.tolist(), net.sizes.tolist()
    low, high = [1] * len(sizes), [size // 2 for size in sizes]

    def total(share: float) -> int:
        bins = share_bins(saved, sizes, net.macs, share, low, high)
        return sum(size // b for size, b in zip(sizes, bins, strict=True))

    every = [total(10 ** (power / 500)) for power in range(-2500, 1)]
    for wanted in (60, 111, 300, 777, 5000):
        best = min(abs(count - wanted) for count in every)
        assert abs(total(share_for_total(saved, sizes, net.macs, wanted, low, high)) - wanted) <= best


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0"])
def test_equal_bins_may_be_asked_for_in_all(nets, name):
    """Rules are compared at equal numbers of bins."""
    total = sum(map(len, nets[name].edges(bin_rule="uniform", total_bins=480)))
    assert abs(total - 480) <= len(nets[name].sizes)


def test_a_group_of_a_large_multiple_has_bins_of_it(nets):
    """Of ResNeXt a unit is 32 channels: bins are bounded in channels, and no bin is less than a unit."""
    net = nets["resnext50_32x4d"]
    cut = dict(zip(net.costs.names, net.edges(min_bin=4, max_bin=64), strict=True))
    assert cut["layer1.0.conv2"] == (1, 2, 3, 4)  # 128 channels in bins of 32
    large = [own for own, m in zip(cut.values(), net.multiples.tolist(), strict=True) if m == 32]
    assert max(b - a for own in large for a, b in zip((0, *own), own, strict=False)) <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bin_rule": "pow"}, "method.bin_rule='pow' is not known; did you mean 'pow2'"),
        ({"min_bin": 0}, "method.min_bin=0"),
        ({"min_bin": 64}, "method.max_bin=32 is not allowed; it must be a whole number of at least 64"),
        ({"short_last_bin": "no"}, "method.short_last_bin='no'"),
        ({"share": 0}, "method.share=0"),
        ({"bins_per_group": 1}, "method.bins_per_group=1 is not allowed; it must be a whole number of at least 2"),
        ({"min_bins_per_group": 0}, "method.min_bins_per_group=0"),
        ({"total_bins": 300}, "method.total_bins=300 is not allowed with method.bin_rule=pow2"),
        ({"bin_rule": "share", "total_bins": 300, "share": 0.1}, "both give the bins"),
    ],
)
def test_its_arguments_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        BinRule(**options)


def test_an_impossible_total_names_what_is_possible(nets):
    with pytest.raises(UserError, match=r"method.total_bins=10 is not allowed; the 25 width groups .* from 50 to 9128"):
        nets["mobilenet_v2"].edges(bin_rule="share", total_bins=10)
