"""Gene-pool optimal mixing and forced improvement of MO-GOMEA, for all individuals of several populations at once.

Each individual goes through the linkage sets of its cluster's tree in its own random order; what would be one
evaluation after the other is done in steps: step s asks for the s-th trial of every individual in one batch. So an
individual sees, in the archive, what all others have found in steps up to this one, in place of what those before it
found in all of their steps; nothing else differs, since donors come from the population as it was before.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.evolution.budget import UniqueEvaluations
from src.evolution.clusters import MIDDLE, Clusters


@dataclass
class Mixture:
    """N individuals of one or more populations that are mixed together.

    rows: int64 (N, d), canonical; objectives: (N, n_obj); population: (N,) the number of each one's population;
    own: (N,) its cluster; extreme: (N,) what that looks after; sets: bool (G, S, d), the linkage sets of all clusters;
    starts, sizes: (G,) where in `members` each cluster's members begin and how many they are.
    """

    rows: NDArray
    objectives: NDArray
    population: NDArray
    own: NDArray
    extreme: NDArray
    sets: NDArray
    members: NDArray
    starts: NDArray
    sizes: NDArray

    def __post_init__(self) -> None:
        self.middle = self.extreme == MIDDLE
        # An extreme cluster compares its one objective alone.
        self.ignored = ~self.middle[:, None] & (self.extreme[:, None] != np.arange(self.objectives.shape[1]))
        count = int(self.population.max()) + 1
        self.new, self.joined = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)  # by population


def stacked(parts: list[tuple[NDArray, NDArray, Clusters]], sets: NDArray) -> Mixture:
    """One mixture of populations: rows, objectives and clusters of each; `sets` of all their clusters, in order."""
    offsets = np.cumsum([0] + [len(rows) for rows, _, _ in parts])
    before = np.cumsum([0] + [len(clusters.members) for _, _, clusters in parts])
    each = list(enumerate(parts))
    sizes = np.concatenate([np.full(len(clusters.members), clusters.members.shape[1]) for _, _, clusters in parts])
    return Mixture(
        rows=np.concatenate([rows for rows, _, _ in parts]),
        objectives=np.concatenate([objectives for _, objectives, _ in parts]),
        population=np.repeat(np.arange(len(parts)), np.diff(offsets)),
        own=np.concatenate([part[2].own + before[place] for place, part in each]),
        extreme=np.concatenate([clusters.extreme[clusters.own] for _, _, clusters in parts]),
        sets=sets,
        members=np.concatenate([(part[2].members + offsets[place]).ravel() for place, part in each]),
        starts=np.cumsum(sizes) - sizes,
        sizes=sizes,
    )


def mix(mixture: Mixture, evaluations: UniqueEvaluations, generator: np.random.Generator, report: Callable) -> NDArray:
    """Gene-pool optimal mixing; changes the mixture, and returns the mask (N,) of the individuals that changed.

    For each linkage set an individual takes the genes of a random member of its cluster. That stands if the result
    weakly dominates what was before, or the archive does not dominate it; in an extreme cluster if its one objective
    is not worse.
    """
    changed = np.zeros(len(mixture.rows), dtype=bool)
    before = mixture.rows.copy()
    steps = mixture.sets.shape[1]
    order = generator.random((len(before), steps)).argsort(1)
    sizes = mixture.sizes[mixture.own][:, None]
    places = (generator.random((len(before), steps)) * sizes).astype(np.int64)
    donors = mixture.members[mixture.starts[mixture.own][:, None] + places]
    for step in range(steps):
        sets = mixture.sets[mixture.own, order[:, step]]
        trial = evaluations.canonical(np.where(sets, before[donors[:, step]], mixture.rows))
        places = np.flatnonzero((trial != mixture.rows).any(1))
        if not len(places):
            continue
        answer = asked(mixture, places, trial, evaluations, report)
        free = mixture.middle[places] & ~evaluations.archive.dominated(answer.objectives)
        old, ignored = mixture.objectives[places], mixture.ignored[places]
        accepted = ((answer.objectives <= old) | ignored).all(1) | free
        changed[takes(mixture, places, answer, accepted)] = True
        if evaluations.exhausted:
            break
    return changed


def improve(
    mixture: Mixture,
    places: NDArray,
    evaluations: UniqueEvaluations,
    generator: np.random.Generator,
    report: Callable,
) -> None:
    """Forced improvement of the individuals at `places`; changes the mixture.

    Each takes the genes of one member of the archive, linkage set by linkage set, until that gives what dominates it,
    or a point that is new in the archive (in an extreme cluster: what is better in its one objective). An individual
    that has no success becomes that member. The member is a random one; in an extreme cluster the archive's best.
    """
    archive = evaluations.archive
    if not len(places) or not len(archive):
        return
    best = archive.objectives.argmin(0)
    donors = generator.integers(len(archive), size=len(places))
    donors = np.where(mixture.middle[places], donors, best[mixture.extreme[places]])
    rows, objectives = archive.rows[donors], archive.objectives[donors]
    steps = mixture.sets.shape[1]
    order = generator.random((len(places), steps)).argsort(1)
    left = np.arange(len(places))  # those without success
    for step in range(steps):
        at = places[left]
        current = mixture.rows[at]
        sets = mixture.sets[mixture.own[at], order[left, step]]
        trial = evaluations.canonical(np.where(sets, rows[left], current))
        differs = np.flatnonzero((trial != current).any(1))
        if not len(differs):
            continue
        at = at[differs]
        answer = asked(mixture, at, trial[differs], evaluations, report, picked=True)
        old, ignored = mixture.objectives[at], mixture.ignored[at]
        not_worse = ((answer.objectives <= old) | ignored).all(1)
        better = ((answer.objectives < old) & ~ignored).any(1)
        success = (not_worse & better) | (mixture.middle[at] & answer.joined)
        takes(mixture, at, answer, success)
        left = np.delete(left, differs[success])
        if evaluations.exhausted or not len(left):
            break
    mixture.rows[places[left]] = rows[left]
    mixture.objectives[places[left]] = objectives[left]


def asked(mixture, places, trial, evaluations, report, picked=False):
    answer = evaluations.ask(trial if picked else trial[places])
    mixture.new += np.bincount(mixture.population[places[answer.new]], minlength=len(mixture.new))
    if answer.joined.any():
        mixture.joined += np.bincount(mixture.population[places[answer.joined]], minlength=len(mixture.new))
    report()
    return answer


def takes(mixture: Mixture, places: NDArray, answer, accepted: NDArray) -> NDArray:
    places = places[accepted]
    mixture.rows[places] = answer.rows[accepted]
    mixture.objectives[places] = answer.objectives[accepted]
    return places
