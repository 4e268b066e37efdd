"""Evolutionary search over rows of bins, by pymoo's genetic algorithm (one objective) or NSGA-II (several).

NSGA-II: Deb et al. 2002, https://doi.org/10.1109/4235.996017. How CafeNet searches is not known. The sizes of
population and parents were chosen by tests/benchmarks/width_searchers.py, on a small and on a large space: 20 with 10
parents and 10 offspring need fewer evaluations there than BCNet's 40, and are no worse after 2000.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga2 import binary_tournament as by_rank
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.algorithms.soo.nonconvex.ga import comp_by_cv_and_fitness as by_fitness
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.selection.tournament import TournamentSelection

from src.evolution.grid import Band, BinGrid, Row, as_rows
from src.evolution.operators import BandRepair, BinMutation, FilledMating, NewRows
from src.evolution.random_search import DistinctRows
from src.evolution.repair import repaired
from src.evolution.searcher import Searcher
from src.evolution.uniform import evenly_spread


class Evolution(Searcher):
    """A first generation of `population` rows, then `offspring` children a generation of the best `parents` so far.

    Children: uniform crossover of two parents, mutation, repair into the band. Rows that have been proposed before are
    never proposed again, so every evaluation counts; where the parents have too few new children, random rows of the
    band fill the generation up. It ends after `evaluations` rows, or when no row of the band is left to be found.

    The first generation holds the uniform scaling of the band (with one objective the widest that fits: the result is
    then never judged worse than that baseline; with several a quarter of the population, from the least to the most
    MACs), as many of the `first` rows, repaired, as there is room for, and random rows of the band.

    Args:
        seed: of all draws; keyed by the caller. Nothing is drawn from numpy's or torch's global state.
        band: the MACs of every proposed row.
        population, parents, offspring: see above. None: a population of 20 with one objective and of 40 with several
            (a front has to have room in it); half of that or all of it as parents; as many offspring as parents.
        evaluations: rows in all.
        objectives: 1: the best row of the band is looked for. More: the rows that no other one beats in all of them;
            MACs are one of them where the caller tells them as one.
        crossover: probability with which two parents are crossed.
        mutation: probability of each group to change; None: 0.1, and at least one group in a row on average.
        resample: share of these changes to any number of bins, in place of one or two up or down.
        first: rows to begin with, those of a prior say.
    """

    def __init__(
        self,
        grid: BinGrid,
        seed: int,
        band: Band | None = None,
        population: int | None = None,
        parents: int | None = None,
        offspring: int | None = None,
        evaluations: int | None = 1000,
        objectives: int = 1,
        crossover: float = 0.9,
        mutation: float | None = None,
        resample: float = 0.25,
        first: Sequence[Row] = (),
    ) -> None:
        super().__init__(grid, band, evaluations, objectives)
        self.seed, self.first = seed, list(first)
        self.population = population or (20 if objectives == 1 else 40)
        self.parents = parents or (self.population if objectives > 1 else max(2, self.population // 2))
        self.offspring = offspring or self.parents
        self.crossover, self.resample = crossover, resample
        self.mutation = max(0.1, 1 / len(grid.low)) if mutation is None else mutation

    def generations(self) -> Iterator[Sequence[Row]]:
        generator = torch.Generator().manual_seed(self.seed)
        rows = DistinctRows(self.grid, self.band, generator)
        start = self._first_generation(rows, generator)
        if not start:
            return
        algorithm = self._algorithm(np.array(start), rows)
        problem = Problem(n_var=len(self.grid.low), n_obj=self.objectives)
        algorithm.setup(problem, termination=NoTermination(), seed=self.seed)
        while (children := algorithm.ask()) is not None and len(children):
            asked = as_rows(torch.as_tensor(children.get("X").astype(np.int64)))
            yield asked
            children.set("F", np.array([self.value(row) for row in asked]))
            algorithm.tell(infills=children)

    def _first_generation(self, rows: DistinctRows, generator: torch.Generator) -> list[Row]:
        corners = 1 if self.objectives == 1 else max(2, self.population // 4)
        given = [*evenly_spread(self.grid, self.band, corners), *self.first]
        start: list[Row] = []
        if given:
            given = self.grid.clipped(torch.tensor(given, dtype=torch.int64))
            within, inside = repaired(given, self.grid, self.band, generator)
            start = list(dict.fromkeys(as_rows(within[inside])))[: self.population]
        rows.seen.update(start)
        return start + rows.draw(self.population - len(start))

    def _algorithm(self, start: np.ndarray, rows: DistinctRows) -> GA | NSGA2:
        several = self.objectives > 1
        repair = BandRepair(self.grid, self.band)
        new = NewRows(self.grid, self.band, rows.seen)
        mating = FilledMating(
            TournamentSelection(func_comp=by_rank if several else by_fitness),
            UniformCrossover(prob=self.crossover),
            BinMutation(self.grid, self.mutation, self.resample),
            repair=repair,
            eliminate_duplicates=new,
            fill=rows,
        )
        kind, sizes = NSGA2 if several else GA, {"pop_size": self.parents, "n_offsprings": self.offspring}
        return kind(sampling=start, mating=mating, eliminate_duplicates=False, **sizes)
