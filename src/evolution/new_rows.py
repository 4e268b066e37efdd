"""Different rows, from draws that may repeat themselves."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from src.evolution.budget import keys

_PATIENCE = 10  # draws in a row that bring nothing new, until there is taken to be nothing


def new_rows(draw: Callable[[], NDArray], count: int, known: NDArray) -> NDArray:
    """Up to `count` different rows (n, d) that `draw` gives and that are not among `known` rows (m, d), as they come.

    Fewer where it brings nothing new any more.
    """
    seen, found, idle = set(keys(known)), known[:0], 0
    while len(found) < count and idle < _PATIENCE:
        drawn = draw()
        fresh = drawn[_first_places(keys(drawn), seen)]
        found, idle = np.concatenate([found, fresh]), 0 if len(fresh) else idle + 1
    return found[:count]


def distinct(rows: NDArray) -> NDArray:
    """The different ones of rows (n, d), in the order of their first places."""
    return rows[_first_places(keys(rows), set())]


def _first_places(names: Iterable[bytes], seen: set[bytes]) -> list[int]:
    """Where names stand that are not in `seen`, which takes them in."""
    return [place for place, name in enumerate(names) if not (name in seen or seen.add(name))]
