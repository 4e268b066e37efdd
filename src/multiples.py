"""Whole multiples: what a width is rounded to, and what is left of its bounds."""

import math

from src.errors import UserError, check_range


def round_to_multiple(value: float, multiple: int = 2) -> int:
    """The nearest multiple, ties to the even quotient (as Python's round): 37 -> 36, 39 -> 40 for multiple 2."""
    return multiple * round(value / multiple)


def admissible_bounds(min_width: int, max_width: int, multiple: int = 2) -> tuple[int, int]:
    """The smallest and largest multiple of `multiple` within [min_width, max_width]; `UserError` if there is none."""
    check_range("multiple", multiple, 1)
    check_range("min_width", min_width, 1)
    low = multiple * math.ceil(min_width / multiple)
    high = multiple * math.floor(max_width / multiple)
    if low > high:
        raise UserError(
            f"min_width={min_width} and max_width={max_width} leave no width that is a multiple of {multiple}; "
            f"max_width must be at least {low}"
        )
    return low, high
