"""The budget of MACs, for any space."""

from types import SimpleNamespace

import pytest

from src.errors import UserError
from src.spaces.space import admissible_band

SPACE = SimpleNamespace(reachable=lambda: (1000, 5000))


@pytest.mark.parametrize(
    ("macs", "expected"),
    [
        ((None, None), (1000, 5000)),
        ((None, 2000.7), (1000, 2000)),
        ((1999.3, None), (2000, 5000)),
        ((0, 1e9), (1000, 5000)),
        ((5000, 9000), (5000, 5000)),
    ],
)
def test_the_band_is_cut_to_what_can_be_reached(macs, expected):
    """A fraction of a MAC must not let a candidate pass the budget."""
    assert admissible_band(SPACE, macs) == expected


@pytest.mark.parametrize(
    ("macs", "words"),
    [
        ((None, 999), "at most 999 MACs"),
        ((5001, None), "at least 5,001 MACs"),
        ((6000, 7000), "from 6,000 to 7,000 MACs"),
        ((2000.2, 2000.8), "from 2,000 to 2,001 MACs"),
    ],
)
def test_an_infeasible_budget_names_the_reachable_range(macs, words):
    with pytest.raises(UserError, match=f"{words}; those that it has reach from 1,000 to 5,000 MACs"):
        admissible_band(SPACE, macs)
