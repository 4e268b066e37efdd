"""Random sub-nets within a band of MACs: uniform draws that lie in it, and walks into it where hardly any does.

Rejection draws exactly from the uniform distribution within the band. Of a thin band near an end of the space it finds
nothing: of OFA's sub-nets less than one in a million has half the MACs of the average one. What is missing after
`_DRAWS` draws is therefore walked into the band: each walk starts at a fresh uniform draw, tries random changes of one
gene and takes those that come no farther from the band. Walks are independent, but their ends are not uniform: they lie
near the border of the band that uniform draws come from. That is our own choice.
"""

from typing import TYPE_CHECKING

import numpy as np

from src.errors import UserError

if TYPE_CHECKING:
    from src.spaces.subnet_space import SubnetSpace

_BATCH = 1 << 12
_DRAWS = 1 << 17
_STEPS = 2_000  # of a walk; from end to end of the largest space some hundred are enough
_WALKS = 8  # times that what is missing is walked anew


def within(space: "SubnetSpace", low: int, high: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Canonical rows (count, d) with `low` to `high` MACs, independent draws.

    Raises:
        UserError: none could be found; it names what the space reaches.
    """
    found, drawn = [], 0
    while sum(map(len, found)) < count and drawn < _DRAWS:
        rows = space.uniform(_BATCH, generator)
        drawn += len(rows)
        found.append(rows[_distance(space, rows, low, high) == 0])
    for _ in range(_WALKS):
        missing = count - sum(map(len, found))
        if missing <= 0:
            return np.concatenate(found)[:count]
        found.append(_walked(space, low, high, missing, generator))
    least, most = space.reachable()
    raise UserError(
        f"no sub-net was found with {low:,} to {high:,} MACs: there is none, or they are too few to be met at random; "
        f"the space reaches from {least:,} to {most:,} MACs"
    )


def _walked(space: "SubnetSpace", low: int, high: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Ends, in the band, of up to `count` walks."""
    rows = space.uniform(count, generator)
    distance = _distance(space, rows, low, high)
    for _ in range(_STEPS):
        if not distance.any():
            break
        genes = generator.integers(0, len(space.alphabet), size=count)
        changed = rows.copy()
        changed[np.arange(count), genes] = generator.integers(0, space.alphabet[genes])
        changed = space.canonical(changed)
        after = _distance(space, changed, low, high)
        better = (after <= distance) & (distance > 0)
        rows[better], distance[better] = changed[better], after[better]
    return rows[distance == 0]


def _distance(space: "SubnetSpace", rows: np.ndarray, low: int, high: int) -> np.ndarray:
    """MACs (N,) that rows lie above or below the band."""
    macs = space.macs_of(rows)
    return np.maximum(low - macs, 0) + np.maximum(macs - high, 0)
