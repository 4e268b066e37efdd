"""Random rows of a band of costs."""

from collections.abc import Iterator, Sequence

import torch

from src.evolution.grid import Band, BinGrid, Row, as_rows
from src.evolution.repair import repaired
from src.evolution.searcher import Searcher

_DRAWN_TOGETHER = 1024
_BARREN = 16  # rounds without a new row, until the band counts as exhausted


class DistinctRows:
    """Draws rows in the band, none of them twice, and none that is in `seen`, a set of which it keeps account.

    Rows are uniform over the band as long as uniform rows of the grid hit it. Where they miss (a band at an end of the
    range, a narrow one) what is lacking are uniform rows brought into the band by repair, which are not.
    """

    def __init__(self, grid: BinGrid, band: Band, generator: torch.Generator, seen: set[Row] | None = None) -> None:
        self.grid, self.band, self.generator = grid, band, generator
        self.seen = set() if seen is None else seen

    def draw(self, count: int) -> list[Row]:
        """Up to `count` new rows; fewer where no more were found."""
        found: list[Row] = []
        barren = 0
        while len(found) < count and barren < _BARREN:
            rows = self.grid.uniform(_DRAWN_TOGETHER, self.generator)
            hits = rows[self.band.holds(self.grid.cost(rows))]
            new = self._new(as_rows(hits), count - len(found))
            if not new:
                some, inside = repaired(rows[: max(64, 2 * count)], self.grid, self.band, self.generator)
                new = self._new(as_rows(some[inside]), count - len(found))
            barren = 0 if new else barren + 1
            found += new
        return found

    def _new(self, rows: list[Row], most: int) -> list[Row]:
        new = [row for row in dict.fromkeys(rows) if row not in self.seen][:most]
        self.seen.update(new)
        return new


class RandomSearch(Searcher):
    """Distinct random rows of the band, `population` a generation, until `evaluations` or none is left to be found.

    Args:
        seed: of all draws; keyed by the caller.
    """

    def __init__(
        self,
        grid: BinGrid,
        seed: int,
        band: Band | None = None,
        population: int = 40,
        evaluations: int | None = None,
        objectives: int = 1,
    ) -> None:
        self.seed, self.population = seed, population
        super().__init__(grid, band, evaluations, objectives)

    def generations(self) -> Iterator[Sequence[Row]]:
        rows = DistinctRows(self.grid, self.band, torch.Generator().manual_seed(self.seed))
        while found := rows.draw(self.population):
            yield found
