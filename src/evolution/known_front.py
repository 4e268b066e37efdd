"""Survival beside predictions: of what has been measured the front stays."""

import numpy as np
from numpy.typing import NDArray

from src.evolution.budget import keys
from src.evolution.dominance import nondominated
from src.evolution.reference_survival import survivors


def with_known_front(objectives: NDArray, known: NDArray, most: int, count: int, seed: int) -> NDArray:
    """Which `count` of n points stay: first the front of those that are known, then the best of all others.

    A search on a surrogate finds what is good by the surrogate's errors too. If only by objectives, one prediction that
    is too good would put out all that was measured.

    Args:
        objectives: (n, 2), the smaller the better: measured ones of what is known, predicted ones of the rest.
        known: (n,) bool.
        most: points of the front that stay for certain, at most; of a larger front `survivors` chooses.
        count, seed: as `survivors` has them.

    Returns:
        places int64 (min(count, n),), in increasing order.
    """
    places = np.flatnonzero(known)
    front = places[nondominated(objectives[places])] if len(places) else places
    certain = front[survivors(objectives[front], min(most, count, len(front)), seed)]
    others = np.setdiff1d(np.arange(len(objectives)), certain)
    rest = others[survivors(objectives[others], min(count - len(certain), len(others)), seed)]
    return np.sort(np.concatenate([certain, rest]))


def beside_measured(
    rows: NDArray, predicted: NDArray, known_rows: NDArray, measured: NDArray
) -> tuple[NDArray, NDArray]:
    """Objectives (n, 2) of rows (n, d), measured ones where they are known, else predicted; and which are known."""
    own, names = dict(zip(keys(known_rows), measured, strict=True)), keys(rows)
    objectives = [own.get(key, value) for key, value in zip(names, predicted, strict=True)]
    return np.array(objectives).reshape(predicted.shape), np.array([key in own for key in names], dtype=bool)
