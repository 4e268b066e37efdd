"""CutMix: pixels and labels against the definition, image by image; and what a loader makes of it."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from src.data.cutmix import CutMix, boxes_around, mixed
from src.errors import UserError
from src.tasks.classification import Classification
from tests.data.sets import memory_data, trainer


def one_by_one(images, labels, partners, boxes, classes):
    result, shares = images.clone(), torch.zeros(len(images), classes)
    for b, (top, left, bottom, right) in enumerate(boxes.tolist()):
        pasted = 0
        for row in range(top, bottom):
            for column in range(left, right):
                result[b, :, row, column] = images[partners[b], :, row, column]
                pasted += 1
        part = pasted / images[0, 0].numel()
        shares[b, labels[b]] += 1 - part
        shares[b, labels[partners[b]]] += part
    return result, shares


def test_a_whole_batch_is_mixed_as_image_by_image():
    images, labels = torch.rand(40, 3, 7, 9), torch.arange(40) % 5
    partners, boxes = CutMix(probability=0.7).draw(40, 7, 9, seed=1)
    found = mixed(images, labels, partners, boxes, 5)
    expected = one_by_one(images, labels, partners, boxes, 5)
    assert torch.equal(found[0], expected[0])
    assert torch.allclose(found[1], expected[1])
    assert 0 < (found[1].max(1).values < 1).sum() < 40  # some are mixed, some are not


def test_boxes_have_the_share_of_the_area_and_are_cut_off_at_the_border():
    centres = torch.tensor([[0.5, 0.5], [0.0, 0.99], [0.3, 0.3], [0.5, 0.5]])
    shares = torch.tensor([0.25, 0.25, 0.0, 1.0])
    boxes = boxes_around(centres, shares, 8, 20)
    assert boxes.tolist()[:2] == [[2, 5, 6, 15], [0, 14, 2, 20]]
    assert (boxes[2, 2:] - boxes[2, :2]).tolist() == [0, 0]
    assert boxes[3].tolist() == [0, 0, 8, 20]


def test_half_of_the_images_are_mixed_each_with_a_box_of_its_own():
    """One draw for the whole batch would mix all or none."""
    _, boxes = CutMix().draw(4000, 32, 32, seed=0)
    sides = boxes[:, 2:] - boxes[:, :2]
    assert abs((sides.prod(1) > 0).double().mean() - 0.5) < 0.04
    # of uniform shares l the sides are 32 sqrt(l), and a border cuts off a fourth of them times sqrt(l)
    assert abs(sides[:, 0][sides.prod(1) > 0].double().mean() - 32 * (2 / 3 - 1 / 8)) < 1


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_task_takes_shares_of_classes(smoothing):
    """Its loss is that of both labels, each as much as there is of it."""
    task, logits = Classification(3, label_smoothing=smoothing), torch.randn(2, 3)
    labels, others, part = torch.tensor([0, 2]), torch.tensor([1, 0]), 0.3
    shares = one_hot(labels, 3) * (1 - part) + one_hot(others, 3) * part
    first, second = (cross_entropy(logits, own, label_smoothing=smoothing) for own in (labels, others))
    assert task.loss(logits, shares).item() == pytest.approx(((1 - part) * first + part * second).item(), rel=1e-5)


def test_batches_are_mixed_in_training_only_and_a_resumed_epoch_goes_on_alike():
    data = memory_data(augment={"cutmix": {"probability": 1.0}}, mean=0, std=1)
    loader = data.train_dataloader()
    batches = list(loader)
    assert batches[0][1].shape == (len(batches[0][0]), data.num_classes)
    assert all(torch.allclose(shares.sum(1), torch.ones(len(shares))) for _, shares in batches)
    resumed = data.train_dataloader()
    resumed.load_state_dict({"epoch": 0, "step": 2})
    rest = list(resumed)
    assert torch.equal(rest[0][0], batches[2][0])
    assert torch.equal(rest[0][1], batches[2][1])
    loader.sampler.set_epoch(1)
    assert not torch.equal(next(iter(loader))[1], batches[0][1])
    assert next(iter(data.val_dataloader()))[1].ndim == 1
    assert data.calibration_batches(8)[0][1].ndim == 1


def test_each_rank_draws_for_its_own_images():
    """With equal draws the ranks would paste equal boxes at each step."""
    data = memory_data(augment={"cutmix": {"probability": 1.0}}, val_fraction=0.2)
    data.batch_size = 4
    shares = []
    for rank in (0, 1):
        data.trainer = trainer(rank, 2)
        shares.append(torch.cat([labels.max(1).values for _, labels in data.train_dataloader()]))
    assert not torch.equal(*shares)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"probability": 2}, r"cutmix\.probability=2 is not allowed"),
        ({"alpha": 0}, r"cutmix\.alpha=0 is not allowed"),
        ({"probabilty": 1}, r"cutmix\.probabilty is not known; did you mean 'probability'"),
        (0.5, r"data\.augment\.cutmix=0\.5 is not allowed; it must be null or a mapping"),
    ],
)
def test_wrong_options_are_named(options, sentence):
    with pytest.raises(UserError, match=sentence):
        CutMix.from_options(options)
    with pytest.raises(UserError, match="is for images of one class"):
        CutMix().check("attributes")
