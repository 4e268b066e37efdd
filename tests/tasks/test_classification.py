"""The loss and the error rate by which networks are chosen: a wrong one would choose wrong networks without a sign."""

import pytest
import torch
import torchvision
from torch.nn.functional import cross_entropy
from torchmetrics.classification import MulticlassAccuracy

from src.errors import UserError
from src.tasks.classification import Classification
from src.tasks.heads import AUXILIARY_WEIGHT, main_output


def random_batch(classes, size=64):
    generator = torch.Generator().manual_seed(classes)
    return torch.randn(size, classes, generator=generator), torch.randint(classes, (size,), generator=generator)


@pytest.mark.parametrize(("classes", "names"), [(10, {"error"}), (20, {"error"}), (21, {"error", "error_top5"})])
def test_errors_are_a_hundred_minus_torchmetrics_accuracy_over_batches_of_unequal_size(classes, names):
    outputs, targets = random_batch(classes)
    metrics = Classification(classes).metrics()
    for part in (slice(0, 50), slice(50, 64)):
        metrics.update(outputs[part], targets[part])
    found = metrics.compute()
    assert set(found) == names
    for name, top_k in (("error", 1), ("error_top5", 5)):
        if name in names:
            accuracy = MulticlassAccuracy(classes, average="micro", top_k=top_k)(outputs, targets)
            assert float(found[name]) == pytest.approx(100 - 100 * float(accuracy), abs=1e-4)


def test_metrics_start_again_after_a_reset():
    metrics = Classification(2).metrics()
    metrics.update(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    assert float(metrics.compute()["error"]) == 100.0
    metrics.reset()
    metrics.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert float(metrics.compute()["error"]) == 0.0


def test_the_loss_is_cross_entropy_in_float32():
    outputs, targets = random_batch(10)
    assert Classification(10, 0.1).loss(outputs, targets) == cross_entropy(outputs, targets, label_smoothing=0.1)
    assert Classification(10).loss(outputs.bfloat16(), targets).dtype == torch.float32


def test_auxiliary_heads_of_googlenet_train_and_do_not_count_in_the_error():
    network = torchvision.models.googlenet(num_classes=10, aux_logits=True, init_weights=False)
    network.train()
    outputs = network(torch.randn(2, 3, 64, 64))
    targets = torch.tensor([1, 2])
    task = Classification(10)
    expected = cross_entropy(outputs.logits, targets) + AUXILIARY_WEIGHT * (
        cross_entropy(outputs.aux_logits1, targets) + cross_entropy(outputs.aux_logits2, targets)
    )
    assert torch.allclose(task.loss(outputs, targets), expected)
    metrics = task.metrics()
    metrics.update(outputs, outputs.logits.argmax(1))
    assert float(metrics.compute()["error"]) == 0.0
    assert main_output(outputs) is outputs.logits


def test_a_head_that_was_switched_off_is_left_out():
    outputs, targets = random_batch(10)
    task = Classification(10)
    assert task.loss((outputs, None), targets) == task.loss(outputs, targets)


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        (torch.zeros(4, 1000), r"shape \(4, 1000\), but the data has 10 classes"),
        (torch.zeros(4, 10, 2, 2), r"shape \(4, 10, 2, 2\)"),
        ({"out": torch.zeros(4, 10)}, "returns a dict"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused(outputs, told):
    with pytest.raises(UserError, match=told):
        Classification(10).loss(outputs, torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("arguments", [(1,), (10.0,), (True,), ("10",), (10, -0.1), (10, 1.5), (10, "0.1")])
def test_bad_settings_are_refused(arguments):
    with pytest.raises(UserError, match="is not allowed"):
        Classification(*arguments)
