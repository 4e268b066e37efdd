"""The width rule against trajectories worked out by hand, to the number."""

import itertools
import json
import random
from collections.abc import Callable

import pytest

from src.errors import UserError
from src.lowrank.width_controller import WidthState, update
from src.multiples import admissible_bounds

DELTA = 0.01


def trajectory(slope: Callable[[int], float], updates: int = 24, start: int = 32, **options) -> list[WidthState]:
    """States after each update; `slope` is a function of the width."""
    states = [WidthState(start)]
    for _ in range(updates):
        states.append(update(states[-1], slope(states[-1].width), condition=1.0, delta=DELTA, **options))
    return states[1:]


def widths(states: list[WidthState]) -> list[int]:
    return [state.width for state in states]


def test_steady_growth_reaches_the_cap_in_12_updates():
    states = trajectory(lambda width: DELTA)  # a slope equal to delta expands
    assert widths(states) == [38, 46, 56, 68, 82, 98, 118, 142, 170, 204, 244] + [256] * 13
    assert states[-1].factor == 0.2


@pytest.mark.parametrize(
    ("min_width", "expected", "factor"), [(16, [26, 20, 16] + [18] * 21, 0.05), (32, [38, 34, 32] + [34] * 21, 0.025)]
)
def test_no_growth_falls_to_the_minimum(min_width: int, expected: list[int], factor: float):
    states = trajectory(lambda width: 0.0, min_width=min_width)
    assert widths(states) == expected
    assert states[-1].factor == pytest.approx(factor)
    assert not states[-1].stopped


def test_strict_alternation_stops_at_the_7th_update():
    answers = itertools.cycle([1.0, 0.0])
    states = trajectory(lambda width: next(answers))
    assert widths(states) == [38, 34] + [36] * 22
    assert [state.stopped for state in states].index(True) == 6
    assert states[-1].factor == pytest.approx(0.003125)


@pytest.mark.parametrize(
    ("settled", "expected", "stops"),
    [
        (48, [38, 46, 56, 50, 44, 46, 48, 50] + [48] * 16, False),
        (100, [38, 46, 56, 68, 82, 98, 118, 106, 96, 100, 104, 102, 100] + [102] * 11, False),
        (200, [38, 46, 56, 68, 82, 98, 118, 142, 170, 204, 184, 194, 204, 198, 200, 202] + [200] * 8, True),
    ],
)
def test_width_settles_where_the_slope_crosses_delta(settled: int, expected: list[int], stops: bool):
    states = trajectory(lambda width: DELTA * settled / width)
    assert widths(states) == expected
    assert states[-1].stopped == stops


def test_stop_test_can_follow_the_halving():
    answers = itertools.cycle([1.0, 0.0])
    states = trajectory(lambda width: next(answers), stop_test_before_halving=False)
    assert [state.stopped for state in states].index(True) == 5


@pytest.mark.parametrize(("condition", "expected"), [(9.99, 120), (10.0, 80), (float("nan"), 120)])
def test_condition_at_its_limit_shrinks(condition: float, expected: int):
    assert update(WidthState(100), 1.0, condition, delta=DELTA).width == expected


def test_width_at_its_minimum_expands_and_above_its_maximum_shrinks():
    assert update(WidthState(16), 0.0, 99.0, delta=DELTA).previous == "expand"
    assert update(WidthState(300), 1.0, 1.0, delta=DELTA) == WidthState(240, 0.2, "shrink")


def test_unmeasured_trial_moves_nothing():
    state = WidthState(40, 0.1, "shrink")
    assert update(state, float("nan"), 1.0, delta=DELTA) == state


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("multiple", [2, 8, 32])
def test_properties_under_random_answers(seed: int, multiple: int):
    """Stop is final, the factor never grows, and widths stay admissible."""
    answer = random.Random(seed)
    state = WidthState(64)
    low, high = admissible_bounds(17, 250, multiple)
    for _ in range(60):
        after = update(
            state, answer.random(), answer.uniform(1, 12), delta=0.5, min_width=17, max_width=250, multiple=multiple
        )
        assert low <= after.width <= high
        assert after.width % multiple == 0
        assert after.factor <= state.factor
        assert after == state or not state.stopped
        state = after
    assert state.factor < 0.2


@pytest.mark.parametrize(("low", "high", "multiple"), [(64, 32, 2), (33, 63, 32), (0, 64, 2), (16, 64, 0)])
def test_empty_bounds_are_an_error(low: int, high: int, multiple: int):
    with pytest.raises(UserError, match=r"width|multiple"):
        update(WidthState(32), 1.0, 1.0, delta=DELTA, min_width=low, max_width=high, multiple=multiple)


def test_state_survives_json():
    state = WidthState(34, 0.025, "shrink")
    assert WidthState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"previous": "shrinks"}, "did you mean 'shrink'"),
        ({"widht": 3}, "did you mean 'width'"),
    ],
)
def test_damaged_state_is_an_error(change: dict, message: str):
    with pytest.raises(UserError, match=message):
        WidthState.from_dict(WidthState(34).to_dict() | change)
    with pytest.raises(UserError, match="lacks factor"):
        WidthState.from_dict({"width": 32, "previous": "none"})
