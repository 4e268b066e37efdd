"""Brings rows of bins into a band of costs, by random moves of one bin each, all rows at once.

Throwing infeasible rows away instead starves a search whose budget is small: nearly all of what it draws lies outside.
"""

import torch
from torch import Tensor

from src.evolution.grid import Band, BinGrid

_ATTEMPTS = 32  # from dead ends: rows under the band to which no bin can be added without passing it
_SMALL = 2**12  # rows of a grid that are all looked at, where everything else has failed


def repaired(rows: Tensor, grid: BinGrid, band: Band, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows (N, G) of the grid, moved into the band as far as that succeeds, and which of them lie in it, bool (N,).

    A row over the band loses random bins until it is not; a row under it gains random bins, none of which brings it
    over the band. Each bin that can be taken, or given, is as likely as any other, so that a row keeps about its
    proportions. Where a row under the band has come to a dead end, random bins are taken from it again, more of them
    with every attempt, and it gains anew. On a small grid, of at most 4096 rows, what is left even then becomes the
    nearest row in the band (in bins; of equally near ones the first), so that there nothing fails that could be met.

    Rows in the band stay as they are. It always ends: a row that has not come into the band is the dearest one under it
    that was seen on its way, or the least row of the grid where not even that one fits.
    """
    best = shrunk(rows, grid, band.most, generator)
    least_fits = grid.reachable()[0] <= band.most
    walk = best
    for attempt in range(_ATTEMPTS + 1):
        under = (grid.cost(best) < band.least).nonzero()[:, 0]
        if not len(under) or not least_fits:
            break
        start = _thinned(walk[under], grid, attempt / _ATTEMPTS, generator)
        walk = walk.index_copy(0, under, _grown(start, grid, band, generator))
        dearer = (grid.cost(walk) > grid.cost(best)) & (grid.cost(best) < band.least)
        best = torch.where(dearer[:, None], walk, best)
    outside = (~band.holds(grid.cost(best))).nonzero()[:, 0]
    if len(outside) and least_fits and grid.size() <= _SMALL:
        best = best.index_copy(0, outside, _nearest(best[outside], grid, band))
    return best, band.holds(grid.cost(best))


def shrunk(rows: Tensor, grid: BinGrid, most: int, generator: torch.Generator) -> Tensor:
    """Rows (N, G) without random bins, until each costs at most `most` or is the least of the grid."""
    rows = rows.clone()
    while True:
        over = ((grid.cost(rows) > most) & (rows > grid.low).any(1)).nonzero()[:, 0]
        if not len(over):
            return rows
        _move(rows, over, rows[over] - grid.low, -1, generator)


def _grown(rows: Tensor, grid: BinGrid, band: Band, generator: torch.Generator) -> Tensor:
    """Rows (N, G) with random bins more, until each costs `band.least` or no bin can be added within `band.most`."""
    rows = rows.clone()
    free = rows < grid.high  # a bin that does not fit a row fits none of the larger rows that it becomes
    while True:
        growing = ((grid.cost(rows) < band.least) & free.any(1)).nonzero()[:, 0]
        if not len(growing):
            return rows
        groups = _move(rows, growing, (grid.high - rows[growing]) * free[growing], 1, generator)
        over = grid.cost(rows[growing]) > band.most
        rows[growing[over], groups[over]] -= 1
        free[growing, groups] &= ~over & (rows < grid.high)[growing, groups]


def _nearest(rows: Tensor, grid: BinGrid, band: Band) -> Tensor:
    """The row of the grid in the band that is nearest to each of `rows` (N, G); `rows` where there is none."""
    choices = grid.all_rows()
    choices = choices[band.holds(grid.cost(choices))]
    if not len(choices):
        return rows
    return choices[torch.cdist(rows.double(), choices.double(), p=1).argmin(1)]


def _thinned(rows: Tensor, grid: BinGrid, share: float, generator: torch.Generator) -> Tensor:
    """Rows (N, G) without some of their bins: each goes with a probability, drawn for its row, of at most `share`."""
    chance = share * torch.rand(len(rows), 1, generator=generator, dtype=torch.float64)
    spare = (rows - grid.low).double()
    return rows - torch.binomial(spare, chance.expand_as(spare), generator=generator).to(torch.int64)


def _move(rows: Tensor, which: Tensor, weights: Tensor, step: int, generator: torch.Generator) -> Tensor:
    """Adds `step` to one group of each of the rows `which` (n,), drawn by `weights` (n, G); returns the groups (n,)."""
    groups = torch.multinomial(weights.double(), 1, generator=generator)[:, 0]
    rows[which, groups] += step
    return groups
