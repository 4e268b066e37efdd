"""The loss and the errors of several labels an image, by which networks are chosen."""

import pytest
import torch
import torchvision
from sklearn.metrics import average_precision_score
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.classification import MultilabelAccuracy, MultilabelExactMatch

from src.errors import UserError
from src.tasks.heads import AUXILIARY_WEIGHT
from src.tasks.multilabel import Multilabel


def random_batch(attributes=5, size=64):
    generator = torch.Generator().manual_seed(attributes)
    labels = torch.rand(size, attributes, generator=generator) < torch.linspace(0.1, 0.9, attributes)
    return torch.randn(size, attributes, generator=generator) + labels, labels.long()


def measured(outputs, targets, *borders):
    metrics = Multilabel(targets.shape[1]).metrics()
    for part in zip(outputs.tensor_split(borders), targets.tensor_split(borders), strict=True):
        metrics.update(*part)
    return {name: float(value) for name, value in metrics.compute().items()}


def test_metrics_are_those_of_torchmetrics_and_scikit_learn_over_batches_of_unequal_size():
    outputs, targets = random_batch()
    found = measured(outputs, targets, 50)
    right = MultilabelAccuracy(5, average="macro")(outputs.sigmoid(), targets)
    exact = MultilabelExactMatch(5)(outputs.sigmoid(), targets)
    precision = average_precision_score(targets.numpy(), outputs.numpy(), average="macro")
    expected = {"error": 100 - 100 * right, "exact_match_error": 100 - 100 * exact}
    assert found == pytest.approx(
        {**{name: float(value) for name, value in expected.items()}, "mean_average_precision": 100 * precision},
        abs=1e-4,
    )


def test_the_error_is_the_mean_over_attributes():
    outputs = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 4.0, -0.1]])
    found = measured(outputs, torch.tensor([[1, 0, 0], [0, 1, 0]]))
    assert (found["error"], found["exact_match_error"]) == (pytest.approx(100 / 6), 50.0)


def test_precision_does_not_depend_on_where_a_batch_ends():
    """torchmetrics takes a batch of logits that lie in [0, 1] for probabilities, and would mix both."""
    outputs = torch.tensor([[0.1], [0.9], [-2.0], [3.0]])
    targets = torch.tensor([[0], [1], [0], [1]])
    assert measured(outputs, targets, 2)["mean_average_precision"] == 100.0
    assert measured(outputs, targets)["mean_average_precision"] == 100.0


def test_attributes_that_no_image_has_are_left_out_of_the_mean_precision():
    outputs, targets = random_batch()
    expected = measured(outputs[:, 1:], targets[:, 1:])["mean_average_precision"]
    assert measured(outputs, targets * torch.tensor([0, 1, 1, 1, 1]))["mean_average_precision"] == pytest.approx(
        expected
    )
    assert torch.tensor(measured(outputs, targets * 0)["mean_average_precision"]).isnan()


def test_nan_is_wrong():
    """NaN > 0 is false, so that a network that has diverged would be right wherever an attribute is absent."""
    outputs, targets = random_batch()
    found = measured(torch.full_like(outputs, torch.nan), targets)
    assert (found["error"], found["exact_match_error"]) == (100.0, 100.0)
    worst = measured(torch.where(targets == 1, -9.0, 9.0), targets)["mean_average_precision"]
    assert found["mean_average_precision"] == pytest.approx(worst)


def test_metrics_start_again_after_a_reset():
    metrics = Multilabel(1).metrics()
    for logit, error in ((-1.0, 100.0), (1.0, 0.0)):
        metrics.update(torch.tensor([[logit]]), torch.tensor([[1]]))
        assert float(metrics.compute()["error"]) == error
        metrics.reset()


def test_the_loss_is_binary_cross_entropy_in_float32():
    outputs, targets = random_batch()
    task = Multilabel(5, label_smoothing=0.1, pos_weight=[1, 2, 3, 4, 5])
    weight = torch.tensor([1.0, 2, 3, 4, 5])
    smooth = targets * 0.9 + 0.05
    assert task.loss(outputs, targets) == binary_cross_entropy_with_logits(outputs, smooth, pos_weight=weight)
    for kind in (torch.bool, torch.uint8, torch.float64):
        assert Multilabel(5).loss(outputs, targets.to(kind)) == Multilabel(5).loss(outputs, targets)
    assert Multilabel(5).loss(outputs.bfloat16(), targets).dtype == torch.float32
    assert Multilabel(5, pos_weight=2).loss(outputs, targets) == Multilabel(5, 0.0, [2] * 5).loss(outputs, targets)


def test_auxiliary_heads_of_googlenet_train_and_do_not_count_in_the_error():
    network = torchvision.models.googlenet(num_classes=5, aux_logits=True, init_weights=False)
    outputs = network.train()(torch.randn(2, 3, 64, 64))
    targets = (outputs.logits > 0).long()
    task = Multilabel(5)
    main, *others = (
        binary_cross_entropy_with_logits(head, targets.float())
        for head in (outputs.logits, outputs.aux_logits1, outputs.aux_logits2)
    )
    assert torch.allclose(task.loss(outputs, targets), main + AUXILIARY_WEIGHT * sum(others))
    metrics = task.metrics()
    metrics.update(outputs, targets)
    assert float(metrics.compute()["error"]) == 0.0


@pytest.mark.parametrize(
    ("outputs", "targets", "told"),
    [
        (torch.zeros(4, 1000), torch.zeros(4, 5), r"shape \(4, 1000\), but the data has 5 attributes"),
        ({"out": torch.zeros(4, 5)}, torch.zeros(4, 5), "returns a dict; multi-label classification needs logits"),
        (torch.zeros(4, 5), torch.zeros(4), r"labels are a tensor of shape \(4,\); .* needs \(batch, 5\)"),
        (torch.zeros(4, 5), torch.zeros(4, 1), r"labels are a tensor of shape \(4, 1\)"),
    ],
)
def test_what_does_not_fit_is_one_sentence(outputs, targets, told):
    """Labels (B, 1) would be broadcast over all attributes without a word."""
    with pytest.raises(UserError, match=told):
        Multilabel(5).loss(outputs, targets)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_classes": 0}, "num_classes=0 is not allowed"),
        ({"num_classes": True}, "num_classes=True is not allowed"),
        ({"label_smoothing": 1.5}, r"task\.label_smoothing=1\.5 is not allowed"),
        ({"pos_weight": 0}, r"task\.pos_weight=0 is not allowed; it must be more than 0"),
        ({"pos_weight": -1}, r"task\.pos_weight=-1 is not allowed"),
        ({"pos_weight": "balanced"}, r"task\.pos_weight='balanced' is not allowed"),
        ({"pos_weight": [1, 2]}, r"task\.pos_weight=\[1, 2\] .* one for each of 5 attributes"),
        ({"pos_weight": [1, 2, 3, 4, float("nan")]}, r"task\.pos_weight=nan is not allowed"),
    ],
)
def test_bad_settings_are_refused(settings, told):
    with pytest.raises(UserError, match=told):
        Multilabel(**{"num_classes": 5, **settings})
