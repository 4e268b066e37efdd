"""Sub-nets of a super-net as a search space: draws lie in their band, and configs build what the rows say."""

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.networks.elastic_mobile.subnet import Subnet
from src.runtime.build import network_from
from src.runtime.seeds import keyed_generator
from src.spaces.subnet_space import SubnetSpace

BASE = {"_target_": "src.networks.elastic_mobile.supernet.ElasticSupernet", "space": "tiny_images", "in_channels": 1}


@pytest.fixture(scope="module")
def space() -> SubnetSpace:
    return SubnetSpace(BASE, (1, 8, 8))


def test_the_space_is_that_of_its_super_net(space):
    assert space.start == space.genotype(space.largest) == network_from(BASE).largest
    assert (space.macs(space.genotype(space.smallest)), space.macs(space.start)) == space.reachable()
    assert len(space.genes) == len(space.alphabet) == 8
    two = SubnetSpace({**BASE, "widths": [1.0, 1.5]}, (1, 8, 8))
    assert two.alphabet[1] == 2
    genotype = two.genotype(two.uniform(1, np.random.default_rng(0))[0])
    assert sum(p.numel() for p in network_from(two.config(genotype)).parameters()) == two.params(genotype)


def test_configs_are_networks_of_their_own(space):
    genotype = space.sample(1, keyed_generator(0))[0]
    network = network_from(space.config(genotype))
    assert isinstance(network, Subnet)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == space.params(genotype)


def test_draws_hang_on_their_generator_alone_and_are_plain(space):
    global_state = torch.get_rng_state()
    first, again, other = (space.sample(4, keyed_generator(seed), (1e5, 2e5)) for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), global_state)
    assert {type(value) for value in (first[0]["resolution"], first[0]["kernels"][0][0])} == {int}
    assert np.array_equal(space.row(first[0]), space.canonical(space.row(first[0])[None])[0])


def test_draws_in_a_band_are_uniform_among_those_that_lie_in_it(space):
    """The mean of their MACs is that of uniform rows in the band, three deviations at most away."""
    macs = space.macs_of(space.uniform(40_000, np.random.default_rng(0)))
    low, high = np.quantile(macs, [0.3, 0.5])
    expected = macs[(macs >= low) & (macs <= high)]
    found = space.macs_of(space.within(2000, np.random.default_rng(1), (low, high)))
    assert low <= found.min()
    assert found.max() <= high
    assert abs(found.mean() - expected.mean()) < 3 * expected.std() / np.sqrt(2000)


def test_bands_are_met_where_no_uniform_draw_lies():
    """Both ends of OFA's space, which a million uniform draws come nowhere near."""
    space = SubnetSpace({**BASE, "space": "ofa_mobilenet_v3", "in_channels": 3}, (3, 32, 32))
    least, most = space.reachable()
    for low, high in ((None, 1.01 * least), (0.99 * most, None)):
        found = space.macs_of(np.array([space.row(one) for one in space.sample(3, keyed_generator(0), (low, high))]))
        assert (low or least) <= found.min()
        assert found.max() <= (high or most)


def test_what_cannot_be_met_is_told(space):
    least, most = space.reachable()
    with pytest.raises(UserError, match=f"no architecture of this search space.*from {least:,} to {most:,} MACs"):
        space.sample(1, keyed_generator(0), (2 * most, None))
    with pytest.raises(UserError, match=f"no sub-net was found.*reaches from {least:,} to {most:,} MACs"):
        space.sample(1, keyed_generator(0), (least + 1, least + 2))
    with pytest.raises(UserError, match=r"subnets are searched in a .*ElasticSupernet only.*gives a ResNet"):
        SubnetSpace({"_target_": "src.networks.resnet.resnet20"}, (3, 32, 32))
    with pytest.raises(UserError, match=r"model.in_channels=1: the images have 3 channels"):
        SubnetSpace(BASE, (3, 32, 32))
