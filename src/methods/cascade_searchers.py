"""The searches for cascades that a config can choose from, behind one face: all count unique cascades, all can stop."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from src.cascades.evaluation import CascadeEvaluator
from src.cascades.exact import bytes_for, count_cascades, exact_front, seconds_for
from src.cascades.exact_ensembles import exact_ensembles
from src.cascades.genotype import alphabet, canonical, without_idle
from src.cascades.greedy import ALPHAS, greedy_cascades
from src.errors import UserError
from src.evolution.budget import UniqueEvaluations
from src.evolution.mo_gomea import mo_gomea
from src.evolution.nsga2_rows import nsga2
from src.evolution.random_rows import random_rows
from src.evolution.variation import Variation
from src.methods.cascade_measures import Architecture, answers, architectures_of, gap_architecture

BY_ROWS: dict[str, Callable[..., None]] = {"gomea": mo_gomea, "nsga2": nsga2, "random": random_rows}
SEARCHERS = ("auto", *BY_ROWS, "greedy", "exact")
_SECONDS = 10.0  # that looking at every cascade may take for "auto"
_AT_ONCE = 1.0  # and to compare another search with it
Known = tuple[np.ndarray, np.ndarray]


class CascadeSearcher:
    """One search for the front of error against `cost`.

    Args:
        evaluator: of the samples that the search sees.
        searcher: of `SEARCHERS`; "auto": "exact" where that takes seconds, else "gomea".
        cost: "macs", "latency" or "params".
        evaluations: budget of unique cascades, of a search by rows.
        seed: of all draws.
        ensemble: all members answer every sample: rows are K member numbers, in no order.
        known: rows and objectives of an earlier run that was stopped. The search goes through them without evaluating.
        check: called now and then; what it raises ends the search.
        variation: of MO-GOMEA, beyond the published algorithm.

    Attributes:
        done, total: cascades looked at, and how many there will be at most.
        best: error and cost of the lowest error so far; None before the first.
    """

    def __init__(
        self,
        evaluator: CascadeEvaluator,
        searcher: str,
        cost: str,
        evaluations: int,
        seed: int,
        ensemble: bool = False,
        known: Known | None = None,
        check: Callable[[], None] = lambda: None,
        variation: Variation | None = None,
    ) -> None:
        self.evaluator, self.cost, self.ensemble = evaluator, cost, ensemble
        self.budget, self.seed, self.known, self.check = evaluations, seed, known, check
        self.slots, self.levels = evaluator.slots, len(evaluator.grid)
        self.count = self._count()
        self.searcher = searcher if searcher != "auto" else "exact" if self._exact_within(_SECONDS) else "gomea"
        self.own = {"variation": variation} if self.searcher == "gomea" else {}
        self.done, self.total = 0, self._total()
        self.best: tuple[float, float] | None = None
        self._seen: list[Known] = []
        self._exact_rows: np.ndarray | None = None

    def _exact_within(self, seconds: float) -> bool:
        """Whether every cascade can be looked at within so many seconds, and the memory that tables may take."""
        if self.evaluator.repeats != "refuse":
            return False
        if self.ensemble:
            return 1.5e-8 * self.count * self.evaluator.pool.samples <= seconds
        sizes = self._sizes()
        return seconds_for(*sizes) <= seconds and bytes_for(*sizes) <= self.evaluator.memory

    def _sizes(self) -> tuple[int, int, int, int]:
        """Members, slots that can be filled, levels, samples."""
        pool = self.evaluator.pool
        return len(pool), min(self.slots, len(pool)), self.levels, pool.samples

    def _count(self) -> int:
        """All cascades, or ensembles, of different members."""
        members = len(self.evaluator.pool)
        if self.ensemble:
            return sum(math.comb(members, size) for size in range(1, self.slots + 1))
        return count_cascades(members, self.slots, self.levels)

    def _total(self) -> int:
        if self.searcher == "exact":
            return self.count
        if self.searcher == "greedy":
            return len(self.evaluator.pool) * len(ALPHAS)
        # one more of no member
        return self.budget if self.evaluator.repeats == "charge" else min(self.budget, self.count + 1)

    def front(self) -> list[Architecture]:
        """Searches; the cascades that no other one dominates, in no order."""
        names, grid = self.evaluator.pool.names, self.evaluator.grid
        if self.searcher == "greedy":
            return self._greedy()
        rows = self._exact() if self.searcher == "exact" else self._by_rows()
        rows = without_idle(rows, self.evaluator.counts(rows)[1], self.evaluator.repeats)
        return architectures_of(rows, names, grid, self.evaluator.repeats)

    def exact(self) -> list[tuple[float, float]] | None:
        """Error and cost of the exact front, where that takes seconds; the rule of greedy cascades is another one."""
        if self.searcher == "greedy" or (self.searcher != "exact" and not self._exact_within(_AT_ONCE)):
            return None
        rows = self._exact()
        return [tuple(point) for point in self.evaluator.objectives(rows, ("error", self.cost)).tolist()]

    def seen(self) -> Known | None:
        """Rows and objectives of all that was evaluated, to be `known` to the run that goes on; from any thread."""
        parts = ([self.known] if self.known is not None else []) + list(self._seen)
        return tuple(np.concatenate(values) for values in zip(*parts, strict=True)) if parts else None

    def _by_rows(self) -> np.ndarray:
        genes = alphabet(len(self.evaluator.pool), self.slots, self.levels)
        evaluations = UniqueEvaluations(self._evaluated, self.total, self._canonical, self.known)

        def report() -> None:
            self.check()
            self.done = evaluations.used

        genes = genes[: self.slots] if self.ensemble else genes
        BY_ROWS[self.searcher](evaluations, genes, self.seed, report=report, **self.own)
        self.done = evaluations.used
        return self._expanded(evaluations.archive.rows)

    def _canonical(self, rows: np.ndarray) -> np.ndarray:
        rows = canonical(self._expanded(rows), self.evaluator.repeats)
        return np.sort(rows[:, : self.slots])[:, ::-1] if self.ensemble else rows  # the order says nothing

    def _expanded(self, rows: np.ndarray) -> np.ndarray:
        """Whole rows (B, 2K - 1): of ensembles with thresholds at which nothing exits."""
        if not self.ensemble:
            return rows
        never = np.full((len(rows), self.slots - 1), self.levels - 1, dtype=rows.dtype)
        return np.concatenate([rows, never], axis=1)

    def _evaluated(self, rows: np.ndarray) -> np.ndarray:
        self.check()
        values = self.evaluator.objectives(self._expanded(rows), ("error", self.cost))
        self._seen.append((rows, values))
        self._note(values)
        self.done += len(rows)
        return values

    def _note(self, values: np.ndarray) -> None:
        if len(values):
            least = values[np.lexsort((values[:, 1], values[:, 0]))[0]]
            self.best = min(tuple(least.tolist()), self.best or (math.inf, math.inf))

    def _exact(self) -> np.ndarray:
        if self._exact_rows is not None:
            return self._exact_rows
        needed = bytes_for(*self._sizes())
        if not self.ensemble and needed > self.evaluator.memory:
            raise UserError(
                f"method.memory_gb={self.evaluator.memory / 2**30:.3g} is not allowed: method.searcher=exact takes "
                f"{needed / 2**30:.3g} for these members and slots"
            )

        def report(done: int) -> None:
            self.check()
            if self.searcher == "exact":
                self.done = done

        tables, costs = self.evaluator.tables, self.evaluator.pool.costs(self.cost)
        if self.ensemble:
            self._exact_rows = exact_ensembles(tables, costs, self.slots, report)[0]
        else:
            self._exact_rows = exact_front(tables, costs, self.slots, self.cost != "params", report)[0]
        return self._exact_rows

    def _greedy(self) -> list[Architecture]:
        pool = self.evaluator.pool

        def report() -> None:
            self.check()
            self.done += len(ALPHAS)

        found = greedy_cascades(*answers(pool), pool.costs(self.cost), report=report)
        return [gap_architecture(cascade.plan, pool.names) for cascade in found]


def check_together(searcher: str, ensemble: bool, cost: str, repeats: str) -> None:
    """Raises `UserError` for a searcher that cannot do what else is asked for."""
    if searcher == "exact" and repeats != "refuse":
        raise UserError("method.searcher=exact looks at cascades of different members: give method.repeats=refuse")
    if searcher == "greedy" and (ensemble or cost == "params"):
        told = "method.ensemble=true" if ensemble else "the objective params"
        raise UserError(f"method.searcher=greedy makes cascades by their average cost: it knows no {told}")


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the seconds that it took."""
    began = time.monotonic()
    return work(), time.monotonic() - began
