"""What is known of the sub-nets in cascades, each alone."""

from collections.abc import Sequence

import numpy as np

from src.reporting.candidates import Candidate
from src.spaces.joint_space import JointSpace, Member


def net_errors(space: JointSpace, candidate: Candidate) -> list[float]:
    """Errors (K,), in percent, of the sub-nets of a cascade of all K, each alone, in the order of the super-nets."""
    return [candidate.extra[f"error_{name}"] for name in space.names]


def single_errors(space: JointSpace, candidates: Sequence[Candidate]) -> dict[Member, float]:
    """The errors, in percent, of all sub-nets in these cascades; of one that is a candidate by itself, its own."""
    found = {}
    for candidate in candidates:
        members = space.members_of(candidate.architecture).values()
        if len(members) == 1:
            found |= dict.fromkeys(members, candidate.error)
        else:
            errors = net_errors(space, candidate)
            found |= {member: errors[member.supernet] for member in members}
    return found


def single_fronts(space: JointSpace, errors: dict[Member, float]) -> dict[str, Member]:
    """Of each super-net the sub-nets, by name, of which no cheaper one of it has as small an error."""
    best, found = [np.inf] * len(space.spaces), {}
    for member in sorted(errors, key=lambda own: (space.member_costs(own)[0], errors[own], own)):
        if errors[member] < best[member.supernet]:
            best[member.supernet] = errors[member]
            found[space.name(member)] = member
    return found
