"""All thresholds of a cascade at once.

Let b_j(n) be the first level at which sample n continues after stage j. Then n comes to stage j + 1 under the levels
(i_1, ..., i_j) iff b_1 <= i_1, ..., b_j <= i_j. So a histogram over (b_1, ..., b_j), summed up along each of its axes,
holds the counts for every combination of levels: O(N + levels^j) in place of O(N levels^j).
"""

import numpy as np


def cumulative(codes: np.ndarray, weights: np.ndarray, levels: int, stages: int) -> np.ndarray:
    """How many samples come through `stages` stages, for all levels: int32 (R, levels, ..., levels).

    Args:
        codes: int64 (N,) from `codes_of`.
        weights: bool (R, N): R selections of samples that are counted, each by itself.
        levels: of thresholds.
        stages: j, the number of axes.
    """
    cells = (levels + 1) ** stages
    found = np.empty((len(weights), cells), dtype=np.int32)
    for row, chosen in zip(found, weights, strict=True):
        row[:] = np.bincount(codes[chosen], minlength=cells)
    # the last bin of an axis holds those that continue at no level
    found = found.reshape(-1, *[levels + 1] * stages)[(slice(None), *[slice(levels)] * stages)]
    for axis in range(1, stages + 1):
        found = np.cumsum(found, axis=axis, dtype=np.int32)
    return found


def codes_of(prefix: np.ndarray | None, bins: np.ndarray, levels: int) -> np.ndarray:
    """One number for the bins of all stages so far: of those before, or None, and of the next one, int64 (N,)."""
    return bins if prefix is None else prefix * (levels + 1) + bins
