"""The exact front of short cascades: every ordered choice of members under every combination of thresholds.

Possible because a whole grid of thresholds is one histogram (`src.cascades.grids`): 18 members, up to three in a
cascade and 51 thresholds are 13 million cascades, and a matter of a second. So other searches can be measured against
the truth.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from src.cascades.grids import codes_of, cumulative
from src.cascades.tables import SetTables
from src.errors import UserError

MOST_CASCADES = 3 * 10**10  # that are looked at; a core does 3 to 15 times 10^7 a second


@dataclass
class ExactFront:
    """The best cascades seen so far: of each number of errors the cheapest, where no one with fewer errors is cheaper.

    Args:
        samples: N.
        slots: K of the rows.
    """

    samples: int
    slots: int
    cheapest: np.ndarray = field(init=False)  # (N + 1,): of all cascades with at most so many errors
    rows: dict[int, np.ndarray] = field(init=False, default_factory=dict)
    costs: dict[int, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.cheapest = np.full(self.samples + 1, np.inf)

    def add(self, errors: np.ndarray, costs: np.ndarray, row_of: Callable[[int], np.ndarray]) -> None:
        """Takes what is better of cascades (B,); `row_of` gives the row of one of them by its index."""
        better = np.flatnonzero(costs < self.cheapest[errors])
        if not len(better):
            return
        order = better[np.lexsort((better, costs[better], errors[better]))]
        for index in order:
            wrong, cost = int(errors[index]), float(costs[index])
            if cost < self.cheapest[wrong]:
                self.rows[wrong], self.costs[wrong] = row_of(int(index)), cost
                dearer = wrong + np.searchsorted(-self.cheapest[wrong:], -cost)  # from here on others are as cheap
                self.cheapest[wrong:dearer] = cost

    def result(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows (F, 2K - 1), errors (F,) and costs (F,) of the front, from the dearest to the cheapest."""
        kept = [wrong for wrong in sorted(self.rows) if self.costs[wrong] == self.cheapest[wrong]]
        kept = [wrong for wrong in kept if wrong == 0 or self.cheapest[wrong - 1] > self.cheapest[wrong]]
        rows = np.array([self.rows[wrong] for wrong in kept], dtype=np.int64).reshape(len(kept), 2 * self.slots - 1)
        return rows, np.array(kept, dtype=np.int64), np.array([self.costs[wrong] for wrong in kept])


def count_cascades(members: int, slots: int, levels: int) -> int:
    """Cascades of up to `slots` different members with all their thresholds."""
    return sum(math.perm(members, length) * levels ** (length - 1) for length in range(1, slots + 1))


def seconds_for(members: int, slots: int, levels: int, samples: int) -> float:
    """About how long a core takes: 30 ns a cascade, or less, and 15 ns a sample for each choice of members."""
    choices = sum(math.perm(members, length) for length in range(1, slots + 1))
    return 3e-8 * count_cascades(members, slots, levels) + 1.5e-8 * choices * samples


def bytes_for(members: int, slots: int, levels: int, samples: int) -> int:
    """Memory that it takes: two bytes a sample for each set of members, and some grids of thresholds."""
    sets = sum(math.comb(members, size) for size in range(1, slots + 1))
    return 2 * samples * sets + 32 * members * levels ** (slots - 1)


def check_count(members: int, slots: int, levels: int) -> None:
    """Raises `UserError` where there are too many cascades to look at all of them."""
    count = count_cascades(members, slots, levels)
    if count > MOST_CASCADES:
        raise UserError(
            f"method.slots={slots} is not allowed with method.searcher=exact: {members} members with {levels} "
            f"thresholds make {count:.2g} cascades, and at most {MOST_CASCADES:.0g} are looked at; give fewer slots, "
            "members or levels"
        )


