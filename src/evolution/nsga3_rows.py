"""NSGA-III over rows, by pymoo: the search of NAT on its surrogate (Deb, Jain 2014, doi 10.1109/TEVC.2013.2281535)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.ux import UniformCrossover

from src.errors import check_range, check_whole
from src.evolution.budget import UniqueEvaluations
from src.evolution.offspring import polynomial_mutation
from src.evolution.pymoo_rows import WORST, Alike, Canonical, rows_of
from src.evolution.reference_survival import directions, scale, survivors

__all__ = ["nsga3", "survivors"]


def nsga3(
    objectives: Callable[[NDArray], NDArray],
    alphabet: Sequence[int],
    seed: int,
    start: NDArray,
    canonical: Callable[[NDArray], NDArray] | None = None,
    population: int = 100,
    evaluations: int = 10_000,
    crossover: float = 0.9,
    mutation: float = 0.1,
    eta: float = 1.0,
    report: Callable[[int], None] | None = None,
) -> NDArray:
    """Evolves the given rows for `evaluations` / `population` generations at most, and returns the last population.

    Uniform crossover of two random parents, polynomial mutation, as many children as the population is large, none of
    them equal to another individual; who stays is decided by non-dominated sorting and reference directions. The
    defaults are those of ENCAS. There the mutation's probability is that of each gene (pymoo 0.4, recalled).

    Args:
        objectives: canonical rows int64 (B, d), none of them seen before -> (B, 2), the smaller the better; may be inf.
        alphabet: (d,) how many values each gene has; they are 0 .. alphabet - 1.
        seed: of all draws; keyed by the caller.
        start: (n, d), the first population. Fewer rows than `population` are filled up with random ones; if there are
            more, all of them are parents of the first generation.
        canonical: rows (B, d) -> rows (B, d), one for all that mean the same. None: rows as they are.
        evaluations: different rows at most that the objectives are computed of, those of `start` among them.
        crossover, mutation, eta: probability that two parents are crossed, that a gene of a child mutates, and the
            mutation's index: the larger, the smaller its steps.
        report: called after every generation with the number of rows evaluated.

    Returns:
        int64 (population, d), all different; fewer rows where the space does not have so many, or hardly.
    """
    check_whole("population", population, 2)
    check_whole("evaluations", evaluations, 1)
    check_range("crossover", crossover, 0, 1)
    check_range("mutation", mutation, 0, 1)
    check_range("eta", eta, 0)
    alphabet, generator = np.asarray(alphabet, dtype=np.int64), np.random.default_rng(seed)
    asked = UniqueEvaluations(objectives, max(evaluations, len(start)), canonical)
    more = generator.integers(alphabet, size=(max(0, population - len(start)), len(alphabet)))
    first = asked.ask(asked.canonical(np.concatenate([np.reshape(start, (-1, len(alphabet))), more])))
    first = asked.ask(_distinct(first.rows))
    divisors = scale(first.objectives)
    algorithm = NSGA3(
        directions(population),
        pop_size=population,
        sampling=first.rows,
        crossover=UniformCrossover(prob=crossover),
        mutation=_Polynomial(alphabet, mutation, eta),
        repair=Canonical(asked.canonical),
        eliminate_duplicates=Alike(),
    )
    problem = Problem(n_var=len(alphabet), n_obj=2, xl=0, xu=alphabet - 1)
    algorithm.setup(problem, termination=NoTermination(), seed=int(generator.integers(2**31)))
    for _ in range(1 + evaluations // population):  # the first one asks for the start only
        children = algorithm.ask()
        if children is None or not len(children):  # pymoo found no child that is not in the population already
            break
        answer = asked.ask(rows_of(children))
        children.set("F", np.minimum(answer.objectives / divisors, WORST))
        algorithm.tell(infills=children)
        if report is not None:
            report(asked.used)
        if asked.exhausted:
            break
    last = rows_of(algorithm.pop)
    return last[survivors(asked.ask(last).objectives, population, int(generator.integers(2**62)))]


def _distinct(rows: NDArray) -> NDArray:
    """The different ones of rows (B, d), in the order of their first places."""
    return rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]


class _Polynomial(Mutation):
    def __init__(self, alphabet: NDArray, probability: float, eta: float) -> None:
        super().__init__()
        self.alphabet, self.probability, self.eta = alphabet, probability, eta

    def _do(self, problem, X, *args, random_state=None, **kwargs):
        return polynomial_mutation(X.astype(np.int64), self.alphabet, self.probability, self.eta, random_state)
