"""What pymoo's genetic algorithms need to know about rows of bins: how rows vary, are repaired and are told apart.

Everything is drawn from the generator that pymoo hands in, which belongs to one algorithm and its seed.
"""

import numpy as np
import torch
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mating import Mating
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.repair import Repair

from src.evolution.grid import Band, BinGrid, Row, as_rows
from src.evolution.random_search import DistinctRows
from src.evolution.repair import repaired


class BinMutation(Mutation):
    """Changes every group's bins with `probability`: by one or two bins up or down, or, with `resample`, to any.

    Rows may leave the bounds by this; the repair brings them back.
    """

    def __init__(self, grid: BinGrid, probability: float, resample: float) -> None:
        super().__init__()
        self.grid, self.probability, self.resample = grid, probability, resample

    def _do(self, problem, X, *args, random_state=None, **kwargs):
        low, high = self.grid.low.numpy(), self.grid.high.numpy()
        steps = random_state.choice([-2, -1, 1, 2], size=X.shape)
        anew = random_state.integers(low, high + 1, size=X.shape)
        moved = np.where(random_state.random(X.shape) < self.resample, anew, X + steps)
        return np.where(random_state.random(X.shape) < self.probability, moved, X)


class BandRepair(Repair):
    """Clips rows at the bounds of the grid and moves them into the band, as far as that succeeds."""

    def __init__(self, grid: BinGrid, band: Band) -> None:
        super().__init__()
        self.grid, self.band = grid, band

    def _do(self, problem, X, random_state=None, **kwargs):
        rows = self.grid.clipped(torch.as_tensor(X.astype(np.int64)))
        return repaired(rows, self.grid, self.band, torch_generator(random_state))[0].numpy()


class NewRows(DuplicateElimination):
    """Leaves out what is not in the band, what has been proposed before, dead rows included, and what comes twice."""

    def __init__(self, grid: BinGrid, band: Band, seen: set[Row]) -> None:
        super().__init__()
        self.grid, self.band, self.seen = grid, band, seen

    def _do(self, pop, other, is_duplicate):
        rows = torch.as_tensor(pop.get("X").astype(np.int64))
        known = set(self.seen) if other is None else set(map(tuple, other.get("X").astype(np.int64).tolist()))
        inside = self.band.holds(self.grid.cost(rows)).tolist()
        for place, (row, fits) in enumerate(zip(as_rows(rows), inside, strict=True)):
            is_duplicate[place] = not fits or row in known
            if other is None:
                known.add(row)
        return is_duplicate


class FilledMating(Mating):
    """Mating whose offspring random rows fill up where the parents have too few children that are new.

    A small space would otherwise be given up as soon as the neighbourhood of the parents is known.
    """

    def __init__(self, *operators, fill: DistinctRows, **options) -> None:
        super().__init__(*operators, **options)
        self.fill = fill

    def do(self, problem, pop, n_offsprings, **options):
        children = super().do(problem, pop, n_offsprings, **options)
        self.fill.seen.update(map(tuple, children.get("X").astype(np.int64).tolist()) if len(children) else ())
        more = self.fill.draw(n_offsprings - len(children))
        return Population.merge(children, Population.new("X", np.array(more))) if more else children


def torch_generator(random_state: np.random.Generator) -> torch.Generator:
    """A generator of torch, seeded with a number drawn from numpy's."""
    return torch.Generator().manual_seed(int(random_state.integers(2**63 - 1)))
