"""Fronts of single sub-nets, out of what is known of cascades."""

from types import SimpleNamespace

from src.methods.single_subnets import single_fronts
from src.spaces.joint_space import Member


def test_the_front_of_each_super_net_is_that_of_all_pairs():
    """A sub-net that one of another super-net beats stays: cascades need sub-nets of both."""
    costs = {(0, 1): 10, (0, 2): 20, (0, 3): 20, (0, 4): 30, (1, 1): 10, (1, 2): 40}
    errors = {(0, 1): 9.0, (0, 2): 7.0, (0, 3): 6.0, (0, 4): 6.0, (1, 1): 50.0, (1, 2): 49.0}
    space = SimpleNamespace(
        spaces=[None, None],
        member_costs=lambda member: (costs[(member.supernet, *member.row)], 0),
        name=lambda member: f"{member.supernet}-{member.row[0]}",
    )
    found = single_fronts(space, {Member(number, (gene,)): error for (number, gene), error in errors.items()})
    beaten = {
        own
        for own in errors
        for other in errors
        if own[0] == other[0]
        and (costs[other], errors[other]) != (costs[own], errors[own])
        and costs[other] <= costs[own]
        and errors[other] <= errors[own]
    }
    assert set(found) == {f"{number}-{gene}" for number, gene in set(errors) - beaten}
