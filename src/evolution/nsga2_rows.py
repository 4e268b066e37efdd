"""NSGA-II over rows, by pymoo: the usual multi-objective baseline (Deb et al. 2002, doi 10.1109/4235.996017)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.ux import UniformCrossover

from src.evolution.budget import UniqueEvaluations
from src.evolution.novelty import Novelty
from src.evolution.pymoo_rows import WORST, Alike, Canonical, rows_of
from src.evolution.random_rows import random_rows

NOVELTY = 0.1, 100  # share of new children below which evolution ends, generations of a stretch (see Novelty)


def population_for(budget: int) -> int:
    """The size of a population for a budget of evaluations: 24 for 2,000, 44 for 20,000, never more than 50.

    Chosen by the hypervolume of cascades of 18 real networks: with 2,000 evaluations sizes from 16 to 40 were about
    equal and 80 and 160 worse, with 20,000 those from 20 to 50, and 100 and more worse; 600,000 is hardly explored: 50
    did best, 100, 200 and 420 worse, in one or two runs each.
    """
    return min(50, max(8, 2 * round(1.6 * budget**0.265)))


def nsga2(
    evaluations: UniqueEvaluations,
    alphabet: Sequence[int],
    seed: int,
    population: int | None = None,
    crossover: float = 0.9,
    mutation: float | None = None,
    resample: float = 0.5,
    first: NDArray | None = None,
    report: Callable[[], None] | None = None,
) -> None:
    """Evolves a population until the budget is used up, or children are hardly ever new.

    Uniform crossover and a mutation of single genes; children become canonical rows, and no two individuals are alike.
    Where fewer than 1 in 10 children are new (see Novelty), what is left of the budget goes to random rows, until these
    are hardly ever new either.

    Args:
        alphabet: (d,) how many values each gene has; they are 0 .. alphabet - 1.
        seed: of all draws; keyed by the caller.
        population: individuals, and children a generation; None: as `population_for` says.
        crossover: probability with which two parents are crossed.
        mutation: probability of each gene to change; None: 1 / d.
        resample: share of these changes to any value, in place of one or two up or down.
        first: rows (n, d) that the first population has, as far as there is room; the others are random.
        report: called after every generation.
    """
    size = population_for(evaluations.budget) if population is None else population
    alphabet, generator = np.asarray(alphabet), np.random.default_rng(seed)
    start = generator.integers(alphabet, size=(size, len(alphabet)))
    if first is not None:
        start[: len(first)] = first[:size]
    answer = evaluations.ask(evaluations.canonical(start))
    report = report or (lambda: None)
    report()
    algorithm = NSGA2(
        pop_size=size,
        sampling=answer.rows,
        crossover=UniformCrossover(prob=crossover),
        mutation=_GeneMutation(alphabet, 1 / len(alphabet) if mutation is None else mutation, resample),
        repair=Canonical(evaluations.canonical),
        eliminate_duplicates=Alike(),
    )
    problem = Problem(n_var=len(alphabet), n_obj=answer.objectives.shape[1], xl=0, xu=alphabet - 1)
    algorithm.setup(problem, termination=NoTermination(), seed=int(generator.integers(2**31)))
    novelty = Novelty(evaluations, NOVELTY[0], NOVELTY[1] * size)
    while not evaluations.exhausted and not novelty.gone():
        children = algorithm.ask()
        if children is None or not len(children):  # pymoo found no child that is not in the population already
            break
        answer = evaluations.ask(rows_of(children))
        children.set("F", np.minimum(answer.objectives, WORST))
        algorithm.tell(infills=children)
        report()
    random_rows(evaluations, alphabet, int(generator.integers(2**62)), report=report)


class _GeneMutation(Mutation):
    """Changes each gene with a probability: to any value, or by one or two up or down, within its alphabet."""

    def __init__(self, alphabet: NDArray, probability: float, resample: float) -> None:
        super().__init__()
        self.alphabet, self.probability, self.resample = alphabet, probability, resample

    def _do(self, problem, X, *args, random_state=None, **kwargs):
        X = X.astype(np.int64)
        steps = random_state.choice([-2, -1, 1, 2], size=X.shape)
        anew = random_state.integers(self.alphabet, size=X.shape)
        moved = np.where(random_state.random(X.shape) < self.resample, anew, X + steps)
        moved = np.clip(moved, 0, self.alphabet - 1)
        return np.where(random_state.random(X.shape) < self.probability, moved, X)
