"""Problems over rows whose answer is known, and what is asked of them."""

import numpy as np

from src.evolution.budget import UniqueEvaluations

BLOCKS, BITS = 6, 5  # a row of traps: blocks of genes with two values, next to each other


def traps(rows: np.ndarray) -> np.ndarray:
    """Deceptive trap against its inverse, to be minimised: a block is worth nothing in both unless all or none is 1.

    The front: every block is full of ones or of zeros, BLOCKS + 1 points.
    """
    ones = rows.reshape(len(rows), BLOCKS, BITS).sum(2)
    trap = np.where(ones == BITS, BITS, BITS - 1 - ones).sum(1)
    inverse = np.where(ones == 0, BITS, ones - 1).sum(1)
    return -np.stack([trap, inverse], axis=1).astype(float)


TRAP_FRONT = {
    (-float(BITS * k + (BITS - 1) * (BLOCKS - k)), -float(BITS * (BLOCKS - k) + (BITS - 1) * k))
    for k in range(BLOCKS + 1)
}


def zeros_and_ones(rows: np.ndarray) -> np.ndarray:
    """Zeromax against onemax: every row is on the front, which has d + 1 points."""
    ones = rows.sum(1)
    return -np.stack([ones, rows.shape[1] - ones], axis=1).astype(float)


def synthetic(rows: np.ndarray) -> np.ndarray:
    """Two smooth, conflicting objectives of rows of whatever alphabet, cheap to compute."""
    weights = np.arange(1, rows.shape[1] + 1)
    return np.stack([((rows - 3) ** 2 * weights).sum(1), ((rows - 9) ** 2 * weights[::-1]).sum(1)], axis=1).astype(
        float
    )


class Recorded:
    """A function of rows that keeps all rows it was called with."""

    def __init__(self, function) -> None:
        self.function, self.batches = function, []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.batches.append(rows.copy())
        return self.function(rows)

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate(self.batches)


def points(evaluations: UniqueEvaluations) -> set[tuple[float, ...]]:
    """The objectives in the archive."""
    return set(map(tuple, evaluations.archive.objectives.tolist()))


def sorted_members(rows: np.ndarray) -> np.ndarray:
    """A canonical form: rows that differ in the order of their genes only mean the same."""
    return np.sort(rows, axis=1)
