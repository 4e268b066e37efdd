"""The greedy cascade of Streeter (Approximation Algorithms for Cascading Prediction Models, ICML 2018).

ENCAS compares itself with it; what is written here is reconstructed from how it describes that.

Its stages do not average: a member answers what it is sure of, which is where the gap between its two largest logits
is at least a threshold, and its answers are final. For a reference member r and a factor alpha, U being the samples
that nobody has answered yet: each unused member gets the smallest threshold at which its accuracy on the samples of U
that it answers is at least alpha times that of r; the member that answers most samples per cost comes next; until U is
empty.

Of the accuracy of r the sources at hand say only `acc(r)`. `compare` names the reading:
    "answered" (default)  r is judged on the same samples as the member. r itself can then always answer all that is
                          left, so that every cascade comes to an end within the rule.
    "all"                 r is judged once, on all samples. On the hard samples that remain no member may reach it.
                          Then r answers all that is left, or, where r had its turn, the last member does, at no cost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from src.cascades.thinning import front_indices
from src.errors import check_choice, check_range

ALPHAS = (1.0, 0.99, 0.98, 0.97, 0.96, 0.95)
_CELLS = 1 << 18  # members times samples looked at together
_SLACK = 1e-9  # of a product of a count and alpha: 0.95 * 20 is 19, whatever floats make of it


@dataclass(frozen=True)
class GapPlan:
    """Members (K distinct pool indices) in order; `gaps` (K - 1): member j answers where its logit gap >= gaps[j]."""

    members: tuple[int, ...]
    gaps: tuple[float, ...]


@dataclass(frozen=True)
class GreedyCascade:
    """A plan, what it came from, and its error (percent) and average cost on the samples that it was made from."""

    plan: GapPlan
    reference: int
    alpha: float
    error: float
    cost: float


class GreedySearch:
    """Makes greedy cascades of a pool: which samples each member gets right, its logit gaps (M, N), its costs (M,).

    Gaps are sorted once per member. Raises `ValueError` for shapes that do not fit, gaps that are NaN and costs that
    are not positive; `UserError` for an unknown `compare`.
    """

    def __init__(self, correct: np.ndarray, gaps: np.ndarray, costs: np.ndarray, compare: str = "answered") -> None:
        self.correct, self.gaps, self.costs = _checked(correct, gaps, costs)
        self.compare = check_choice("compare", compare, ("answered", "all"))
        self._by_cost = np.argsort(self.costs, kind="stable")
        # Of each member (by cost) its different gaps, from the largest to the smallest. The key of a sample holds the
        # place of its gap in them, a bit for the reference and one for the member being right: sorted, they tell all.
        self._levels = [-np.unique(-self.gaps[m]) for m in self._by_cost]
        pairs = zip(self._by_cost, self._levels, strict=True)
        places = np.stack([np.searchsorted(-levels, -self.gaps[m]) for m, levels in pairs])
        self._keys = (places << 2 | self.correct[self._by_cost]).astype(np.uint32)

    def cascade(self, reference: int, alpha: float) -> GapPlan:
        """The greedy cascade of a reference member and alpha (0 to 1); above 1 nothing could keep the promise."""
        check_range("alpha", alpha, low=0, high=1)
        left = np.arange(self.correct.shape[1])
        members: list[int] = []
        gaps: list[float] = []
        while len(left):
            found = self._next(left, members, reference, alpha)
            if found is None:  # only with compare="all"
                if reference not in members:
                    members.append(reference)
                    gaps.append(-np.inf)
                break
            member, gap = found
            members.append(member)
            gaps.append(gap)
            left = left[self.gaps[member, left] < gap]
        return GapPlan(tuple(members), tuple(gaps[:-1]))

    def _next(self, left: np.ndarray, used: list[int], reference: int, alpha: float) -> tuple[int, float] | None:
        """The unused member that answers most of `left` per cost, and its threshold; None where none may answer.

        Of equal ones the cheaper, then the first of the pool, wins. Members come by increasing cost, and as soon as one
        could not win if it answered everything, neither could those after it.
        """
        count = len(left)
        best, found = 0.0, None
        rows = np.flatnonzero(~np.isin(self._by_cost, used))
        size = max(_CELLS // count, 1)
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            if count / self.costs[self._by_cost[block[0]]] <= best:
                break
            answered, places = self._answered(block, left, reference, alpha)
            ratios = answered / self.costs[self._by_cost[block]]
            first = int(ratios.argmax())
            if ratios[first] > best:
                gap = self._levels[block[first]][places[first]]
                best, found = ratios[first], (int(self._by_cost[block[first]]), float(gap))
        return found

    def _answered(
        self, rows: np.ndarray, left: np.ndarray, reference: int, alpha: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """How many of `left` each member of `rows` (k,) may answer at most, and the place of its gap: (k,) both."""
        keys = self._keys.ravel().take(rows[:, None] * self._keys.shape[1] + left)
        keys |= self.correct[reference, left].astype(np.uint32) << 1
        keys.sort(axis=1)
        right = (keys & 1).cumsum(axis=1, dtype=np.int32)
        if self.compare == "answered":
            wanted = alpha * (keys >> 1 & 1).cumsum(axis=1, dtype=np.int32)
        else:
            wanted = alpha * self.correct[reference].mean() * np.arange(1, len(left) + 1)
        allowed = right >= wanted - _SLACK
        places = keys >> 2
        allowed[:, :-1] &= places[:, :-1] != places[:, 1:]  # samples of equal gap are answered all or none
        last = len(left) - 1 - allowed[:, ::-1].argmax(axis=1)
        return np.where(allowed.any(axis=1), last + 1, 0), places[np.arange(len(rows)), last]


def greedy_cascades(
    correct: np.ndarray,
    gaps: np.ndarray,
    costs: np.ndarray,
    alphas: Sequence[float] = ALPHAS,
    compare: str = "answered",
    report: Callable[[], None] | None = None,
) -> list[GreedyCascade]:
    """The cascades of all reference members and `alphas` that none of the others dominates, by increasing cost.

    `correct` (M, N) bool, `gaps` (M, N) float16, `costs` (M,). `report` is called after each reference member. For
    errors raised see `GreedySearch`.
    """
    search = GreedySearch(correct, gaps, costs, compare)
    found: dict[GapPlan, GreedyCascade] = {}
    for reference in range(len(search.costs)):
        for alpha in alphas:
            plan = search.cascade(reference, alpha)
            if plan not in found:
                error, cost, _ = evaluate_gap_cascade(plan, search.correct, search.gaps, search.costs)
                found[plan] = GreedyCascade(plan, reference, float(alpha), error, cost)
        if report is not None:
            report()
    cascades = list(found.values())
    front = front_indices(np.array([c.error for c in cascades]), np.array([c.cost for c in cascades]))
    return [cascades[i] for i in front]


def evaluate_gap_cascade(
    plan: GapPlan, correct: np.ndarray, gaps: np.ndarray, costs: np.ndarray
) -> tuple[float, float, np.ndarray]:
    """Error in percent, average cost, and how many samples reach each stage (K,) int64: of `plan` on any samples.

    `correct` and `gaps` are (M, N), `costs` (M,). The last member answers everything that is left.
    """
    left = np.arange(correct.shape[1])
    reached, right = [], 0
    for member, gap in zip(plan.members, (*plan.gaps, -np.inf), strict=True):
        reached.append(len(left))
        sure = gaps[member, left] >= gap
        right += int(correct[member, left[sure]].sum())
        left = left[~sure]
    counts = np.array(reached, dtype=np.int64)
    samples = correct.shape[1]
    cost = float((counts * np.asarray(costs, dtype=np.float64)[list(plan.members)]).sum() / samples)
    return 100 * (samples - right) / samples, cost, counts


def _checked(correct: np.ndarray, gaps: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    correct, gaps, costs = np.asarray(correct), np.asarray(gaps), np.asarray(costs, dtype=np.float64)
    if (
        correct.ndim != 2
        or correct.dtype != np.bool_
        or gaps.shape != correct.shape
        or costs.shape != correct.shape[:1]
    ):
        raise ValueError(
            f"correct {correct.dtype} {correct.shape}, gaps {gaps.shape} and costs {costs.shape} must be bool (M, N), "
            "(M, N) and (M,)"
        )
    if not correct.size:
        raise ValueError("a greedy cascade needs at least one member and one sample")
    if np.isnan(gaps).any():
        raise ValueError(f"member {int(np.isnan(gaps).any(axis=1).argmax())} has logit gaps that are not a number")
    if not (np.isfinite(costs) & (costs > 0)).all():
        raise ValueError("the cost of every member must be a positive number")
    return correct, gaps, costs
