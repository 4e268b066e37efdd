"""Random sub-nets below a bound of MACs, as rows."""

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError
from src.evolution.new_rows import distinct, new_rows
from src.spaces.subnet_space import SubnetSpace


def distinct_rows(space: SubnetSpace, count: int, most: int, seed: int) -> NDArray:
    """`count` different rows within `most` MACs: the largest sub-net if that is, the smallest, and random ones.

    Fewer where no more are found.
    """
    generator = np.random.default_rng(seed)
    ends = np.stack([space.largest, space.smallest])
    ends = distinct(ends[space.macs_of(ends) <= most])
    more = new_rows(lambda: random_rows(space, 4 * count, most, generator), count - len(ends), ends)
    return np.concatenate([ends, more])[:count]


def random_rows(space: SubnetSpace, count: int, most: int, generator: np.random.Generator) -> NDArray:
    """Independent draws within `most` MACs, (count, d); none where hardly anything has so few."""
    if most >= space.reachable()[1]:
        return space.uniform(count, generator)
    try:
        return space.within(count, generator, (None, most))
    except UserError:
        return np.empty((0, len(space.alphabet)), dtype=np.int64)