def exact_front(
    tables: SetTables,
    costs: np.ndarray,
    slots: int,
    averaged: bool = True,
    report: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The exact front of error against cost of cascades with up to `slots` different members.

    Args:
        tables: of the pool, with at least `slots` slots.
        costs: of the members, float64 (M,).
        averaged: a member costs only the samples that it sees (MACs, latency), or always (parameters).
        report: called with the number of cascades done.

    Returns:
        canonical rows (F, 2 slots - 1), errors (F,) as counts, and costs (F,).

    Raises:
        UserError: there are too many.
    """
    members = tables.members
    check_count(members, slots, len(tables.grid))
    sets = _Sets(tables, slots)
    front = ExactFront(tables.samples, slots)
    done = 0
    for prefix in _prefixes(members, slots):
        done += _extended(prefix, sets, costs, averaged, front)
        if report is not None:
            report(done)
    return front.result()


class _Sets:
    """Bins and right answers of all sets of up to K members."""

    def __init__(self, tables: SetTables, slots: int) -> None:
        self.levels, self.samples, self.members = len(tables.grid), tables.samples, tables.members
        self.found = {}
        for size in range(1, slots + 1):
            combinations = list(itertools.combinations(range(tables.members), size))
            for low in range(0, len(combinations), 64):
                some = combinations[low : low + 64]
                bins, right = tables.bins_of(np.array(some))
                # one array a set: a view would keep the block, eight times as large, alive
                self.found |= {key: (bins[i].astype(np.uint8), right[i].copy()) for i, key in enumerate(some)}

    def __getitem__(self, members: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        return self.found[tuple(sorted(members))]


def _prefixes(members: int, slots: int) -> Iterator[tuple[int, ...]]:
    """All ordered choices of 0 to K - 1 members, to which one more is added."""
    for length in range(min(slots, members)):
        yield from itertools.permutations(range(members), length)


def _extended(prefix: tuple[int, ...], sets: _Sets, costs: np.ndarray, averaged: bool, front: ExactFront) -> int:
    """Adds each cascade of `prefix` and one more member, under all levels; returns how many they were."""
    levels, samples, stages = sets.levels, sets.samples, len(prefix)
    last = [member for member in range(sets.members) if member not in prefix]
    right = np.stack([sets[(*prefix, member)][1] for member in last])
    if not prefix:
        errors, cost = samples - right.sum(1), costs[last]
    else:
        answered, cost, codes = _along(prefix, sets, costs, averaged)
        # every sample has one code, so the counts of those that reach the last stage are those of all weights
        reaching = cumulative(codes, np.ones((1, samples), dtype=bool), levels, stages)
        errors = samples - answered - cumulative(codes, right, levels, stages)
        share = reaching / samples if averaged else np.ones_like(reaching)
        cost = cost + costs[last].reshape(-1, *[1] * stages) * share
    shape = errors.shape

    def row_of(index: int) -> np.ndarray:
        which, *chosen = np.unravel_index(index, shape)
        row = np.zeros(2 * front.slots - 1, dtype=np.int64)
        row[: stages + 1] = np.array([*prefix, last[which]]) + 1
        row[front.slots : front.slots + stages] = chosen
        return row

    front.add(errors.ravel(), cost.ravel(), row_of)
    return errors.size


def _along(prefix: tuple[int, ...], sets: _Sets, costs: np.ndarray, averaged: bool):
    """Right answers given within `prefix` and its cost, for all its levels, and the samples' codes after it."""
    levels, stages = sets.levels, len(prefix)
    answered, cost, codes = np.zeros((), np.int32), np.float64(costs[prefix[0]]), None
    for stage, _ in enumerate(prefix, 1):
        bins, right = sets[prefix[:stage]]
        before = right.sum() if codes is None else cumulative(codes, right[None], levels, stage - 1)[0][..., None]
        codes = codes_of(codes, bins.astype(np.int64), levels)
        answered = np.asarray(answered)[..., None] + before - cumulative(codes, right[None], levels, stage)[0]
        if stage < stages:
            share = cumulative(codes, np.ones((1, sets.samples), bool), levels, stage)[0] / sets.samples
            cost = np.asarray(cost)[..., None] + costs[prefix[stage]] * (share if averaged else 1)
    cost = np.broadcast_to(np.asarray(cost)[..., None], [levels] * stages)
    return answered, cost, codes
