"""Small cell networks that the tests share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.networks.cell_operations import NONE, OPERATIONS
from src.networks.cell_supernet import CellSupernet

COMPUTED = [name for name in OPERATIONS if name != NONE]


def images_of(count: int = 3, size: int = 8, channels: int = 1) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def small_supernet(operations: Sequence[str] = OPERATIONS, seed: int = 0, **options) -> CellSupernet:
    """Two cells, normal and reduction, of two nodes; its batch norms have statistics that are far from 0 and 1."""
    torch.manual_seed(seed)
    options = {"channels": 4, "layers": 2, "nodes": 2, "in_channels": 1, "reductions": [1]} | options
    return perturbed(CellSupernet(operations, **options))


def perturbed(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
    return network


def mask_of(network: CellSupernet, genotype: dict) -> Tensor:
    """(T, E, O), True where `genotype` has an operation."""
    mask = torch.zeros(network.gates_shape, dtype=torch.bool)
    for kind, name in enumerate(("normal", "reduce")):
        for node, inputs in enumerate(genotype[name]):
            for operation, state in inputs:
                mask[kind, network.edges.index((node, state)), network.operations.index(operation)] = True
    return mask


def random_genotype(generator: torch.Generator, nodes: int, operations: Sequence[str] = COMPUTED) -> dict:
    """1 to 4 inputs a node, of all states and operations; several operations may lie on one edge."""

    def node(number: int) -> list:
        pairs = [[name, state] for state in range(2 + number) for name in operations]
        count = int(torch.randint(1, 5, (), generator=generator))
        return [pairs[place] for place in torch.randperm(len(pairs), generator=generator)[:count].tolist()]

    return {kind: [node(number) for number in range(nodes)] for kind in ("normal", "reduce")}
