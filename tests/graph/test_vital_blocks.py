"""Which blocks a network cannot do without, by its graph."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from src.errors import UserError
from src.graph.vital_blocks import vital_blocks
from tests.graph.vital_lists import CASES, TORCHVISION, blocks_of, built


@pytest.mark.parametrize(
    ("family", "name", "classes", "count", "vital"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)
def test_the_vital_blocks_of_known_networks(family, name, classes, count, vital):
    """The lists that are known: a search would begin with the wrong blocks otherwise."""
    model = built(family, name)
    found = vital_blocks(model, (3, 64, 64) if name != "vit_b_16" else (3, 224, 224), blocks_of(model, classes))
    assert len(found.blocks) == count
    assert list(found.vital) == (list(found.blocks) if vital is None else vital)
    last = list(model.named_parameters())[-1][0].rpartition(".")[0]
    assert found.ops[-1] == last  # the classifier is on every path, and in no block


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "shufflenet_v2_x1_0", "googlenet", "convnext_tiny"])
def test_blocks_are_discovered_without_a_list_of_classes(name):
    """Of a network that nobody has prepared, the same blocks have to be found."""
    _, count, vital = TORCHVISION[name]
    found = vital_blocks(built("torchvision", name), (3, 64, 64))
    assert (len(found.blocks), list(found.vital)) == (count, vital)


def test_inverted_residuals_without_a_shortcut_are_the_vital_ones():
    """The rule of mobile networks, which the graph has to come to by itself: another stride or other channels."""
    model = built("torchvision", "mobilenet_v2")
    found = vital_blocks(model, (3, 64, 64))
    assert found.flags == tuple(not model.get_submodule(block).use_res_connect for block in found.blocks)


class Residual(nn.Module):
    """relu(F(x) + shortcut(x)) with a shortcut of one's choice."""

    def __init__(self, into: int, out: int, shortcut, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 3, stride, 1)
        self.shortcut = shortcut

    def forward(self, x):
        return (self.conv(x) + self.shortcut(x)).relu()


class Pad(nn.Module):
    """Option A: every second pixel, and channels of zeros."""

    def forward(self, x):
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))


class PadByJoining(nn.Module):
    def forward(self, x):
        x = functional.avg_pool2d(x, 2)
        return torch.cat([x, torch.zeros_like(x)], 1)


def chain(*blocks: nn.Module, into: int = 4) -> nn.Module:
    stem = nn.Conv2d(3, into, 1)
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(2, device="cpu"))


def of_chain(*blocks: nn.Module, **options):
    model = chain(*blocks)
    model(torch.zeros(1, 3, 8, 8))  # the lazy classifier
    return vital_blocks(model, (3, 8, 8), [str(i + 1) for i in range(len(blocks))], **options)


@pytest.mark.parametrize("shortcut", [Pad, PadByJoining])
def test_option_a_is_a_route_or_not_as_asked(shortcut):
    """The criterion decides what the down-sampling blocks of a CIFAR ResNet are."""
    blocks = [Residual(4, 4, nn.Identity()), Residual(4, 8, shortcut(), stride=2), Residual(8, 8, nn.Dropout(0.5))]
    assert of_chain(*blocks).vital == ()
    assert of_chain(*blocks, parameter_free_shortcuts=False).vital == ("2",)


@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0", "densenet121", "mobilenet_v2"])
def test_splits_and_joins_that_keep_all_values_stay_routes(name):
    """With identities only, a shuffled or concatenated input is still handed on whole."""
    model = built("torchvision", name)
    both = [vital_blocks(model, (3, 64, 64), parameter_free_shortcuts=allowed).vital for allowed in (True, False)]
    assert both[0] == both[1]


class Functional(nn.Module):
    """Parameters that are used by functions, a size that reaches the output, a constant like the input."""

    def __init__(self, shortcut: bool) -> None:
        super().__init__()
        self.weight, self.position = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4))
        self.shortcut = shortcut

    def forward(self, x):
        x = x + self.position.view(1, -1, 1, 1)  # an addition stays
        y = torch.einsum("bchw,dc->bdhw", x, self.weight)
        y = y.view(x.shape[0], -1, x.shape[2], x.shape[3]) + torch.zeros_like(x)
        return y.expand_as(x) + x if self.shortcut else y.expand_as(x)


def test_parameters_in_functions_are_ops_and_sizes_are_no_routes():
    """A module that calls functions would look as if it had no parameters, or as if its input went around it."""
    assert of_chain(Functional(False), Functional(True)).vital == ("1",)


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return x * self.conv(x).sigmoid()


class Own(nn.Module):
    """A forward of one's own that adds and gates by itself, no module around its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.c = (nn.Conv2d(i, 4, 1) for i in (3, 4, 4, 4))
        self.gate, self.act = Gate(), nn.PReLU()

    def forward(self, x):
        x = self.act(self.stem(x))
        x = x + self.a(x)
        x = torch.cat([self.b(x), self.c(x)], 1)
        return self.gate(x[:, :4])


def test_regions_of_a_forward_of_its_own():
    """Without modules around them the branches still make blocks; gates and activations make none."""
    found = vital_blocks(Own(), (3, 4, 4))
    assert found.blocks == ("a..add", "b..cat")
    assert (found.vital, found.flags) == (("b..cat",), (False, True))
    assert found.ops == ("stem",)  # the learned slope of an activation cuts nothing


def test_a_plain_network_has_no_blocks_and_everything_is_vital():
    """Nothing may be called non-vital where there is only one path."""
    found = vital_blocks(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)), (3, 4, 4))
    assert (found.blocks, found.vital, found.ops) == ((), (), ("0", "3"))


class Around(nn.Module):
    """A shortcut of the model's own around blocks that have shortcuts too, and one more block behind."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(3, 3, nn.Identity()) for _ in range(3))

    def forward(self, x):
        return self.blocks[2](self.blocks[1](self.blocks[0](x)) + x)


def test_discovered_blocks_do_not_hold_one_another():
    """An op that belongs to two blocks would be counted twice."""
    found = vital_blocks(Around(), (3, 4, 4))
    assert found.blocks == ("blocks_0_conv..add_2", "blocks.2")
    assert not found.vital


class Deaf(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("model", "blocks", "message"),
    [
        (lambda: chain(Gate()), ["1.convv"], "no block '1.convv'.*did you mean '1.conv'"),
        (lambda: chain(Gate()), ["Gatte"], "no block 'Gatte'.*did you mean 'Gate'"),
        (lambda: chain(Gate()), ["1", "1.conv"], "'1.conv' lies within block '1'"),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 1), Deaf()), None, "does not depend on its input"),
        (lambda: nn.Sequential(Branching(), nn.Conv2d(3, 2, 1)), None, "cannot be traced"),
    ],
)
def test_what_cannot_be_answered_is_said(model, blocks, message):
    """A wrong name would give an answer about nothing."""
    model = model()
    if blocks:
        model(torch.zeros(1, 3, 8, 8))
    with pytest.raises(UserError, match=message):
        vital_blocks(model, (3, 8, 8), blocks)
