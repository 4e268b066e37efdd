"""Running statistics of a path: which entries of the layers' own a training step and a calibration touch."""

import pytest
import torch
from torch import nn

from src.elastic.network import ElasticNetwork
from src.elastic.statistics import Statistics, normalisations
from src.graph.channel_graph import channel_graph
from tests.elastic.supernets import CHOICES, images_of, kept_of, part_of, supernet, wild

LEAVES = ("running_mean", "running_var")


def state_of(network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def statistics_of(network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.named_buffers() if name.endswith(LEAVES)}


@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
@pytest.mark.parametrize("name", ["resnet", "mobilenet_v2", "densenet"])
def test_a_training_step_updates_exactly_the_selected_entries(name, choose):
    """A gather copies: without a write-back channels other than the first ones would never be updated."""
    network = supernet(name).train()
    choice = choose(network.graph)
    path = network.path(choice)
    alone = network.extracted(path).train()
    before = statistics_of(network.model)
    images = images_of(name)
    network(images, path)
    alone(images)
    expected = dict(alone.named_buffers())
    for key, after in network.model.named_buffers():
        if key.endswith(LEAVES):
            kept = kept_of(after, key, network.graph, choice).bool()
            assert torch.equal(after[~kept], before[key][~kept])
            assert torch.allclose(part_of(after, key, network.graph, choice), expected[key], rtol=1e-5, atol=1e-6)
            assert not torch.equal(after[kept], before[key][kept])
        else:
            assert torch.equal(after, expected[key])  # batches that a layer has seen


@pytest.mark.parametrize("name", ["resnet", "efficientnet_b0"])
def test_scoring_leaves_everything_as_it_is(name):
    """A candidate that was only looked at must leave no trace in the statistics, nor in the weights."""
    network = supernet(name).train()
    before = state_of(network)
    for seed in range(2):
        with torch.no_grad():
            network(images_of(name), network.path(wild(network.graph, seed)), None)
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", ["resnet", "mobilenet_v2", "regnet_y_400mf"])
def test_calibrating_one_path_changes_no_other_and_nothing_of_the_super_net(name):
    """Else the result of a search would depend on the order of its candidates."""
    network = supernet(name).train()
    network.model.get_submodule(next(iter(network.graph.layers)).name).eval()  # modes are kept one by one
    modes, before = [module.training for module in network.modules()], state_of(network)
    images, more = images_of(name), [images_of(name), 2 * images_of(name) + 1]
    first, second = (network.path(wild(network.graph, seed)) for seed in (0, 1))
    stored = network.calibrated(first, more)
    network.eval()
    evaluated = network(images, first, stored)
    for module, mode in zip(network.modules(), modes, strict=True):
        module.training = mode
    network.calibrated(second, [3 * images])
    assert [module.training for module in network.modules()] == modes
    network.eval()
    assert torch.equal(network(images, first, stored), evaluated)
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(module.momentum == 0.1 for module in network.norms)


def test_evaluating_does_not_write_into_a_side_store():
    network = supernet("resnet").eval()
    path = network.path(wild(network.graph))
    stored = network.calibrated(path, [images_of("resnet")])
    before = stored.means.clone(), stored.variances.clone(), stored.batches.clone()
    network(5 * images_of("resnet"), path, stored)
    assert all(map(torch.equal, before, (stored.means, stored.variances, stored.batches)))


@pytest.mark.parametrize("name", ["resnet", "mobilenet_v2", "densenet"])
def test_calibrated_statistics_are_the_means_over_batches(name):
    """Of the batch means and of the unbiased batch variances, as each layer of the extracted network sees them."""
    network = supernet(name)
    path = network.path(wild(network.graph))
    batches = [images_of(name), images_of(name, 5) - 0.5, 2 * images_of(name, 6)]
    stored = network.calibrated(path, batches)

    alone, seen = network.extracted(path), {}
    alone.eval()
    for norm in normalisations(alone):
        norm.train()

        def note(module, inputs):
            values = inputs[0].transpose(0, 1).flatten(1)
            seen.setdefault(module, []).append((values.mean(1), values.var(1)))

        norm.register_forward_pre_hook(note)
    with torch.no_grad():
        for images in batches:
            alone(images)
    for norm, found in zip(normalisations(alone), stored, strict=True):
        means, variances = (torch.stack(values).mean(0) for values in zip(*seen[norm], strict=True))
        assert torch.allclose(found["running_mean"], means, rtol=1e-4, atol=1e-5)
        assert torch.allclose(found["running_var"], variances, rtol=1e-4, atol=1e-5)
        assert int(found["num_batches_tracked"]) == 3


def test_a_calibration_starts_anew():
    """Without a reset the statistics of one candidate would leak into the next."""
    network = supernet("resnet")
    path = network.path(wild(network.graph))
    batches = [images_of("resnet"), images_of("resnet") + 1]
    first = network.calibrated(path, batches)
    second = network.calibrated(path, batches)
    assert torch.equal(first.means, second.means)
    assert torch.equal(first.variances, second.variances)


def test_a_calibration_tells_of_each_batch():
    network, noted = supernet("resnet"), []
    path = network.path(wild(network.graph))
    network.calibrated(path, [images_of("resnet", 3), images_of("resnet", 4)], lambda k, y: noted.append((k, y.shape)))
    assert noted == [(0, (3, 10)), (1, (4, 10))]


def test_dropout_rests_while_statistics_are_taken():
    """It will not be there when they are used, and shifts the variance of what follows it."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.9), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    network = ElasticNetwork(model, channel_graph(model, (3, 8, 8))).train()
    images = torch.randn(8, 3, 8, 8)
    stored = network.calibrated(network.path({}), [images])
    inputs = model[0](images).transpose(0, 1).flatten(1)
    assert torch.allclose(stored.variances, inputs.var(1), rtol=1e-4)


def test_networks_without_statistics_have_an_empty_store():
    network = supernet("convnext").train()
    path = network.path(wild(network.graph))
    assert list(network.selected_statistics(path)) == []
    assert list(Statistics.fresh(network.norms, path.norms)) == []
    network(images_of("convnext"), path)
    assert list(network.calibrated(path, [images_of("convnext")])) == []
