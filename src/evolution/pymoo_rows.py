"""What pymoo needs to evolve rows of whole numbers: their canonical form, equality, and a ceiling for infinity."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.population import Population
from pymoo.core.repair import Repair

from src.evolution.budget import keys

WORST = 1e30  # in place of infinity, which would make distances between individuals NaN


def rows_of(population: Population) -> NDArray:
    """The rows int64 (B, d) of a population."""
    return np.asarray(population.get("X"), dtype=np.int64)


class Canonical(Repair):
    """Children become canonical rows: `canonical` takes rows int64 (B, d) and returns such."""

    def __init__(self, canonical: Callable[[NDArray], NDArray]) -> None:
        super().__init__()
        self.canonical = canonical

    def _do(self, problem, X, **kwargs):
        return self.canonical(X.astype(np.int64))


class Alike(DuplicateElimination):
    """Rows that are there already, exactly, told by a set in place of pymoo's distances between all pairs."""

    def _do(self, pop, other, is_duplicate):
        seen = set() if other is None else set(keys(rows_of(other)))
        for place, key in enumerate(keys(rows_of(pop))):
            is_duplicate[place] |= key in seen
            if other is None:
                seen.add(key)
        return is_duplicate
