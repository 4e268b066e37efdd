"""The super-net of widths against masked networks, networks of their own, and networks with weights sliced by hand."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from src.elastic import network as elastic_network
from src.elastic.index_sets import IndexSet
from src.elastic.network import ElasticNetwork
from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.networks.resnet import ResNet
from tests.elastic.supernets import (
    CHOICES,
    MASKED,
    MODELS,
    Masked,
    difference,
    free_sharing,
    images_of,
    kept_of,
    part_of,
    shape_of,
    supernet,
    wild,
)

LEAVES = ("running_mean", "running_var")


def sliced_by_hand(model: ResNet, images: Tensor, stem: int, inner: int, inner2: int, out: int) -> Tensor:
    """A slimmable network: ResNet([1, 1], ...) in evaluation mode with the first channels of each layer."""

    def conv(x, layer, norm, width):
        y = F.conv2d(x, layer.weight[:width, : x.shape[1]], None, layer.stride, layer.padding)
        own = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return F.batch_norm(y, *(vector[:width] for vector in own), training=False, eps=norm.eps)

    x = conv(images, model.stem, model.bn, stem).relu()
    for block, middle, width in ((model.layer1[0], inner, stem), (model.layer2[0], inner2, out)):
        y = conv(x, block.conv1, block.bn1, middle).relu()
        shortcut = conv(x, *block.shortcut, width) if len(block.shortcut) else x
        x = (conv(y, block.conv2, block.bn2, width) + shortcut).relu()
    return F.linear(x.mean((2, 3)), model.fc.weight[:, :out], model.fc.bias)


def test_the_first_channels_are_a_slimmable_network_bit_for_bit():
    """r = 0 has to be the baseline that it is compared with, at every width."""
    torch.manual_seed(0)
    model = ResNet([1, 1], [8, 12]).eval()
    network = ElasticNetwork(model, channel_graph(model, (3, 8, 8))).eval()
    names = ("stem", "layer1.0.conv1", "layer2.0.conv1", "layer2.0.conv2")
    assert set(names) == set(network.graph.widths())
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        for widths in itertools.product((1, 3, 8), (2, 8), (1, 5, 12), (1, 7, 12)):
            sizes = network.graph.widths()
            choice = {n: IndexSet.prefix(sizes[n], width) for n, width in zip(names, widths, strict=True)}
            assert torch.equal(network(images, network.path(choice)), sliced_by_hand(model, images, *widths))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_the_full_width_is_the_model_itself(name, training, monkeypatch):
    """Bit for bit, with its gradients and statistics, and without a copy of any weight."""
    network, plain = supernet(name), supernet(name).model
    full = network.path({group.name: IndexSet.full(group.width) for group in network.graph.free})

    def forbidden(*_):
        raise AssertionError("a weight was selected")

    monkeypatch.setattr(elastic_network, "selected", forbidden)
    for path in (None, full, network.path({})):
        outputs, expected = network.train(training)(images_of(name), path), plain.train(training)(images_of(name))
        assert torch.equal(outputs, expected)
    outputs.sum().backward()
    expected.sum().backward()
    for (key, value), other in zip(network.model.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(value.grad, other.grad), key
    state = plain.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in network.model.state_dict().items())


@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
@pytest.mark.parametrize("name", MASKED)
def test_masked_is_sliced_is_extracted_in_evaluation(name, choose):
    network = supernet(name).eval()
    choice = choose(network.graph)
    path, images = network.path(choice), images_of(name)
    with torch.no_grad():
        sliced, extracted = network(images, path), network.extracted(path).eval()(images)
        with Masked(network.model, network.graph, choice) as masked:
            assert difference(sliced, masked(images)) <= 1e-6
        whole = network(images)
    assert difference(sliced, extracted) <= 1e-6
    assert difference(sliced, whole) > 1e-3  # else the choice would make no difference


@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
@pytest.mark.parametrize("name", MASKED)
def test_masked_is_sliced_is_extracted_in_training(name, choose):
    """Outputs, gradients and running statistics; unselected weights have gradients of exactly zero.

    Against the mask in float64: over the few values of a small image batch norm enlarges what float32 rounds.
    """
    network = supernet(name).double().train()
    graph, images = network.graph, images_of(name).double()
    choice = choose(graph, seed=1)
    path, masked = network.path(choice), copy.deepcopy(network.model)
    alone = network.extracted(path).train()
    outputs, extracted = network(images, path), alone(images)
    with Masked(masked, graph, choice):
        expected = masked(images)
    for result in (outputs, extracted, expected):
        F.cross_entropy(result, torch.arange(len(images)) % 5).backward()

    assert difference(outputs, extracted) <= 1e-12
    assert difference(outputs, expected) <= 1e-11
    own, hidden = dict(alone.named_parameters()), dict(masked.named_parameters())
    for key, parameter in network.model.named_parameters():
        kept = kept_of(parameter.detach(), key, graph, choice).bool()
        assert not parameter.grad[~kept].any()
        near = {"rtol": 1e-9, "atol": 1e-9 * float(1e-3 + own[key].grad.abs().max())}  # of some all is rounding
        assert torch.allclose(part_of(parameter.grad, key, graph, choice), own[key].grad, **near), key
        assert torch.allclose(parameter.grad[kept], hidden[key].grad[kept], **near), key
    buffers, by_mask = dict(alone.named_buffers()), dict(masked.named_buffers())
    for key, buffer in network.model.named_buffers():
        part = part_of(buffer, key, graph, choice)
        assert torch.allclose(part, buffers[key], rtol=1e-12)
        if key.endswith(LEAVES):
            assert torch.allclose(part, part_of(by_mask[key], key, graph, choice), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_training_in_float32_is_that_of_the_extracted_network(name):
    network = supernet(name).train()
    choice = free_sharing(network.graph, seed=2)
    path, images = network.path(choice), images_of(name)
    alone = network.extracted(path).train()
    outputs, expected = network(images, path), alone(images)
    assert difference(outputs, expected) <= 1e-6
    outputs.square().sum().backward()
    expected.square().sum().backward()
    own = dict(alone.named_parameters())
    largest = max(float(parameter.grad.abs().max()) for parameter in own.values())
    for key, parameter in network.model.named_parameters():
        kept = kept_of(parameter.detach(), key, network.graph, choice).bool()
        assert not parameter.grad[~kept].any()
        found = part_of(parameter.grad, key, network.graph, choice)
        assert torch.allclose(found, own[key].grad, rtol=1e-4, atol=1e-6 * largest), key


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", [name for name in MODELS if name not in MASKED])
def test_searched_is_extracted_where_a_mask_would_be_something_else(name, seed):
    """Layer and group norms take a mean over channels, which hidden ones would enter; channel shuffle moves them.

    There a path is its extracted network still, but no mask shows the same.
    """
    network = supernet(name).eval()
    path = network.path(wild(network.graph, seed))
    with torch.no_grad():
        found, expected = network(images_of(name), path), network.extracted(path).eval()(images_of(name))
    assert difference(found, expected) <= 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_an_extracted_network_comes_back_from_a_file_and_costs_what_the_polynomial_says(name, tmp_path):
    network = supernet(name)
    path = network.path(wild(network.graph, seed=3))
    stored = network.calibrated(path, [images_of(name)])
    alone, images = network.extracted(path, stored).eval(), images_of(name, 2)
    torch.save(alone.state_dict(), tmp_path / "weights.pt")
    again = network.extracted(network.path(path.choice)).eval()
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(again(images), alone(images))
        assert difference(again(images), network.eval()(images, path, stored)) <= 1e-6
    widths = {group.name: len(path.choice[group.name]) for group in network.graph.free}
    with FlopCounterMode(display=False) as counter:
        alone(images[:1])
    assert counter.get_total_flops() // 2 == int(cost_polynomial(network.graph).macs(widths))
    assert sum(p.numel() for p in alone.parameters()) == int(cost_polynomial(network.graph).params(widths))
    assert channel_graph(alone, shape_of(name)).widths() == widths


def test_extracting_draws_nothing_and_leaves_the_super_net_alone():
    network = supernet("resnet")
    path, before = network.path(wild(network.graph)), network.state_dict()
    before, drawn = {key: value.clone() for key, value in before.items()}, torch.get_rng_state()
    alone = network.extracted(path)
    for parameter in alone.parameters():
        parameter.data.zero_()
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


# choices


def test_tied_layers_have_one_set():
    """A sum of channels with others than themselves would be a network that cannot be extracted."""
    network = supernet("resnet")
    tied = {"layer1.0.conv2.weight", "layer1.1.conv2.weight", "stem.weight"}
    choice = {"stem": IndexSet(8, (1, 4, 5))}
    for name in tied:
        kept = kept_of(network.model.get_parameter(name).detach(), name, network.graph, choice)
        assert kept.flatten(1).any(1).nonzero().flatten().tolist() == [1, 4, 5]
    with pytest.raises(UserError, match=r"no width group 'layer1.0.conv2' .* did you mean 'layer1.0.conv1'"):
        network.path({"stem": IndexSet(8, (1, 4, 5)), "layer1.0.conv2": IndexSet(8, (0, 4, 5))})
    with pytest.raises(UserError, match=r"no width group 'fc' .* its width cannot change"):
        network.path({"fc": IndexSet(10, (0,))})


@pytest.mark.parametrize(
    "chosen", [IndexSet(9, (1, 4)), IndexSet(8, ()), IndexSet(8, (3, 8)), IndexSet(8, (4, 3)), IndexSet(8, (3, 3)),
               IndexSet(8, (-1, 3))], ids=str,
)  # fmt: skip
def test_what_is_no_set_of_the_channels_is_refused(chosen):
    """A double or unordered index would train another network than its extracted one, without a word."""
    network = supernet("resnet")
    with pytest.raises(UserError, match=r"width group 'stem' has 8 channels; .* is no choice of them"):
        network.path({"stem": chosen})


def test_blocks_of_a_grouped_convolution_keep_the_same_channels():
    network = supernet("resnext50_32x4d")
    group = next(group for group in network.graph.free if group.multiple == 32)
    units = group.width // 32
    with pytest.raises(UserError, match=f"width group '{group.name}' lies in 32 blocks, which must all keep the same"):
        network.path({group.name: IndexSet.prefix(group.width, 32 * (units - 1))})
    first = IndexSet(group.width, tuple(range(0, group.width, units)))
    assert network.path({group.name: first}).sizes[network.graph.index[group.name]] == 32


def test_groups_that_are_not_named_are_full():
    network = supernet("resnet").eval()
    only = {"stem": IndexSet(8, (0, 5))}
    every = {group.name: IndexSet.full(group.width) for group in network.graph.free} | only
    outputs = [network(images_of("resnet"), network.path(choice)) for choice in (only, every)]
    assert torch.equal(*outputs)


def test_more_choices_than_are_kept_in_memory(monkeypatch):
    network = supernet("resnet").eval()
    choices = [wild(network.graph, seed) for seed in range(4)]
    expected = [network(images_of("resnet"), network.path(choice)) for choice in choices]
    monkeypatch.setattr("src.elastic.paths._CACHED", 3)
    for _ in range(2):
        for choice, outputs in zip(choices, expected, strict=True):
            assert torch.equal(network(images_of("resnet"), network.path(choice)), outputs)


# what else happens to networks


def test_a_failing_forward_leaves_the_network_whole():
    network = supernet("resnet").train()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    parameters = dict(network.named_parameters())

    def fail(*_):
        raise RuntimeError("out of memory")

    handle = network.model.fc.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        network(images_of("resnet"), network.path(wild(network.graph)), None)
    handle.remove()
    assert all(value is parameters[key] for key, value in network.named_parameters())
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert network.model.stem.out_channels == 8
    assert network.model.bn.num_features == 8


@pytest.mark.parametrize("name", ["resnet", "mobilenet_v2", "Odds"])
def test_a_copy_is_a_super_net_of_its_own(name):
    network = supernet(name).train()
    path, images = network.path(wild(network.graph)), images_of(name)
    twin, other = copy.deepcopy(network), supernet(name).train()
    for which in (twin, other):
        which(images, which.path(path.choice)).sum().backward()
    state, expected = twin.state_dict(), other.state_dict()
    assert all(torch.equal(state[key], value) for key, value in expected.items())
    for mine, right in zip(twin.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine.grad, right.grad)
    assert all(parameter.grad is None for parameter in network.parameters())
    untouched = supernet(name).state_dict()
    assert all(torch.equal(value, untouched[key]) for key, value in network.state_dict().items())


def test_modules_may_be_replaced():
    """As synchronised batch norms do at the start of a fit on several processes."""
    network = supernet("resnet").eval()
    choice, images = wild(network.graph), images_of("resnet")
    expected = network(images, network.path(choice))
    network.model = nn.SyncBatchNorm.convert_sync_batchnorm(network.model)
    network.bind()
    path = network.path(choice)
    assert torch.equal(network(images, path), expected)
    assert difference(network.extracted(path).eval()(images), expected) <= 1e-6
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in network.norms)
    network.calibrated(path, [images])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_extracted_network_has_the_type_of_the_weights(dtype):
    """What is drawn for new shapes has torch's default type; a mixed network does not run."""
    network = supernet("resnet").to(dtype).eval()
    alone = network.extracted(network.path(wild(network.graph))).eval()
    assert {p.dtype for p in alone.parameters()} == {dtype}
    assert alone(images_of("resnet").to(dtype)).dtype == dtype


