"""Random sub-nets within a band of MACs: uniform draws that lie in it, and walks into it where hardly any does.

Rejection draws exactly from the uniform distribution within the band. Near the ends of a space it finds nothing: OFA's
sub-nets reach from 90 to 738 M MACs, and of a million uniform draws the cheapest has 108 M and the dearest 575 M. What
is missing after `_DRAWS` draws is therefore walked into the band: each walk starts at a uniform draw of its own, tries
random changes of one gene and takes those that come no farther from the band, sometimes a worse one too. Walks are
independent of each other, but their ends are not uniform in the band: most lie near its border. Walking is our own
choice.
"""

from typing import TYPE_CHECKING

import numpy as np

from src.errors import UserError

if TYPE_CHECKING:
    from src.spaces.subnet_space import SubnetSpace

_BATCH = 1 << 12
_DRAWS = 1 << 15
_WALKS, _STEPS = 256, 400  # at a time, and of each; the blocks of the largest space change some ten times
_ROUNDS = 4  # of walks that all miss, until the band is taken for empty
_WORSE = 0.02  # chance that a worse change is taken: out of ends where no single change helps


def within(space: "SubnetSpace", low: int, high: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Canonical rows (count, d) with `low` to `high` MACs, independent draws.

    Raises:
        UserError: none could be found; it names what the space reaches.
    """
    found, drawn = np.empty((0, len(space.alphabet)), dtype=np.int64), 0
    while len(found) < count and drawn < _DRAWS:
        rows = space.uniform(_BATCH, generator)
        drawn += len(rows)
        found = np.concatenate([found, rows[_distance(space, rows, low, high) == 0]])
    missed = 0
    while len(found) < count:
        walked = _walked(space, low, high, generator)
        missed += not len(walked)
        if missed == _ROUNDS:
            least, most = space.reachable()
            raise UserError(
                f"no sub-net was found with {low:,} to {high:,} MACs: there is none, or they are too few to be met at "
                f"random; the space reaches from {least:,} to {most:,} MACs"
            )
        found = np.concatenate([found, walked])
    return found[:count]


def _walked(space: "SubnetSpace", low: int, high: int, generator: np.random.Generator) -> np.ndarray:
    """The ends, in the band, of `_WALKS` walks."""
    rows = space.uniform(_WALKS, generator)
    distance = _distance(space, rows, low, high)
    for _ in range(_STEPS):
        if not distance.any():
            break
        genes = generator.integers(0, len(space.alphabet), size=_WALKS)
        changed = rows.copy()
        changed[np.arange(_WALKS), genes] = generator.integers(0, space.alphabet[genes])
        changed = space.canonical(changed)
        after = _distance(space, changed, low, high)
        taken = (distance > 0) & ((after <= distance) | (generator.random(_WALKS) < _WORSE))
        rows[taken], distance[taken] = changed[taken], after[taken]
    return rows[distance == 0]


def _distance(space: "SubnetSpace", rows: np.ndarray, low: int, high: int) -> np.ndarray:
    """MACs (N,) that rows lie above or below the band."""
    macs = space.macs_of(rows)
    return np.maximum(low - macs, 0) + np.maximum(macs - high, 0)
