"""Integer sums of half-precision numbers, against rounding written out."""

import numpy as np
import pytest

from src.cascades.thresholds import UNIT, ThresholdGrid, as_integers, mean_as_float32
from src.errors import UserError


def test_every_half_number_is_a_whole_multiple():
    halves = np.arange(0, 0x3C01, dtype=np.uint16).view(np.float16)  # all from 0 to 1
    np.testing.assert_array_equal(as_integers(halves).astype(np.float64) / UNIT, halves.astype(np.float64))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 127])
@pytest.mark.parametrize("levels", [2, 51, 100])
def test_cuts_are_the_rule_itself(count, levels):
    """One unit beside a cut the answer changes: else an image at a threshold goes another way than live."""
    grid = ThresholdGrid(levels)
    cuts = grid.cuts(count).astype(np.int64)
    assert (mean_as_float32(cuts, count) <= grid.values).all()
    inside = cuts < count * UNIT
    assert (mean_as_float32(cuts + 1, count) > grid.values)[inside].all()
    assert cuts[-1] == count * UNIT  # at the last level nothing exits


def test_levels_are_checked():
    with pytest.raises(UserError, match=r"method\.levels=1"):
        ThresholdGrid(1)
