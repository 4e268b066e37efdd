"""Gene-pool optimal mixing and forced improvement of MO-GOMEA, for all individuals of several populations at once.

Each individual goes through the linkage sets of its cluster's tree in its own random order; what would be one
evaluation after the other is done in steps: step s asks for the s-th trial of every individual in one batch. So what
an individual is compared with, the archive, holds what all others found in their steps up to this one, in place of
what those before it found in all of their steps. Nothing else differs: donors come from the population as it was
before the generation, here and there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.evolution.budget import Answer, UniqueEvaluations
from src.evolution.clusters import MIDDLE, Clusters
from src.evolution.variation import Variation


@dataclass
class Mixture:
    """N individuals of P populations that are mixed at the same time, each within a cluster of its own population.

    rows: int64 (N, d), canonical. objectives: float64 (N, n_obj). population: int64 (N,), from 0 to P - 1.
    own: int64 (N,), the cluster, from 0 to G - 1. extreme: int64 (N,), the one objective that this looks after, or
    MIDDLE. sets: bool (G, S, d), linkage sets. members: places in the mixture, cluster after cluster; starts, sizes:
    (G,), where each one's members begin in it, and how many they are.

    new, joined: int64 (P,), how many rows were new so far, and how many of these entered the archive.
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
        # An extreme cluster looks at its own objective alone.
        self.ignored = ~self.middle[:, None] & (self.extreme[:, None] != np.arange(self.objectives.shape[1]))
        self.new, self.joined = np.zeros((2, int(self.population.max()) + 1), dtype=np.int64)

    @classmethod
    def of(cls, parts: list[tuple[NDArray, NDArray, Clusters]], sets: NDArray) -> "Mixture":
        """Of each population its rows, objectives and clusters; of all their clusters, in this order, the sets."""
        rows, objectives, clusters = zip(*parts, strict=True)
        counts = [len(some) for some in rows]
        numbers = [len(some.members) for some in clusters]
        first, first_cluster = np.cumsum([0, *counts]), np.cumsum([0, *numbers])
        sizes = np.repeat([some.members.shape[1] for some in clusters], numbers)
        return cls(
            rows=np.concatenate(rows),
            objectives=np.concatenate(objectives),
            population=np.repeat(np.arange(len(parts)), counts),
            own=np.concatenate([some.own + start for some, start in zip(clusters, first_cluster, strict=False)]),
            extreme=np.concatenate([some.extreme[some.own] for some in clusters]),
            sets=sets,
            members=np.concatenate(
                [(some.members + start).ravel() for some, start in zip(clusters, first, strict=False)]
            ),
            starts=np.cumsum(sizes) - sizes,
            sizes=sizes,
        )

    def take(self, places: NDArray, answer: Answer, accepted: NDArray) -> NDArray:
        """Puts what was accepted (B,) of an answer in its places (B,); returns those."""
        places = places[accepted]
        self.rows[places], self.objectives[places] = answer.rows[accepted], answer.objectives[accepted]
        return places


class Mixing:
    """The two ways in which individuals of a mixture improve; each changes the mixture.

    Args:
        alphabet: (d,) how many values each gene has.
        report: called after every batch of evaluations.
    """

    def __init__(
        self,
        evaluations: UniqueEvaluations,
        alphabet: NDArray,
        generator: np.random.Generator,
        variation: Variation,
        report: Callable[[], None],
    ) -> None:
        self.evaluations, self.alphabet, self.generator = evaluations, alphabet, generator
        self.variation, self.report = variation, report

    def mix(self, mixture: Mixture) -> NDArray:
        """Gene-pool optimal mixing; returns the mask (N,) of the individuals that changed.

        For each linkage set an individual takes the genes of a random member of its cluster, and is evaluated if this
        changes its row. It stays so if the result weakly dominates what was before, or the archive does not dominate
        it; in an extreme cluster if the one objective is not worse.
        """
        changed = np.zeros(len(mixture.rows), dtype=bool)
        before, archive = mixture.rows.copy(), self.evaluations.archive
        order = self._orders(mixture, len(before))
        places = self.generator.random(order.shape) * mixture.sizes[mixture.own][:, None]
        donors = mixture.members[mixture.starts[mixture.own][:, None] + places.astype(np.int64)]
        for step in range(order.shape[1]):
            given = self.variation.with_elite(before[donors[:, step]], mixture.objectives, archive, self.generator)
            sets = mixture.sets[mixture.own, order[:, step]]
            places, answer = self._asked(mixture, np.arange(len(before)), np.where(sets, given, mixture.rows))
            not_worse = ((answer.objectives <= mixture.objectives[places]) | mixture.ignored[places]).all(1)
            free = mixture.middle[places] & ~archive.dominated(answer.objectives)
            changed[mixture.take(places, answer, not_worse | free)] = True
            if self.evaluations.exhausted:
                break
        return changed

    def improve(self, mixture: Mixture, places: NDArray) -> None:
        """Forced improvement of the individuals at `places` (B,).

        Each takes the genes of one member of the archive, set after set, until the result dominates what was before or
        is a point that the archive did not hold and does now; in an extreme cluster until its one objective is better.
        One that has no success becomes that member, which is a random one; in an extreme cluster the best there is.
        """
        archive, mixed = self.evaluations.archive, mixture
        if not len(places) or not len(archive):
            return
        members = self.generator.integers(len(archive), size=len(places))
        best = archive.objectives.argmin(0)
        members = np.where(mixed.middle[places], members, best[mixed.extreme[places]])
        rows, objectives = archive.rows[members], archive.objectives[members]  # as they are now: the archive changes
        order = self._orders(mixed, len(places))
        left = np.arange(len(places))
        for step in range(order.shape[1]):
            at = places[left]
            trial = np.where(mixed.sets[mixed.own[at], order[left, step]], rows[left], mixed.rows[at])
            at, answer = self._asked(mixed, at, trial)
            old, ignored = mixed.objectives[at], mixed.ignored[at]
            dominates = ((answer.objectives <= old) | ignored).all(1) & ((answer.objectives < old) & ~ignored).any(1)
            done = mixed.take(at, answer, dominates | (mixed.middle[at] & answer.joined))
            left = left[~np.isin(places[left], done)]
            if self.evaluations.exhausted or not len(left):
                break
        mixed.rows[places[left]], mixed.objectives[places[left]] = rows[left], objectives[left]

    def _orders(self, mixture: Mixture, count: int) -> NDArray:
        """For each of `count` individuals the linkage sets in an order of its own, (count, S)."""
        return self.generator.random((count, mixture.sets.shape[1])).argsort(1)

    def _asked(self, mixture: Mixture, places: NDArray, trial: NDArray) -> tuple[NDArray, Answer]:
        """Asks for trial rows (B, d) of individuals at `places` (B,) where they differ; returns these places too."""
        current = mixture.rows if len(places) == len(mixture.rows) else mixture.rows[places]
        trial = self.variation.mutated(trial, current, self.alphabet, self.generator)
        trial = self.evaluations.canonical(trial)
        differs = np.flatnonzero((trial != current).any(1))
        places, answer = places[differs], self.evaluations.ask(trial[differs])
        count = len(mixture.new)
        mixture.new += np.bincount(mixture.population[places[answer.new]], minlength=count)
        mixture.joined += np.bincount(mixture.population[places[answer.joined]], minlength=count)
        self.report()
        return places, answer
