"""Small random cost tables, whose choices can all be listed."""

import itertools

import torch
from torch import Tensor

from src.spaces.cost_table import CostTable
from src.spaces.targets import Targets


def random_table(seed: int, blocks: int = 5, operations: int = 4, costs: int = 2, largest: int = 1000) -> CostTable:
    """Whole-number costs; each block lacks some operation of the table, but the first."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(0, largest, (costs, blocks, operations), generator=generator).double()
    allowed = torch.rand(blocks, operations, generator=generator) < 0.8
    allowed[0] = True
    allowed[:, 0] = True
    names = ("macs", "params", "latency")[:costs]
    return CostTable(names, torch.full((costs,), 100.0).double(), table.masked_fill(~allowed, 0), allowed)


def all_choices(table: CostTable) -> Tensor:
    """Every choice (M, L), one by one."""
    return torch.tensor(list(itertools.product(*(row.nonzero()[:, 0].tolist() for row in table.allowed))))


def targets(tolerance: float = 0.05, **values: float) -> Targets:
    return Targets(tuple(values), torch.tensor(list(values.values()), dtype=torch.float64), tolerance)
