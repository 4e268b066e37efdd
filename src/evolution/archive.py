"""The elitist archive of a search over rows: all that nothing found so far dominates (ENCAS, MO-GOMEA)."""

import numpy as np
from numpy.typing import NDArray

from src.evolution.dominance import covered, nondominated


class Archive:
    """Rows that none of the rows added so far dominates, with their objectives, all of them minimised.

    Of rows with equal objectives the first one stays. What is not finite never enters. Members are ordered by their
    objectives, so with two objectives each question is a binary search.

    Args:
        target: how many members there should be at most; None: no bound. (Its use in the original code: 10,000.)
        slack: with more than `slack` times `target` members the archive is thinned to about `target`: the ranges of the
            objectives are cut into as many equal parts as leave no more than `target` boxes with members, and of every
            box the first member stays, besides the best in each objective. (The original keeps on refusing what falls
            into a taken box, and prefers there, and among equal objectives, the row that is more unlike its
            neighbours; here boxes last for one thinning.) Fronts of two objectives hardly ever get there.

    Attributes:
        rows: int64 (F, d); objectives: float64 (F, n_obj).
    """

    def __init__(self, target: int | None = 10_000, slack: float = 1.25) -> None:
        self.target, self.slack = target, slack
        self.rows = np.empty((0, 0), dtype=np.int64)
        self.objectives = np.empty((0, 0))

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, rows: NDArray, objectives: NDArray) -> NDArray:
        """Takes in what is not dominated of rows (B, d) with objectives (B, n_obj); returns the mask (B,) of that.

        The archive is then what adding one row after the other makes of it.
        """
        entered = np.zeros(len(rows), dtype=bool)
        free = np.isfinite(objectives).all(1)
        free &= ~self._covered(objectives)
        places = np.flatnonzero(free)
        if not len(places):
            return entered
        if not len(self):
            self.rows, self.objectives = rows[:0].copy(), objectives[:0].astype(np.float64)
        together = np.concatenate([self.objectives, objectives[places]])
        kept = nondominated(together)
        entered[places[kept[kept >= len(self)] - len(self)]] = True
        self.rows = np.concatenate([self.rows, rows[places]])[kept]
        self._set_objectives(together[kept])
        if self.target is not None and len(self) > self.slack * self.target:
            self._thin()
        return entered

    def dominated(self, points: NDArray) -> NDArray:
        """Mask (B,) of the points (B, n_obj) that a member dominates; a point equal to a member is not."""
        if not len(self):
            return np.zeros(len(points), dtype=bool)
        if points.shape[1] == 2:
            place = self._first.searchsorted(points[:, 0], "right")
            least = self._second[place]
            return (least < points[:, 1]) | ((least == points[:, 1]) & (self._first_before[place] < points[:, 0]))
        found = covered(points, self.objectives)
        places = np.flatnonzero(found)
        equal = (points[places, None] == self.objectives[None]).all(2).any(1)
        found[places[equal]] = False
        return found

    def _covered(self, points: NDArray) -> NDArray:
        """Mask of the points that a member dominates or equals."""
        if not len(self):
            return np.zeros(len(points), dtype=bool)
        if points.shape[1] == 2:
            return self._second[self._first.searchsorted(points[:, 0], "right")] <= points[:, 1]
        return covered(points, self.objectives)

    def _set_objectives(self, objectives: NDArray) -> None:
        self.objectives = objectives
        if objectives.shape[1] == 2:  # the second falls while the first rises: the last one before a point is the least
            self._first = np.ascontiguousarray(objectives[:, 0])
            self._first_before = np.concatenate([[np.inf], self._first])  # the place before all dominates nothing
            self._second = np.concatenate([[np.inf], objectives[:, 1]])

    def _thin(self) -> None:
        low, high = self.objectives.min(0), self.objectives.max(0)
        shares = (self.objectives - low) / np.where(high > low, high - low, 1)

        def firsts(parts: int) -> NDArray:
            boxes = np.minimum((shares * parts).astype(np.int64), parts - 1)
            return np.unique(boxes, axis=0, return_index=True)[1]

        fewest, most = 1, len(self)  # `fewest` parts are few enough
        while most - fewest > 1:
            parts = (fewest + most) // 2
            fewest, most = (parts, most) if len(firsts(parts)) <= self.target else (fewest, parts)
        kept = np.unique(np.concatenate([firsts(fewest), self.objectives.argmin(0)]))
        self.rows = self.rows[kept]
        self._set_objectives(self.objectives[kept])
