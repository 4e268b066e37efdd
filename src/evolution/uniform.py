"""Rows in which all groups have about the same share of their bins: uniform width scaling, the baseline of all."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from src.evolution.grid import Band, BinGrid, Row, as_rows
from src.evolution.searcher import Searcher


def uniform_rows(grid: BinGrid) -> Tensor:
    """All rows (N, G) that come of one factor for all groups, from the least to the largest, each dearer than the last.

    At a factor f from 0 to 1 group g has the whole number of bins that is nearest to f * high_g (halves up), and at
    least low_g. The row changes only where f * high_g passes a half for some g.
    """
    steps = [(torch.arange(1, int(high) + 1, dtype=torch.float64) - 0.5) / high for high in grid.high]
    factors = torch.cat([torch.zeros(1, dtype=torch.float64), *steps]).unique()
    # a hair above the step: f * high is then rounded up in spite of the rounding of the division
    bins = (factors[:, None] * grid.high + 0.5 + 1e-9).floor().to(torch.int64)
    return torch.unique_consecutive(grid.clipped(bins), dim=0)


def evenly_spread(grid: BinGrid, band: Band, count: int) -> list[Row]:
    """Up to `count` uniform rows in the band, with MACs as evenly spread as they allow; of one, the dearest.

    Of a band in which there is none (a narrow one) the dearest under `band.most`, if there is one.
    """
    rows = uniform_rows(grid)
    costs = grid.cost(rows)
    fits = band.holds(costs) if bool(band.holds(costs).any()) else costs <= band.most
    if not bool(band.holds(costs).any()):
        count = 1
    rows, costs = rows[fits], costs[fits]
    if not len(rows):
        return []
    wanted = torch.linspace(float(costs[-1]), float(costs[0]), count, dtype=torch.float64)
    nearest = (costs[None] - wanted[:, None]).abs().argmin(1).unique()
    return as_rows(rows[nearest].flip(0))


class UniformScaling(Searcher):
    """One generation: the widest uniform row that fits the band, or `count` of them for a front.

    A coarse grid may have no uniform row within a narrow band; then it is the widest one under the band.
    """

    def __init__(self, grid: BinGrid, band: Band | None = None, count: int = 1, objectives: int = 1) -> None:
        self.count = count
        super().__init__(grid, band, None, objectives)

    def generations(self) -> Iterator[Sequence[Row]]:
        rows = evenly_spread(self.grid, self.band, self.count)
        if rows:
            yield rows
