"""The next archive of ENCAS-joint: MO-GOMEA on surrogates, or random cascades."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from src.errors import check_choice, check_flag, check_range, check_whole
from src.evolution.joint_proposals import propose_joint
from src.evolution.joint_surrogate import JointSurrogate
from src.evolution.known_front import beside_measured, with_known_front
from src.evolution.mo_gomea import mo_gomea
from src.evolution.new_rows import distinct, new_rows
from src.evolution.nsga2_rows import nsga2
from src.evolution.reference_survival import survivors
from src.evolution.variation import VARIED, Variation
from src.spaces.joint_space import JointSpace

KNOWN = ("measured", "predicted")
SEARCHERS = ("gomea", "nsga2", "random")


@dataclass(frozen=True)
class JointProposals:
    """How the next archive is found.

    Args:
        searcher: "gomea" (MO-GOMEA) or "nsga2", on what surrogates predict; "random": what is new is random.
        members: of each RBF ensemble.
        evaluations: predictions of an iteration.
        with_archive: whether the archive competes with what was found.
        start: whether the search begins with the archive (as NAT does), not from random rows alone.
        subsets: whether the ensembles over whole cascades take random subsets of their inputs, as published; of so few
            inputs hardly one can be spared.
        mutation, elite: of MO-GOMEA, see `Variation`; both 0: the published algorithm.
        known_errors: by which members of the archive compete: "measured" ones, and their front stays; or "predicted"
            ones (released code).
        survivors: the share of the archive that stays with random rows, and of that front at most.
    """

    searcher: str = "gomea"
    members: int = 500
    evaluations: int = 10_000
    with_archive: bool = True
    start: bool = True
    subsets: bool = False
    mutation: float = VARIED.mutation
    elite: float = VARIED.elite
    survivors: float = 0.5
    known_errors: str = "measured"

    def __post_init__(self) -> None:
        check_choice("method.searcher", self.searcher, SEARCHERS)
        check_whole("method.surrogate_members", self.members, 1)
        check_whole("method.surrogate_evaluations", self.evaluations, 1)
        check_flag("method.with_archive", self.with_archive)
        check_choice("method.known_errors", self.known_errors, KNOWN)
        check_flag("method.start_with_archive", self.start)
        check_flag("method.surrogate_subsets", self.subsets)
        check_range("method.mutation", self.mutation, 0, 1)
        check_range("method.elite", self.elite, 0, 1)
        check_range("method.survivors", self.survivors, 0, 1)

    def next_archive(
        self,
        space: JointSpace,
        rows: NDArray,
        net_errors: NDArray,
        values: NDArray,
        count: int,
        seed: int,
        check: Callable[[], None],
    ) -> tuple[NDArray, list[float]]:
        """The rows (count, d) of the next archive, and their predicted errors (none where nothing is predicted).

        Args:
            rows: the archive (n, d). net_errors: of its sub-nets (n, K). values: its errors and average MACs (n, 2).
            seed: of all draws.
            check: called now and then.
        """
        if self.searcher == "random":
            stay = min(round(self.survivors * count), len(rows))
            best = rows[survivors(values, stay, seed)] if stay else rows[:0]
            generator = np.random.default_rng(seed)
            more = new_rows(lambda: space.uniform(count, generator), count - len(best), best)
            return np.concatenate([best, more]), []
        macs = space.macs_of(rows)
        surrogate = JointSurrogate(space.layout, members=self.members, seed=seed, subsets=self.subsets)
        surrogate.fit(rows, net_errors, values[:, 0], macs, values[:, 1])
        gomea = partial(mo_gomea, variation=Variation(self.mutation, self.elite))
        found, _ = propose_joint(
            surrogate,
            [own.macs_of for own in space.spaces],
            [own.canonical for own in space.spaces],
            seed,
            self.evaluations,
            start=rows if self.start else None,
            count=count,
            search=nsga2 if self.searcher == "nsga2" else gomea,
            report=lambda _: check(),
        )
        candidates = np.concatenate([found, rows]) if self.with_archive else found
        candidates = distinct(candidates)
        predicted = surrogate.predict(candidates, space.macs_of(candidates))
        if self.known_errors == "measured":
            predicted, known = beside_measured(candidates, predicted, rows, values)
            chosen = with_known_front(predicted, known, round(self.survivors * count), count, seed)
        else:
            chosen = survivors(predicted, min(count, len(candidates)), seed)
        return candidates[chosen], predicted[chosen, 0].tolist()
