"""When an evolution trains which super-net, and when an archive is evaluated."""

import pytest

from src.errors import UserError
from src.methods.evolution_schedule import MOST_ITERATIONS, EvolutionSchedule


def test_two_super_nets_take_turns_in_each_iteration():
    """In another order a super-net would be evaluated on an archive that it was not trained on."""
    plan = EvolutionSchedule(2, 3, 1, 2, "restart")
    assert [plan.phase(epoch)[:2] for epoch in range(plan.total)] == [
        *[(-1, 0)] * 3,
        *[(-1, 1)] * 3,
        *[(0, 0)] * 2,
        *[(0, 1)] * 2,
        *[(1, 0)] * 2,
        *[(1, 1)] * 2,
    ]
    assert [plan.evaluated_by(epoch) for epoch in range(plan.total + 1)] == [0] * 10 + [1] * 4 + [2]
    assert [epoch for epoch in range(plan.total) if plan.restarts(epoch)] == [2, 5, 7, 9, 11]  # not after the last one
    assert [plan.schedule_epochs(epoch) for epoch in (0, 5, 6, 13)] == [3, 3, 2, 2]


def test_one_schedule_covers_all_iterations_but_not_the_warm_up():
    plan = EvolutionSchedule(1, 3, 4, 2, "whole")
    assert [epoch for epoch in range(plan.total) if plan.restarts(epoch)] == [2]
    assert [plan.schedule_epochs(epoch) for epoch in (0, 2, 3, 12)] == [3, 3, 10, 10]
    two = EvolutionSchedule(2, 3, 4, 2, "whole")
    assert [epoch for epoch in range(two.total) if two.restarts(epoch)] == [2, 5]
    assert [two.schedule_epochs(epoch) for epoch in (0, 5, 6, 25)] == [3, 3, 20, 20]


def test_weights_that_stay_are_evaluated_once_the_warm_up_is_over():
    """Else nothing would ever be evaluated, or it would be before anything was learnt."""
    plan = EvolutionSchedule(1, 2, 3, 0, "restart")
    assert (plan.total, [plan.evaluated_by(epoch) for epoch in range(3)]) == (2, [0, 0, 4])
    frozen = EvolutionSchedule(1, 0, 3, 0, "restart")
    assert (frozen.total, frozen.phases, frozen.evaluated_by(0), frozen.schedule_epochs(0)) == (0, [], 4, 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((1, -1, 2, 3, "restart"), "method.warmup_epochs=-1"),
        ((1, 0, 0, 3, "restart"), "method.iterations=0"),
        ((1, 0, MOST_ITERATIONS + 1, 3, "restart"), "method.iterations"),
        ((1, 0, 2, 3, "cosine"), "method.lr_schedule='cosine'"),
    ],
)
def test_what_is_refused(arguments, told):
    with pytest.raises(UserError, match=told):
        EvolutionSchedule(*arguments)
