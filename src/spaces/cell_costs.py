"""MACs and parameters of networks of cells, as sums over the operations of both cells; the modules are made, not run.

All cells of one type are alike, so that an operation on an edge costs what it costs in all cells of its type together.
What is left is fixed as long as cells put all their nodes into their output: stem, inputs of cells and classifier.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from src.networks.cell_network import CellNetwork
from src.networks.cell_operations import NONE, cell_operation
from src.networks.genotypes import CELL_TYPES, cell_edges
from src.spaces.cost_table import CostTable
from src.spaces.operation_costs import Cost, halved


def total_cost(network: CellNetwork, input_shape: Sequence[int]) -> Cost:
    """Of any network of cells, for an image (C, H, W)."""
    costs = [_fixed_cost(network, input_shape)]
    for _, positions, cell in _sized(network, input_shape):
        costs += [_module_cost(operation, positions) for node in cell.nodes for operation in node]
    return Cost(*map(sum, zip(*costs, strict=True)))


def cell_costs(
    network: CellNetwork, options: Mapping[str, Any], input_shape: Sequence[int], operations: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """(2,) fixed costs and (2, T, E, O) costs of each operation of each edge, MACs and parameters, float64.

    Args:
        network: of which the operations are exchanged; both its cells put all their nodes into their output.
        options: of `cell_operation`: affine, pool_norm, skip_norm.
        operations: O names; `none` costs nothing.
    """
    edges = cell_edges(len(network.genotype["normal"]))
    places = [state < 2 for _, state in edges]  # only inputs of the cell are reduced

    @cache
    def cost(name: str, channels: int, stride: int, positions: int) -> Cost:
        if name == NONE:
            return Cost(0, 0)
        with torch.device("meta"):
            return _module_cost(cell_operation(name, channels, stride, **options), positions)

    table = torch.zeros(2, len(CELL_TYPES), len(edges), len(operations), dtype=torch.float64)
    for layer, (_, positions, cell) in enumerate(_sized(network, input_shape)):
        reduces = layer in network.reductions
        channels = cell.preprocess1.conv.out_channels
        rows = {
            outer: [cost(name, channels, 2 if reduces and outer else 1, positions) for name in operations]
            for outer in (True, False)
        }
        own = torch.tensor([rows[outer] for outer in places], dtype=torch.float64)
        table[:, int(reduces)] += own.permute(2, 0, 1)
    return torch.tensor(_fixed_cost(network, input_shape), dtype=torch.float64), table


def node_options(edges: Sequence[tuple[int, int]], operations: Sequence[str]) -> list[Tensor]:
    """Of each node all that it may have, (P, 2) int64: inputs from two states, as places edge * O + operation.

    `none` is no option.
    """
    real = torch.tensor([number for number, name in enumerate(operations) if name != NONE])
    pairs = torch.cartesian_prod(real, real).reshape(-1, 2)
    found = []
    for node in sorted({node for node, _ in edges}):
        own = [edge for edge, (reader, _) in enumerate(edges) if reader == node]
        firsts = torch.tensor(list(combinations(own, 2))) * len(operations)
        found.append((firsts[:, None] + pairs).flatten(0, 1))
    return found


def choice_table(fixed: Tensor, table: Tensor, options: Sequence[Tensor]) -> CostTable:
    """The costs of the L = T x nodes choices of an option, the nodes of the normal cell first."""
    cells, nodes = table.shape[1], len(options)
    costs = torch.zeros(len(table), cells, nodes, max(map(len, options)), dtype=torch.float64)
    allowed = torch.zeros(costs.shape[1:], dtype=torch.bool)
    for node, own in enumerate(options):
        costs[:, :, node, : len(own)] = table.flatten(2)[..., own].sum(-1)
        allowed[:, node, : len(own)] = True
    return CostTable(("macs", "params"), fixed, costs.flatten(1, 2), allowed.flatten(0, 1))


def _fixed_cost(network: CellNetwork, input_shape: Sequence[int]) -> Cost:
    costs = [_module_cost(network.stem, prod(input_shape[1:])), _module_cost(network.classifier, 1)]
    for before, _, cell in _sized(network, input_shape):
        costs += [_module_cost(part, before) for part in (cell.preprocess0, cell.preprocess1)]
    return Cost(*map(sum, zip(*costs, strict=True)))


def _sized(network: CellNetwork, input_shape: Sequence[int]) -> list[tuple[int, int, nn.Module]]:
    """Of each cell the positions H * W of its last input, those of its nodes, and the cell."""
    size, found = tuple(input_shape[1:]), []
    for layer, cell in enumerate(network.cells):
        before, size = size, halved(size, 2 if layer in network.reductions else 1)
        found.append((prod(before), prod(size), cell))
    return found


def _module_cost(module: nn.Module, positions: int) -> Cost:
    """Of a module all of whose convolutions give maps of so many positions: each of their weights counts at each."""
    layers = (part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Linear)))
    weights = sum(layer.weight.numel() for layer in layers)
    return Cost(positions * weights, sum(parameter.numel() for parameter in module.parameters()))
