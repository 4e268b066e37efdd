"""How one width moves between trials (CONet, arXiv 2108.06822, Algorithm 2, lines 3-14): a pure rule on plain values.

A width expands while its rank still grows fast and its mapping condition is low, and shrinks otherwise. The step is a
fraction of the width that is halved at every change of direction; once it is small, the next change stops the width.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from src.errors import UserError, check_choice, did_you_mean
from src.multiples import admissible_bounds, round_to_multiple

DIRECTIONS = {"none": 0, "expand": 1, "shrink": -1, "stop": 0}
INITIAL_FACTOR = 0.2


@dataclass(frozen=True)
class WidthState:
    """One width variable between two trials; plain values only, so that it goes into any checkpoint."""

    width: int
    factor: float = INITIAL_FACTOR  # phi: relative step
    previous: str = "none"  # last operation: none (before the first update), expand, shrink or stop

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "WidthState":
        """The state that `to_dict` gave; raises `UserError` on an unknown or missing entry."""
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(f"width state has no entry {name!r}; {did_you_mean(name, names)}")
        missing = [name for name in names if name not in values]
        if missing:
            raise UserError(f"width state lacks {', '.join(missing)}; it must hold {', '.join(names)}")
        check_choice("previous", values["previous"], DIRECTIONS)
        return cls(int(values["width"]), float(values["factor"]), str(values["previous"]))

    @property
    def stopped(self) -> bool:
        return self.previous == "stop"


def update(
    state: WidthState,
    slope: float,
    condition: float,
    *,
    delta: float = 0.0075,
    mapping_condition: float = 10.0,
    factor_min: float = 0.01,
    min_width: int = 16,
    max_width: int = 256,
    multiple: int = 2,
    stop_test_before_halving: bool = True,
) -> WidthState:
    """The state after one trial with the given rank average slope and mean mapping condition.

    Shrinks if slope < delta or condition >= mapping_condition (and the width is above its minimum), or if the width
    is above its maximum; expands otherwise, so a width at its minimum always expands, as published. A change of
    direction halves the factor, or stops the width for good if the factor was already below `factor_min` (before the
    halving, or after it). Widths are multiples of `multiple`; the bounds move inwards to such. A NaN slope (nothing
    could be measured) leaves the state as it is; a NaN condition alone is no reason to shrink. A width whose step is
    below half of `multiple` rounds back to itself: with multiple 32 and factor 0.2, the widths 32 and 64 never move.
    Raises `UserError` if no width is admissible.
    """
    low, high = admissible_bounds(min_width, max_width, multiple)
    if state.stopped or math.isnan(slope):
        return state
    width, factor = state.width, state.factor
    weak = slope < delta or condition >= mapping_condition
    operation = "shrink" if (weak and width > low) or width > high else "expand"
    if state.previous not in ("none", operation):
        halved = factor / 2
        if (factor if stop_test_before_halving else halved) < factor_min:
            operation = "stop"
        factor = halved
    scaled = round_to_multiple(width * (1 + factor * DIRECTIONS[operation]), multiple)
    return WidthState(min(max(scaled, low), high), factor, operation)
