"""Cascades of sub-nets as a space: rows and genotypes are each other's, and configs build what they say."""

import numpy as np
import pytest
import torch

from src.networks.cascade import Cascade
from src.runtime.build import network_from
from src.spaces.joint_space import JointSpace
from src.spaces.subnet_space import SubnetSpace
from tests.evolving import ELASTIC, SLIM


@pytest.fixture(scope="module")
def space() -> JointSpace:
    return JointSpace(["big", "slim"], [SubnetSpace(base, (1, 8, 8)) for base in (ELASTIC, SLIM)])


def test_rows_come_back_from_their_genotypes(space):
    """A candidate of a resumed search, or of a file, would else be another cascade."""
    rows = space.uniform(200, np.random.default_rng(0))
    assert np.array_equal(space.canonical(rows), rows)
    genotypes = [space.genotype(row) for row in rows]
    assert np.array_equal(space.rows(genotypes), rows)
    assert space.rows([]).shape == (0, len(space.alphabet))
    assert {own["members"][0]["supernet"] for own in genotypes} == {"big", "slim"}
    assert {round(10 * own["thresholds"][0]) for own in genotypes} == set(range(1, 11))


def test_a_config_builds_the_cascade_that_the_row_means(space):
    genotype = space.genotype(space.uniform(1, np.random.default_rng(3))[0])
    cascade = network_from(space.config(genotype))
    assert isinstance(cascade, Cascade)
    assert cascade.thresholds == pytest.approx(genotype["thresholds"])
    members = space.members_of(genotype)
    assert cascade.names == list(members)
    assert [name.partition("-")[0] for name in members] == [own["supernet"] for own in genotype["members"]]
    for network, member, macs in zip(cascade.members, members.values(), cascade.macs, strict=True):
        assert (macs, sum(p.numel() for p in network.parameters())) == space.member_costs(member)
    assert cascade.eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_macs_are_by_super_net_and_not_by_place(space):
    """The surrogate of costs takes them so."""
    rows = space.uniform(20, np.random.default_rng(1))
    macs = space.macs_of(rows)
    for row, own in zip(rows, macs.tolist(), strict=True):
        members = space.members_of(space.genotype(row)).values()
        named = {member.supernet: space.member_costs(member)[0] for member in members}
        assert own == [named[0], named[1]]
