"""The archive of the next iteration: what a surrogate, or none, makes of the one that was evaluated."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError, check_choice, check_flag, check_range, check_whole
from src.evolution.budget import UniqueEvaluations
from src.evolution.known_front import beside_measured, with_known_front
from src.evolution.new_rows import distinct, new_rows
from src.evolution.nsga2_rows import nsga2
from src.evolution.nsga3_rows import nsga3, survivors
from src.evolution.offspring import offspring
from src.evolution.rbf_ensemble import RBFEnsemble
from src.methods.subnet_draws import random_rows
from src.spaces.subnet_space import SubnetSpace

SEARCHERS = ("nsga3", "nsga2", "random")
SURROGATES = ("rbf_ensemble", "none")
KNOWN = ("measured", "predicted")


@dataclass(frozen=True)
class Proposals:
    """How the next archive is found.

    Args:
        searcher: "nsga3" or "nsga2", on what the surrogate predicts and exact MACs; "random": new rows are random.
        surrogate: "none": what is new comes of the archive by crossover and mutation.
        evaluations: predictions of the surrogate in an iteration.
        population, crossover, mutation, eta: of the evolution (section 1.6); eta not of "nsga2".
        members: of the RBF ensemble.
        with_archive: whether the archive competes with what was found (the flag add_archive_to_candidates).
        known_errors: by which members of the archive compete: "measured" ones, and their front stays; or "predicted"
            ones (released code).
        survivors: the share of the archive that stays without surrogate or with random rows, and of that front at most.
    """

    searcher: str = "nsga3"
    surrogate: str = "rbf_ensemble"
    evaluations: int = 10_000
    population: int = 100
    crossover: float = 0.9
    mutation: float = 0.1
    eta: float = 1.0
    members: int = 500
    with_archive: bool = True
    survivors: float = 0.5
    known_errors: str = "measured"

    def __post_init__(self) -> None:
        check_choice("method.searcher", self.searcher, SEARCHERS)
        check_choice("method.surrogate", self.surrogate, SURROGATES)
        check_whole("method.surrogate_evaluations", self.evaluations, 1)
        check_whole("method.population", self.population, 4)
        check_range("method.crossover", self.crossover, 0, 1)
        check_range("method.mutation", self.mutation, 0, 1)
        check_range("method.mutation_eta", self.eta, 0)
        check_whole("method.surrogate_members", self.members, 1)
        check_flag("method.with_archive", self.with_archive)
        check_choice("method.known_errors", self.known_errors, KNOWN)
        check_range("method.survivors", self.survivors, 0, 1)

    @property
    def models(self) -> bool:
        """Whether a surrogate is fitted."""
        return self.surrogate != "none" and self.searcher != "random"

    def next_archive(
        self,
        space: SubnetSpace,
        rows: NDArray,
        errors: NDArray,
        count: int,
        most: int,
        seed: int,
        anew: bool = False,
        report: Callable[[], None] | None = None,
    ) -> tuple[NDArray, list[float]]:
        """The rows (count, d) of the next archive, and their predicted errors (none without surrogate).

        Args:
            rows, errors: of the archive (n, d) and (n,), percent; what is not finite takes no part.
            most: MACs of a row at most.
            anew: whether no row of the archive may come again, because nothing would be new about it.
        """
        kept = np.isfinite(errors)
        rows, errors = rows[kept], errors[kept]
        if len(rows) < 3:
            raise UserError("too few sub-nets have an error that is a number: a smaller optimizer.lr may help")
        if self.models:
            return self._predicted(space, rows, errors, count, most, seed, anew, report)
        objectives = np.stack([errors, space.macs_of(rows)], axis=1)
        stay = 0 if anew else min(round(self.survivors * count), len(rows))
        best = rows[survivors(objectives, stay, seed)] if stay else rows[:0]
        new = self._new_rows(space, rows, objectives, count - len(best), most, seed)
        return np.concatenate([best, new]), []

    def _new_rows(self, space, rows: NDArray, objectives: NDArray, count: int, most: int, seed: int) -> NDArray:
        """Up to `count` different rows that the archive has not: random ones, or its children."""
        generator = np.random.default_rng(seed)

        def draw() -> NDArray:
            if self.searcher == "random":
                return random_rows(space, 4 * count, most, generator)
            own = int(generator.integers(2**62))
            variation = (self.crossover, self.mutation, self.eta)
            drawn = offspring(rows, objectives, 2 * count, space.alphabet, own, space.canonical, *variation)
            return drawn[space.macs_of(drawn) <= most]

        return new_rows(draw, count, rows)

    def _predicted(self, space, rows, errors, count, most, seed, anew, report) -> tuple[NDArray, list[float]]:
        ensemble = RBFEnsemble(space.alphabet, members=self.members, seed=seed).fit(rows, errors)

        def objectives(asked: NDArray) -> NDArray:
            macs = space.macs_of(asked)
            excess = np.maximum(macs - most, 0) / most  # beyond the bound nothing is better than within
            return np.stack([ensemble.predict(asked) + np.where(excess > 0, 1e3 * (1 + excess), 0), macs], axis=1)

        asked = UniqueEvaluations(objectives, self.evaluations, space.canonical)
        found = self._evolved(asked, space, rows, seed, report)
        if anew:
            candidates = distinct(np.concatenate([rows, found, asked.rows]))[len(rows) :]
        else:
            candidates = distinct(np.concatenate([found, rows]) if self.with_archive else found)
        candidates = candidates[space.macs_of(candidates) <= most]
        values = objectives(candidates)
        if self.known_errors == "measured":
            measured = np.stack([errors, space.macs_of(rows)], axis=1)
            values, known = beside_measured(candidates, values, rows, measured)
            chosen = with_known_front(values, known, round(self.survivors * count), count, seed)
        else:
            chosen = survivors(values, min(count, len(candidates)), seed)
        return candidates[chosen], values[chosen, 0].tolist()

    def _evolved(self, asked: UniqueEvaluations, space, rows: NDArray, seed: int, report) -> NDArray:
        """What the search finds, begun from the archive: NSGA-III's last population, NSGA-II's first fronts."""
        if self.searcher == "nsga3":
            return nsga3(
                asked,
                space.alphabet,
                seed,
                rows,
                space.canonical,
                self.population,
                self.evaluations,
                self.crossover,
                self.mutation,
                self.eta,
                lambda _: report() if report else None,
            )
        nsga2(asked, space.alphabet, seed, self.population, self.crossover, self.mutation, first=rows, report=report)
        return asked.rows[survivors(asked.objectives, min(self.population, asked.used), seed)]