@pytest.mark.parametrize("training", [False, True])
def test_channels_last(training):
    network = supernet("mobilenet_v2").train(training)
    choice, images = wild(network.graph), images_of("mobilenet_v2")
    expected = network(images, network.path(choice), None)
    network.to(memory_format=torch.channels_last)
    path = network.path(choice)
    outputs = network(images.contiguous(memory_format=torch.channels_last), path, None)
    assert difference(outputs, expected) < (1e-3 if training else 1e-5)
    outputs.sum().backward()
    alone = network.extracted(path).train(training).to(memory_format=torch.channels_last)
    assert difference(alone(images.contiguous(memory_format=torch.channels_last)), outputs) < 1e-3


def test_mixed_precision():
    """The statistics stay in float32, and the gradients in that of the weights."""
    network = supernet("resnet").train()
    path, images = network.path(wild(network.graph)), images_of("resnet")
    alone = network.extracted(path).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs, expected = network(images, path), alone(images)
    assert outputs.dtype == torch.bfloat16
    assert difference(outputs.float(), expected.float()) <= 1e-2
    outputs.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in network.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        stored = network.calibrated(path, [images])
    assert stored.means.dtype == torch.float32
    assert bool(stored.means.isfinite().all())


@pytest.mark.parametrize("statistics", ["live", None])
def test_a_store_of_each_kind_in_evaluation(statistics):
    """None in evaluation is no batch's own statistics: the model's are read, and written by nobody."""
    network = supernet("resnet").eval()
    path = network.path(wild(network.graph))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    expected = network.extracted(path).eval()(images_of("resnet"))
    for store in (statistics, network.selected_statistics(path)):
        assert difference(network(images_of("resnet"), path, store), expected) <= 1e-6
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
