"""The super-net of cells: what is extracted is what ran, and what is not live costs nothing."""

import pytest
import torch

from src.errors import UserError
from src.networks.cell_supernet import CellSupernet
from tests.networks.cell_networks import COMPUTED, images_of, mask_of, random_genotype, small_supernet


def equal_gates(network: CellSupernet) -> torch.Tensor:
    return torch.full(network.gates_shape, 1 / len(COMPUTED))


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_extracted_equals_searched(seed, normalised):
    """T10: the network of a genotype computes what the super-net does with gates 1 there and nothing else live."""
    generator = torch.Generator().manual_seed(seed)
    network = small_supernet(layers=3, nodes=3, normalise_outputs=normalised, seed=seed).eval()
    genotype = random_genotype(generator, 3)
    mask = mask_of(network, genotype)
    alone = network.extracted(genotype)
    with torch.no_grad():
        expected = alone(images_of(size=7))
        gated = network(images_of(size=7), mask.float())
        network.set_live(mask)
        found = network(images_of(size=7), torch.ones(network.gates_shape))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(gated, expected, atol=1e-6, rtol=1e-6)


def test_extracted_is_a_copy():
    """Else training the found network would train the super-net."""
    network = small_supernet()
    alone = network.extracted(random_genotype(torch.Generator().manual_seed(0), 2))
    own = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
    assert not own & {id(tensor) for tensor in alone.state_dict(keep_vars=True).values()}
    assert alone.training
    assert not any(tensor.is_meta for tensor in alone.state_dict().values())


@pytest.mark.parametrize("training", [False, True])
def test_a_dead_operation_is_one_with_gate_zero(training):
    """T11, bit for bit."""
    network = small_supernet().train(training)
    live = torch.rand(network.gates_shape, generator=torch.Generator().manual_seed(0)) < 0.5
    gates = torch.randn(network.gates_shape, generator=torch.Generator().manual_seed(1)) * live
    with torch.no_grad():
        whole = network(images_of(), gates)
        network.set_live(live)
        assert torch.equal(network(images_of(), gates), whole)


def test_dead_operations_do_not_run():
    """`none` never does; with a mask only what is live does, each once a cell."""
    network, ran = small_supernet(), []
    for cell in network.cells:
        for edge, modules in enumerate(cell.edges):
            for name, module in zip(network.operations, modules, strict=True):
                module.register_forward_hook(lambda *_, key=(cell.kind, edge, name): ran.append(key))
    network(images_of(), equal_gates(network))
    assert sorted(ran) == sorted((kind, edge, name) for kind in range(2) for edge in range(5) for name in COMPUTED)
    ran.clear()
    network.set_live(mask_of(network, {"normal": [[["skip_connect", 1]]], "reduce": [[], [["max_pool_3x3", 2]]]}))
    network(images_of(), equal_gates(network))
    assert ran == [(0, 1, "skip_connect"), (1, 4, "max_pool_3x3")]


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("variances", [False, True])
def test_all_may_be_dead(size, variances):
    """A node without live inputs gives zeros, and the classifier still learns."""
    network = small_supernet(layers=3)
    network.set_live(torch.zeros(network.gates_shape, dtype=torch.bool))
    gates = equal_gates(network)
    output = network(images_of(size=size), gates, gates if variances else None)
    assert torch.equal(output, network.classifier.bias.expand(3, -1))
    output.sum().backward()
    assert network.classifier.bias.grad.abs().sum() > 0


