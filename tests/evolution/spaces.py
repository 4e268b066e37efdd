"""Small grids whose every row can be looked at, and values that are made up."""

import torch

from src.evolution.grid import BinGrid, Row
from src.evolution.searcher import Searcher, Values


def quadratic_cost(rows: torch.Tensor) -> torch.Tensor:
    """MACs of a chain of 3x3 convolutions on 8 x 8 images, 2, 3, 4, ... channels a bin, a linear layer at the end."""
    widths = rows * torch.arange(2, 2 + rows.shape[1])
    return 64 * 9 * (3 * widths[:, 0] + (widths[:, :-1] * widths[:, 1:]).sum(1)) + 10 * widths[:, -1]


def small_grid(low=(1, 1, 2, 1), high=(4, 3, 4, 5)) -> BinGrid:
    return BinGrid(torch.tensor(low), torch.tensor(high), quadratic_cost)


def made_up(row: Row) -> float:
    """A smooth error that falls with every bin, at different rates."""
    return sum((place + 1) / bins for place, bins in enumerate(row))


def run_out(searcher: Searcher, value=lambda row: (made_up(row),)) -> dict[Row, Values]:
    """All that a search proposes, in that order, with its values."""
    while not searcher.done:
        searcher.tell({row: value(row) for row in searcher.ask()})
    return {row: searcher.known[row] for row in searcher.proposed}
