"""Elastic super-nets: sub-nets within them, and taken out of them."""

import random

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.networks.elastic_mobile.blocks import resized
from src.networks.elastic_mobile.kernels import shrunk
from src.networks.elastic_mobile.macro import check_genotype, largest, macro_of, smallest
from src.networks.elastic_mobile.supernet import ElasticSupernet
from src.runtime.build import network_from
from tests.networks.elastic import SPACES, lived_in, random_genotype


@pytest.fixture(scope="module", params=SPACES)
def supernet(request) -> ElasticSupernet:
    torch.manual_seed(0)
    return lived_in(ElasticSupernet(SPACES[request.param], num_classes=5)).eval()


@pytest.fixture
def tiny() -> ElasticSupernet:
    torch.manual_seed(0)
    return lived_in(ElasticSupernet("tiny_images", num_classes=5, in_channels=1))


@torch.no_grad()
def test_a_subnet_computes_outside_what_it_computes_inside(supernet):
    """A slice, a shortcut or a kernel taken otherwise in one of both would give another network than was evaluated."""
    images = torch.randn(2, 3, 26, 26)
    generator = random.Random(1)
    genotypes = [largest(supernet.macro), smallest(supernet.macro)]
    outputs = []
    for genotype in genotypes + [random_genotype(supernet.macro, generator) for _ in range(2)]:
        subnet = supernet.extracted(genotype)
        outputs.append(supernet(images, genotype))
        assert not subnet.training
        torch.testing.assert_close(subnet(images), outputs[-1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(supernet(images), outputs[0])
    assert not torch.allclose(outputs[0], outputs[1])


def test_the_graph_counts_a_subnet(supernet):
    """Tables and budgets hold the MACs of the graph: those of the resized images, with every layer known."""
    subnet = supernet.extracted(random_genotype(supernet.macro, random.Random(2)))
    graph = channel_graph(subnet, (3, 40, 40))
    with FlopCounterMode(display=False) as counter:
        subnet(torch.zeros(1, 3, 40, 40))
    assert int(cost_polynomial(graph).macs(graph.widths())) == counter.get_total_flops() // 2


def test_what_does_not_run_gets_no_gradient_and_no_statistics(tiny):
    """Weights of other sub-nets must stay as they are, or every step would move all of the super-net."""
    genotype = smallest(tiny.macro)
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    tiny.train()(torch.randn(4, 1, 8, 8), genotype).sum().backward()
    stage = tiny.networks[0].stages[1]
    assert all(parameter.grad is None for block in stage[1:] for parameter in block.parameters())
    middle = tiny.macro.middle(24, 2)
    norm, name = stage[0].expand.bn, "networks.0.stages.1.0.expand.bn.running_mean"
    assert norm.weight.grad[:middle].all()
    assert not norm.weight.grad[middle:].any()
    moved = norm.running_mean != before[name]
    assert moved[:middle].all()
    assert not moved[middle:].any()
    assert norm.num_batches_tracked == 1


def test_training_inside_is_training_outside(tiny):
    """The shared statistics must be updated as those of a network of its own are."""
    genotype = random_genotype(tiny.macro, random.Random(3))
    subnet = tiny.extracted(genotype).train()
    images = torch.randn(6, 1, 8, 8)
    torch.testing.assert_close(tiny.train()(images, genotype), subnet(images))
    torch.testing.assert_close(tiny.extracted(genotype).state_dict(), subnet.state_dict())


def test_kernels_shrink_step_by_step():
    """Against a loop over channels: a transposed matrix or a centre off by one would still train, as another space."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 1, 7, 7, generator=generator)
    matrices = {"7to5": torch.randn(25, 25, generator=generator), "5to3": torch.randn(9, 9, generator=generator)}
    expected = torch.zeros(3, 1, 3, 3)
    for channel in range(3):
        five = (matrices["7to5"] @ weight[channel, 0, 1:6, 1:6].flatten()).view(5, 5)
        expected[channel, 0] = (matrices["5to3"] @ five[1:4, 1:4].flatten()).view(3, 3)
    torch.testing.assert_close(shrunk(weight, 3, (3, 5, 7), matrices), expected)
    assert shrunk(weight, 7, (3, 5, 7), matrices) is weight
    torch.testing.assert_close(shrunk(weight, 3, (3, 5, 7), None), weight[..., 2:5, 2:5])


def test_images_of_the_right_size_stay_as_they_are():
    """The super-net leaves them out of the interpolation, the sub-net does not."""
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(resized(images, 8), images)


def test_a_fresh_subnet_with_loaded_weights_is_the_extracted_one(tiny):
    """`architecture.yaml` and `weights.pt` are all that is kept of a sub-net."""
    genotype = largest(tiny.macro)
    again = network_from(tiny.subnet_config(genotype))
    again.load_state_dict(tiny.extracted(genotype).state_dict())
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(again.eval()(images), tiny.eval()(images))
    deviations = [m.weight.std() for m in ElasticSupernet("tiny_images").modules() if isinstance(m, nn.Conv2d)]
    assert all(0 < deviation < 2 for deviation in deviations)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ofa_mobilenet", "did you mean 'ofa_mobilenet_v3'"),
        ({"resolutions": [32]}, "model.space.multipliers is missing"),
        ({"family": "alphanet", "stem": [16]}, "model.space.stem is not known; did you mean 'stems'"),
        ({"family": "tiny_images", "stages": [{"widths": [8]}]}, r"model.space.stages\[0\].depths is missing"),
        ({"family": "tiny_images", "stages": 3}, "list of mappings"),
        ({"family": "tiny_images", "stems": [0]}, "model.space.stems=0 is not allowed"),
        ({"family": "tiny_images", "shrinking": "crop"}, "model.space.shrinking='crop'"),
    ],
)
def test_a_space_that_cannot_be(given, said):
    with pytest.raises(UserError, match=said):
        macro_of(given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 2}, "genotype.width=2 is not allowed; .* the nearest is 1.0"),
        ({"resolution": 225}, "genotype.resolution=225 is not allowed; .* the nearest is 224"),
        ({"kernels": [[3]]}, "an entry for each of 7 stages"),
        ({"depth": 3}, "genotype.depth is not known"),
        ({"kernels": [[3, 5], *[[5] * 8] * 6]}, r"genotype.kernels\[0\]=\[3, 5\] is not allowed; all blocks"),
        ({"expansions": [[1], *[[6] * 8] * 6]}, "for 2 blocks and"),
    ],
)
def test_a_genotype_that_is_not_of_the_space(change, said):
    macro = macro_of("alphanet")
    with pytest.raises(UserError, match=said):
        check_genotype(macro, {**largest(macro), **change})
