"""Rounding and bounds of widths, shared by all that search widths."""

import pytest

from src.errors import UserError
from src.multiples import admissible_bounds, round_to_multiple


@pytest.mark.parametrize(
    ("value", "multiple", "expected"), [(37, 2, 36), (39, 2, 40), (38.4, 2, 38), (48, 32, 64), (80, 32, 64)]
)
def test_rounding_goes_to_the_even_quotient(value: float, multiple: int, expected: int):
    assert round_to_multiple(value, multiple) == expected


def test_bounds_move_inwards_to_multiples():
    assert admissible_bounds(17, 255, 32) == (32, 224)
    assert admissible_bounds(16, 256, 2) == (16, 256)


@pytest.mark.parametrize(("low", "high", "multiple"), [(64, 32, 2), (33, 63, 32), (0, 64, 2), (16, 64, 0)])
def test_empty_bounds_are_an_error(low: int, high: int, multiple: int):
    with pytest.raises(UserError, match=r"width|multiple"):
        admissible_bounds(low, high, multiple)
