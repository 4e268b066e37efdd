"""What the members of a cascade cost: counted where it is not given."""

import warnings

from torch import nn

from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.networks.cascade import Cascade


def counted_macs(network: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """MACs of an image (C, H, W): convolutions and linear layers. Raises `UserError` where it cannot be traced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it tells is of widths, and here none is searched
        graph = channel_graph(network, input_shape)
    return int(cost_polynomial(graph).macs(graph.widths()))


def fill_macs(cascade: Cascade, input_shape: tuple[int, int, int]) -> None:
    """Sets the `macs` that are None, of nested cascades too, to those of an image (C, H, W): convolutions and linears.

    Raises `UserError` where a member cannot be traced.
    """
    for part in cascade.cascades():
        for index, member in enumerate(part.members):
            if part.macs[index] is None and not isinstance(member, Cascade):
                part.macs[index] = counted_macs(member, input_shape)
