"""What all searches over rows of bins have in common: asked for rows, told their values, resumed by replay."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from src.errors import UserError
from src.evolution.grid import Band, BinGrid, Row

Values = tuple[float, ...]  # the objectives of a row, each the smaller the better

WORST = 1e30  # in place of what is not a finite number: infinities would make distances between values NaN


class Searcher(ABC):
    """Proposes rows generation by generation; a generation begins when all rows of the one before are known.

        while not searcher.done:
            searcher.tell({row: evaluated(row) for row in searcher.ask()})

    What is proposed depends on the seed and on what was told of the rows proposed before, and on nothing else: neither
    on the order in which it was told nor on what is known of other rows. So a searcher needs no state that is kept:
    `replayed` brings a new one to where another one stood. No row is proposed twice.

    Args:
        grid: the rows there are.
        band: the MACs that every proposed row keeps to; None: no bound.
        evaluations: rows that are proposed at most; None: no bound.
        objectives: how many values a row has.

    Raises:
        UserError: the band lies outside what the grid can reach. (One between the MACs of two rows gives no rows.)

    Attributes:
        known: all that was told, row -> objectives.
        proposed: the rows proposed so far, in their order.
        generation: the number of the generation that is asked for, from 0; when done, how many there were.
    """

    def __init__(
        self, grid: BinGrid, band: Band | None = None, evaluations: int | None = None, objectives: int = 1
    ) -> None:
        self.grid, self.objectives = grid, objectives
        least, most = grid.reachable()
        self.band = band or Band(least, most)
        if self.band.least > self.band.most or self.band.most < least or self.band.least > most:
            raise UserError(
                f"no row of bins has from {self.band.least:,} to {self.band.most:,} MACs; those that there are reach "
                f"from {least:,} to {most:,} MACs"
            )
        self.evaluations = math.inf if evaluations is None else evaluations
        self.known: dict[Row, Values] = {}
        self.proposed: list[Row] = []
        self.generation, self._rows = 0, None
        self._generations: Iterator[Sequence[Row]] = self.generations()

    @abstractmethod
    def generations(self) -> Iterator[Sequence[Row]]:
        """The rows of each generation, none empty and no row twice; goes on when `self.value` knows all of them."""

    @property
    def done(self) -> bool:
        """Whether no row is left to propose."""
        self._advance()
        return self._rows is None

    def ask(self) -> list[Row]:
        """The rows of this generation that are not known yet; none when the search is done.

        Asked again without having been told anything, it says the same.
        """
        self._advance()
        return [row for row in self._rows or () if row not in self.known]

    def tell(self, values: Mapping[Row, Values]) -> None:
        """Takes the objectives of rows, proposed ones or others; of a row that is known already the first stay.

        Raises:
            ValueError: a row does not have as many values as there are objectives.
        """
        for row, given in values.items():
            if len(given) != self.objectives:
                raise ValueError(f"row {row} has {len(given)} values, and there are {self.objectives} objectives")
            self.known.setdefault(tuple(map(int, row)), tuple(map(float, given)))

    def value(self, row: Row) -> Values:
        """The objectives of a known row; all of them the worst where one is not a finite number."""
        values = self.known[row]
        return values if all(map(math.isfinite, values)) else (WORST,) * self.objectives

    def _advance(self) -> None:
        """On to the first generation that is not known as a whole."""
        if self._rows is None and not self.proposed:
            self._rows = self._next()
        while self._rows is not None and all(row in self.known for row in self._rows):
            self.generation += 1
            self._rows = self._next()

    def _next(self) -> list[Row] | None:
        left = self.evaluations - len(self.proposed)
        rows = list(next(self._generations, ())) if left > 0 else []
        rows = rows[: int(min(left, len(rows)))]
        self.proposed += rows
        return rows or None


def replayed(searcher: Searcher, known: Mapping[Row, Values]) -> Searcher:
    """`searcher`, a new one, told all that one with the same arguments knew: it stands where that one stood."""
    searcher.tell(known)
    return searcher
