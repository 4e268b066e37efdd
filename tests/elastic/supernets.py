"""Networks with elastic widths for tests, choices of their channels, and what they mean, told without the super-net."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.ops import StochasticDepth

from src.elastic.index_sets import Choice, IndexSet
from src.elastic.network import ElasticNetwork
from src.elastic.sharing import LocallyFreeSharing
from src.graph.channel_graph import ChannelGraph, channel_graph
from src.networks.cell_network import CellNetwork
from src.networks.resnet import ResNet
from src.spaces.bins import uniform_edges
from tests.graph.networks import Odds

SHAPES = {
    "efficientnet_b0": (3, 64, 64),
    "mobilenet_v2": (3, 64, 64),
    "cells": (3, 9, 9),
    "Odds": (3, 4, 4),
}  # the others: (3, 32, 32)
MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: ResNet([2, 1], [8, 12]),
    "mobilenet_v2": lambda: models.mobilenet_v2(num_classes=5),
    "efficientnet_b0": lambda: models.efficientnet_b0(num_classes=5),
    "resnext50_32x4d": lambda: models.resnet.ResNet(
        models.resnet.Bottleneck, [1, 1, 1, 1], 5, groups=32, width_per_group=4
    ),
    "regnet_y_400mf": lambda: models.regnet_y_400mf(num_classes=5),
    "densenet": lambda: models.DenseNet(8, (2, 2, 2), 16, num_classes=5),
    "cells": lambda: CellNetwork("DARTS_PLUS_CIFAR100", 8, 3, 5, reductions=[1]),
    # below: what a channel is depends on its place among the others, or on their sum
    "shufflenet": lambda: models.shufflenet_v2_x0_5(num_classes=5),
    "convnext": lambda: models.ConvNeXt(
        [models.convnext.CNBlockConfig(16, 32, 1), models.convnext.CNBlockConfig(32, None, 1)], num_classes=5
    ),
    "Odds": Odds,  # group and layer norm, transposed convolution
}
MASKED = ("resnet", "mobilenet_v2", "efficientnet_b0", "resnext50_32x4d", "regnet_y_400mf", "densenet", "cells")


def supernet(name: str, seed: int = 0) -> ElasticNetwork:
    """The network of that name, with statistics as of a trained one and nothing that drops at random."""
    torch.manual_seed(seed)
    model = MODELS[name]()
    for module in model.modules():
        if isinstance(module, (nn.Dropout, StochasticDepth)):
            module.p = 0.0  # a masked network would draw for more channels
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return ElasticNetwork(model, channel_graph(model, shape_of(name)))


def shape_of(name: str) -> tuple[int, int, int]:
    return SHAPES.get(name, (3, 32, 32))


def images_of(name: str, count: int = 8) -> Tensor:
    return torch.randn(count, *shape_of(name), generator=torch.Generator().manual_seed(7))


def wild(graph: ChannelGraph, seed: int = 0) -> Choice:
    """Any set of channels in each group, alike in the blocks of grouped convolutions."""
    generator, choice = torch.Generator().manual_seed(seed), {}
    for group in graph.free:
        units = group.width // group.multiple
        # at one channel a group a grouped convolution would be a depthwise one, at one in all that an ordinary one
        least = min(units, 2)
        count = int(torch.randint(least, units + 1, (), generator=generator))
        kept = torch.randperm(units, generator=generator)[:count].sort().values
        blocks = torch.arange(group.multiple)[:, None] * units + kept
        choice[group.name] = IndexSet(group.width, tuple(blocks.flatten().tolist()))
    return choice


def free_sharing(graph: ChannelGraph, seed: int = 0, offset: int = 1) -> Choice:
    """As training draws them: base and free channels of random numbers of bins."""
    edges = {group.name: uniform_edges(group.width // group.multiple, 8) for group in graph.free}
    multiples = {group.name: group.multiple for group in graph.free}
    sharing = LocallyFreeSharing(edges, multiples, offset)
    generator = torch.Generator().manual_seed(seed)
    row = []
    for group in graph.free:
        cuts = edges[group.name]
        least = sum(cut < 2 for cut in cuts) + 1 if group.multiple > 1 else 1
        row.append(int(torch.randint(min(least, len(cuts)), len(cuts) + 1, (), generator=generator)))
    return sharing.draw(row, 1, generator)[0]


CHOICES = {"wild": wild, "free sharing": free_sharing}


def mask(segments, graph: ChannelGraph, choice: Choice) -> Tensor:
    """1 for each channel of a dimension that `choice` keeps, else 0: (channels,)."""
    parts = []
    for number, times in segments:
        group = graph.groups[number]
        kept = torch.zeros(group.width)
        kept[list(choice[group.name].indices) if group.name in choice else slice(None)] = 1
        parts.append(kept.repeat_interleave(times) if times >= 1 else kept[: int(group.width * times)])
    return torch.cat(parts)


def kept_of(tensor: Tensor, name: str, graph: ChannelGraph, choice: Choice) -> Tensor:
    """1 for each entry of the parameter or buffer `name` that a path reads, else 0."""
    kept = torch.ones_like(tensor)
    for slot in graph.slots:
        if slot.tensor == name:
            whole = mask(slot.segments, graph, choice)
            first = whole[: len(whole) // slot.divisor]  # all blocks keep the same
            kept *= first.view([-1 if dim == slot.dim else 1 for dim in range(tensor.dim())])
    return kept


def part_of(tensor: Tensor, name: str, graph: ChannelGraph, choice: Choice) -> Tensor:
    """The entries that a path reads, one dimension after the other."""
    for slot in graph.slots:
        if slot.tensor == name:
            whole = mask(slot.segments, graph, choice)
            first = whole[: len(whole) // slot.divisor]
            tensor = tensor.index_select(slot.dim, first.nonzero().flatten())
    return tensor


class Masked:
    """While it is open, each layer and batch norm of the model multiplies its outputs by the mask of its group.

    Batch norms do after they have normalised; what comes before them does not see it.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, choice: Choice) -> None:
        self.masks = {layer.name: mask(layer.outputs, graph, choice) for layer in graph.layers}
        for slot in graph.slots:
            owner, _, leaf = slot.tensor.rpartition(".")
            if leaf == "running_mean":
                self.masks[owner] = mask(slot.segments, graph, choice)
        self.model, self.handles = model, []

    def __enter__(self) -> nn.Module:
        for name, kept in self.masks.items():

            def multiply(module, inputs, outputs, kept=kept):
                return outputs * kept.to(outputs.dtype).view(-1, *[1] * (outputs.dim() - 2))  # (B, C, ...)

            self.handles.append(self.model.get_submodule(name).register_forward_hook(multiply))
        return self.model

    def __exit__(self, *_) -> None:
        for handle in self.handles:
            handle.remove()


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    found, expected = found.detach(), expected.detach()
    return float((found - expected).abs().max() / expected.abs().max())
