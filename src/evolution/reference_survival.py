"""Survival by reference directions, the selection of NSGA-III (Deb, Jain 2014, doi 10.1109/TEVC.2013.2281535)."""

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga3 import ReferenceDirectionSurvival
from pymoo.core.population import Population
from pymoo.core.problem import Problem

from src.evolution.dominance import nondominated


def directions(count: int) -> NDArray:
    """`count` reference directions of two objectives, (count, 2), evenly spread on the line between the axes.

    ENCAS takes those of least Riesz energy. On a line these are all but even, and to find them takes two seconds and a
    seed.
    """
    first = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
    return np.stack([first, 1 - first], axis=1)


def survivors(objectives: NDArray, count: int, seed: int) -> NDArray:
    """Which `count` of n points stay: the best fronts, and of the last one that has room those in thin niches.

    Args:
        objectives: (n, 2), the smaller the better, each of whatever scale; points that are not finite come last.
        count: how many stay, and how many reference directions there are; all do where there are no more.
        seed: of the choice between points that are equally good; keyed by the caller.

    Returns:
        places int64 (min(count, n),), in increasing order.
    """
    objectives = np.asarray(objectives, dtype=np.float64)
    finite = np.flatnonzero(np.isfinite(objectives).all(1))
    if count >= len(objectives):
        return np.arange(len(objectives))
    if count >= len(finite):
        others = np.setdiff1d(np.arange(len(objectives)), finite)
        return np.sort(np.concatenate([finite, others[: count - len(finite)]]))
    if count < 1:
        return np.empty(0, dtype=np.int64)
    known = objectives[finite]
    population = Population.new(F=known / scale(known), place=finite)
    survival = ReferenceDirectionSurvival(directions(count))
    kept = survival.do(_TWO, population, n_survive=count, random_state=np.random.default_rng(seed))
    return np.sort(kept.get("place").astype(np.int64))


def scale(objectives: NDArray) -> NDArray:
    """Divisors (n_obj,) that make the front of objectives (n, n_obj) one long in each.

    pymoo takes differences below 0.001 for none: MACs in the millions and errors as shares would not be alike. Points
    that are not finite do not count.
    """
    objectives = objectives[np.isfinite(objectives).all(1)]
    if not len(objectives):
        return np.ones(objectives.shape[1])
    ranges = np.ptp(objectives[nondominated(objectives)], axis=0)
    ranges = np.where(ranges > 0, ranges, np.ptp(objectives, axis=0))
    return np.where(ranges > 0, ranges, 1)


_TWO = Problem(n_var=1, n_obj=2)
