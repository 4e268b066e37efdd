"""The exact front of ensembles: every set of members, all of which answer every sample."""

import itertools
import math
from collections.abc import Callable

import numpy as np

from src.cascades.exact import ExactFront
from src.cascades.tables import SetTables
from src.errors import UserError

MOST_ENSEMBLES = 10**8
_TOGETHER = 256


def exact_ensembles(
    tables: SetTables, costs: np.ndarray, slots: int, report: Callable[[int], None] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The exact front of error against cost of the means of up to `slots` different members.

    Args:
        tables: of the pool, with at least `slots` slots.
        costs: of the members, float64 (M,); an ensemble costs their sum.
        report: called with the number of ensembles done.

    Returns:
        canonical rows (F, 2 slots - 1) whose thresholds never exit, errors (F,) as counts, and costs (F,).

    Raises:
        UserError: there are too many.
    """
    count = sum(math.comb(tables.members, size) for size in range(1, slots + 1))
    if count > MOST_ENSEMBLES:
        raise UserError(
            f"method.slots={slots} is not allowed with method.searcher=exact: {tables.members} members make "
            f"{count:.2g} ensembles, and at most {MOST_ENSEMBLES:.0g} are looked at; give fewer slots or members"
        )
    front, done = ExactFront(tables.samples, slots), 0
    for size in range(1, slots + 1):
        combinations = itertools.combinations(range(tables.members), size)
        while some := list(itertools.islice(combinations, _TOGETHER)):
            members = np.array(some)
            _, right = tables.bins_of(members)
            rows = np.zeros((len(members), 2 * slots - 1), dtype=np.int64)
            rows[:, :size], rows[:, slots : slots + size - 1] = members + 1, len(tables.grid) - 1
            front.add(tables.samples - right.sum(1), costs[members].sum(1), rows.__getitem__)
            done += len(members)
            if report is not None:
                report(done)
    return front.result()
