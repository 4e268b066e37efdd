"""Thresholds of a cascade, and the rule by which an image goes on.

The rule, here and in the live network: softmaxes are rounded to half precision; their mean over the members that have
run is computed exactly and rounded once to float32; an image **continues iff the largest mean <= threshold**.

A half-precision number in [0, 1] is a multiple of 2^-24. So sums of them are exact as integers in that unit, whatever
the order of the members, and the rule becomes a comparison of integers.
"""

from functools import lru_cache

import numpy as np

from src.errors import check_whole

UNIT = 2**24  # 1.0 as an integer
MOST_MEMBERS = 127  # whose sum of such integers fits into 32 bits


def as_integers(halves: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1] of float16 as int32 multiples of 2^-24, exactly."""
    return (halves.astype(np.float32) * np.float32(UNIT)).astype(np.int32)


def mean_as_float32(sums: np.ndarray, count: int) -> np.ndarray:
    """The mean of `count` such integers by their sum: float64 holds it to a relative 2^-53, then one rounding."""
    return (np.asarray(sums, dtype=np.float64) / (UNIT * count)).astype(np.float32)


class ThresholdGrid:
    """Thresholds i / (levels - 1): at index 0 every image exits, at the last none does.

    Args:
        levels: 51 in the released code.
    """

    def __init__(self, levels: int = 51) -> None:
        self.levels = check_whole("method.levels", levels, 2, 256)
        self.values = (np.arange(levels, dtype=np.float64) / (levels - 1)).astype(np.float32)

    def __repr__(self) -> str:
        return f"ThresholdGrid(levels={self.levels})"

    def __len__(self) -> int:
        return self.levels

    @lru_cache(maxsize=MOST_MEMBERS)  # noqa: B019  grids live as long as the process
    def cuts(self, count: int) -> np.ndarray:
        """The largest sum of `count` members, in units of 2^-24, that continues at each level: int32 (levels,)."""
        near = np.floor(self.values.astype(np.float64) * UNIT * count).astype(np.int64)
        # the rounding to float32 moves a mean by less than half a unit in the last place of 1.0, 2^-24
        sums = near[:, None] + np.arange(-count - 1, count + 2)
        stays = mean_as_float32(sums, count) <= self.values[:, None]
        return np.where(stays, sums, -1).max(1).clip(max=UNIT * count).astype(np.int32)
