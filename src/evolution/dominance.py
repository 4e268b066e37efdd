"""Pareto dominance of points, all objectives the smaller the better."""

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256  # points that are compared with all others at once, where there are more or fewer than two objectives


def nondominated(points: NDArray) -> NDArray:
    """Places (F,) of the points (B, n_obj) that no other one dominates, in lexicographic order of their objectives.

    Of equal points the first one stands for all. Two objectives take one sort, O(B log B); other numbers of them
    O(B F) comparisons.
    """
    order = np.lexsort(points.T[::-1])  # stable: of equal points the first stays first
    ordered = points[order]
    if points.shape[1] == 2:
        second = ordered[:, 1]
        kept = np.ones(len(order), dtype=bool)
        kept[1:] = second[1:] < np.minimum.accumulate(second)[:-1]
        return order[kept]
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):  # in this order no point dominates an earlier one
        block, points_there = order[start : start + _BLOCK], ordered[start : start + _BLOCK]
        alive = ~covered(points_there, points[kept])
        block, points_there = block[alive], points_there[alive]
        pairs = (points_there[:, None] <= points_there[None]).all(2)  # [i, j]: i is nowhere worse than j
        kept = np.concatenate([kept, block[~np.triu(pairs, 1).any(0)]])
    return kept


def covered(points: NDArray, front: NDArray) -> NDArray:
    """Mask (B,) of the points (B, n_obj) that some point of the front (F, n_obj) dominates or equals."""
    found = np.zeros(len(points), dtype=bool)
    for start in range(0, len(points), _BLOCK):
        block = slice(start, start + _BLOCK)
        found[block] = (front[:, None] <= points[None, block]).all(2).any(0)
    return found
