"""What a width is worth: reductions over its candidates, recomputed by hand, and nothing that is left behind."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.elastic.index_sets import IndexSet
from src.errors import UserError
from src.methods.width_evaluation import REDUCTIONS, WidthEvaluation
from src.tasks.classification import Classification
from tests.elastic.supernets import supernet, wild

CLASSES = 10


def batches(count: int, size: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, 3, 16, 16, generator=generator), torch.randint(CLASSES, (size,), generator=generator))
        for _ in range(count)
    ]


CALIBRATION, VALIDATION = batches(3, 16, 0), batches(2, 40, 1)


@pytest.fixture(scope="module")
def network():
    return supernet("resnet").train()


def evaluation(network, reduce: str = "min_train_loss") -> WidthEvaluation:
    return WidthEvaluation(network, Classification(CLASSES), CALIBRATION, VALIDATION, reduce)


def by_hand(network, choice) -> tuple[float, float]:
    """(error in percent, loss of calibration) of the extracted network, whose batch norms are reset and calibrated."""
    alone = network.extracted(network.path(choice)).eval()
    norms = [module for module in alone.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        losses = [float(F.cross_entropy(alone(images), targets)) for images, targets in CALIBRATION]
        alone.eval()
        wrong = torch.cat([alone(images).argmax(1) != targets for images, targets in VALIDATION])
    return 100 * float(wrong.float().mean()), sum(losses) / len(losses)


def choices(network, count: int = 4):
    return [wild(network.graph, seed) for seed in range(count)]


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_reductions_are_those_of_the_candidates_by_hand(network, reduce):
    known = [by_hand(network, choice) for choice in choices(network)]
    errors, losses = zip(*known, strict=True)
    assert len(set(errors)) > 1
    value = evaluation(network, reduce).evaluate(choices(network))
    lowest = losses.index(min(losses))
    expected = {
        "min_train_loss": (errors[lowest], losses[lowest], lowest),
        "max": (min(errors), losses[errors.index(min(errors))], errors.index(min(errors))),
        "mean": (sum(errors) / 4, sum(losses) / 4, -1),
        "first": (errors[0], losses[0], 0),
    }[reduce]
    assert value.error == pytest.approx(expected[0], abs=1e-4)
    assert value.train_loss == pytest.approx(expected[1], abs=1e-5)
    assert value.candidate == expected[2]


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("training", [True, False])
def test_evaluating_changes_nothing(network, reduce, training):
    """Neither the super-net nor its mode nor what is drawn later: the order of candidates must not matter."""
    network = copy.deepcopy(network).train(training)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.get_rng_state()
    values = [evaluation(network, reduce).evaluate(order) for order in (choices(network), choices(network, 2))]
    again = evaluation(network, reduce).evaluate(choices(network))
    assert again == values[0]
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(module.training is training for module in network.modules())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_mode_that_only_a_part_has_comes_back(network):
    """A frozen layer that evaluation wakes up would be trained from then on."""
    network = copy.deepcopy(network).train()
    network.model.bn.eval()
    evaluation(network).evaluate(choices(network, 1))
    assert not network.model.bn.training
    assert network.training
    assert network.model.layer1.training


def test_a_failing_evaluation_leaves_the_mode(network):
    network = copy.deepcopy(network).train()

    def fail(*_):
        raise RuntimeError("out of memory")

    network.model.fc.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        evaluation(network).evaluate(choices(network, 1))
    assert all(module.training for module in network.modules())


def test_losses_that_are_no_numbers_come_last(network):
    """NaN compares as false: a candidate that has diverged could be the lowest."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        network.model.layer2[0].conv1.weight[3] = torch.nan
    sick = {"layer2.0.conv1": IndexSet(12, (3, 5))}
    well = {"layer2.0.conv1": IndexSet(12, (4, 5))}
    for order, place in (([sick, well], 1), ([well, sick], 0)):
        value = evaluation(network).evaluate(order)
        assert value.candidate == place
        assert value.train_loss < torch.inf


def test_an_unknown_reduction_is_named(network):
    with pytest.raises(UserError, match=r"method\.width_reduce='min' is not known"):
        evaluation(network, "min")