def test_gates_are_those_of_each_image():
    """Per-example noise: image b sees gates[b]; gates that are all alike do what one set does."""
    network = small_supernet().eval()
    gates = torch.randn(3, *network.gates_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network(images_of(), gates)
        single = torch.cat([network(images_of()[b : b + 1], gates[b]) for b in range(3)])
    torch.testing.assert_close(found, single, atol=1e-6, rtol=1e-5)


def test_the_sum_is_that_of_the_definition():
    """x_j = sum of gate * o(x_i): written out for a cell of one node."""
    network = small_supernet(nodes=1, layers=1, reductions=[]).eval()
    gates = torch.randn(network.gates_shape, generator=torch.Generator().manual_seed(0))
    cell = network.cells[0]
    with torch.no_grad():
        stem = network.stem(images_of())
        states = [cell.preprocess0(stem), cell.preprocess1(stem)]
        node = sum(
            gates[0, edge, place] * cell.edges[edge][place](states[edge])
            for edge in range(2)
            for place, name in enumerate(network.operations)
            if name != "none"
        )
        torch.testing.assert_close(network(images_of(), gates), network.head(node), atol=1e-6, rtol=1e-5)


def test_noise_of_activations_has_the_variance_of_the_gates():
    """Local reparameterisation: node = sum gate * o + sqrt(sum variance * o^2) * eps."""
    network = small_supernet(nodes=1, layers=1, reductions=[]).eval()
    gates = torch.randn(network.gates_shape, generator=torch.Generator().manual_seed(0))
    variances = torch.rand(network.gates_shape, generator=torch.Generator().manual_seed(1))
    nodes = []
    network.pool.register_forward_hook(lambda module, given, output: nodes.append(given[0]))
    with torch.no_grad():
        torch.manual_seed(0)
        network(images_of(1).expand(4000, -1, -1, -1), gates, variances)
        network(images_of(1), gates)
        stem = network.stem(images_of(1))
        cell = network.cells[0]
        expected = sum(
            variances[0, edge, place] * cell.edges[edge][place](preprocess(stem)).square()
            for edge, preprocess in enumerate((cell.preprocess0, cell.preprocess1))
            for place, name in enumerate(network.operations)
            if name != "none"
        )
    drawn, mean = nodes
    z = (drawn.mean(0) - mean[0]) / (expected[0] / 4000).sqrt()
    assert z.abs().max() < 5
    assert (drawn.var(0) / expected[0] - 1).abs().max() < 0.15


def test_gradients_reach_gates_and_variances_and_are_finite():
    """A variance of zero too, where the square root is steep; dead operations get none."""
    network = small_supernet()
    gates = equal_gates(network).requires_grad_()
    variances = torch.full(network.gates_shape, 0.01)
    variances[0, :2] = 0.0
    variances.requires_grad_()
    live = torch.ones(network.gates_shape, dtype=torch.bool)
    live[:, 3] = False
    network.set_live(live)
    network(images_of(), gates, variances).logsumexp(1).sum().backward()
    for tensor in (gates, variances):
        assert tensor.grad.isfinite().all()
        assert not tensor.grad[:, 3].any()
        assert tensor.grad[0, 4, 1:].all()


@pytest.mark.parametrize("mode", ["scalar", "example", "variances"])
def test_half_precision_is_finite(mode):
    """bf16 autocast: gates stay float32 where they are parameters, activations do not become float32."""
    network = small_supernet()
    gates = equal_gates(network).requires_grad_()
    seen = []
    network.pool.register_forward_hook(lambda module, given, output: seen.append(given[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        given = gates.expand(3, -1, -1, -1) if mode == "example" else gates
        output = network(images_of(), given, gates.square() if mode == "variances" else None)
    output.float().logsumexp(1).sum().backward()
    assert output.isfinite().all()
    assert gates.grad.isfinite().all()
    assert gates.grad.abs().sum() > 0
    assert seen == [torch.bfloat16]


def test_channels_last_is_kept():
    """Also where a node has no live input."""
    network = small_supernet(layers=3).to(memory_format=torch.channels_last)
    mask = torch.ones(network.gates_shape, dtype=torch.bool)
    mask[:, :2] = False
    network.set_live(mask)
    seen = []
    for cell in network.cells:
        cell.register_forward_hook(lambda module, given, output: seen.append(output))
    network(images_of().contiguous(memory_format=torch.channels_last), equal_gates(network))
    assert all(output.is_contiguous(memory_format=torch.channels_last) for output in seen)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"operations": ["sep_conv"]}, "did you mean .*sep_conv_3x3"),
        ({"operations": ["none"]}, "give operations but none"),
        ({"operations": ["skip_connect"] * 2}, "none twice"),
        ({"nodes": 0}, "nodes=0"),
        ({"reductions": [2]}, r"model.reductions\[0\]=2"),
    ],
)
def test_mistakes_are_told(options, said):
    with pytest.raises(UserError, match=said):
        small_supernet(**options)


def test_a_genotype_of_another_space_is_refused():
    network = small_supernet(["skip_connect", "max_pool_3x3"])
    node = [["skip_connect", 0]]
    with pytest.raises(UserError, match="the 2 nodes"):
        network.extracted({"normal": [node], "reduce": [node, node]})
    with pytest.raises(UserError, match="sep_conv_3x3"):
        network.extracted({"normal": [node, [["sep_conv_3x3", 0]]], "reduce": [node, node]})


def test_gates_of_a_wrong_shape_are_refused():
    network = small_supernet()
    with pytest.raises(ValueError, match="gates of shape"):
        network(images_of(), torch.ones(2, 14, 8))
    with pytest.raises(ValueError, match="a mask of shape"):
        network.set_live(torch.ones(2, 5, 7, dtype=torch.bool))
