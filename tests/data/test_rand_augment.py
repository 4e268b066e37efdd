"""RandAugment: each operation is torchvision's, and a batch is done as image by image."""

import pytest
import torch
from torchvision.transforms import v2

from src.data.rand_augment import NAMES, OPERATIONS, TWO_WAYS, Choices, RandAugment, augmented
from src.errors import UserError
from tests.data.sets import memory_data, pixels, trainer

THEIRS = {name.lower(): name for name in v2.RandAugment._AUGMENTATION_SPACE}


@pytest.mark.parametrize("magnitude", [3, 10])
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_that_of_torchvision(name, magnitude):
    theirs = THEIRS[name.replace("_", "")]
    library = v2.RandAugment(1, 3 * magnitude, 31, v2.InterpolationMode.BILINEAR, fill=128)
    library._AUGMENTATION_SPACE = {theirs: v2.RandAugment._AUGMENTATION_SPACE[theirs]}
    image = pixels(1, 3, 12, 12)
    number, signs = NAMES.index(name), (1, -1) if name in TWO_WAYS else (1,)
    ours = [augmented(image, Choices(torch.tensor([[number]]), torch.tensor([[s * magnitude / 10]]))) for s in signs]
    for _ in range(4):  # it draws the direction
        expected = library(image).int()
        assert any((one.int() - expected).abs().max() <= 1 for one in ours)
    assert image.equal(pixels(1, 3, 12, 12))


def test_all_operations_are_there():
    assert len(OPERATIONS) == len(THEIRS) == 14


@pytest.mark.parametrize("channels", [1, 3])
def test_a_whole_batch_is_done_as_image_by_image(channels):
    images = pixels(60, channels, 8, 8)
    choices = RandAugment(std=0.5, probability=0.8).draw(60, torch.Generator().manual_seed(0))
    alone = [augmented(images[i : i + 1], Choices(*(v[i : i + 1] for v in choices))) for i in range(60)]
    assert torch.equal(augmented(images, choices), torch.cat(alone))


def test_draws_are_even_and_their_strength_is_the_magnitude():
    choices = RandAugment(magnitude=9).draw(7000, torch.Generator().manual_seed(0))
    counts = torch.bincount(choices.operations.flatten(), minlength=14)
    assert ((counts - 1000).abs() < 120).all()
    assert (choices.strengths.abs() == 0.9).all()
    back = choices.strengths[choices.operations == NAMES.index("rotate")] < 0
    assert abs(back.float().mean() - 0.5) < 0.06
    noisy = RandAugment(magnitude=9, std=0.5, probability=0.5).draw(7000, torch.Generator().manual_seed(0))
    assert abs((noisy.strengths == 0).float().mean() - 0.5) < 0.02
    assert noisy.strengths.abs().max() <= 1
    assert noisy.strengths.abs().unique().numel() > 14


def test_two_ranks_train_on_what_one_process_would():
    data = memory_data(augment={"crop": 2, "randaugment": {"std": 0.5}}, seed=4, val_fraction=0.2)
    alone = torch.cat([images for images, _ in data.train_dataloader()])
    data.batch_size //= 2
    shards = []
    for rank in (0, 1):
        data.trainer = trainer(rank, 2)
        shards.append([images for images, _ in data.train_dataloader()])
    together = [torch.stack(pair, dim=1).flatten(0, 1) for pair in zip(*shards, strict=True)]
    assert torch.equal(torch.cat(together), alone)


def test_the_crops_stay_when_it_is_turned_on():
    """Settings that are compared with the same seed should differ in what was set, and in nothing else."""
    batches = []
    for randaugment in (None, {"magnitude": 0, "probability": 0}):
        data = memory_data(augment={"crop": 2, "randaugment": randaugment}, seed=4)
        batches.append(next(iter(data.train_dataloader())))
    assert torch.equal(batches[0][0], batches[1][0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"magnitude": 11}, r"randaugment\.magnitude=11 is not allowed; it must be a number from 0 to 10"),
        ({"operations": 0}, r"randaugment\.operations=0 is not allowed"),
        ({"num_ops": 2}, r"randaugment\.num_ops is not known"),
        (True, r"randaugment=True is not allowed; it must be null or a mapping"),
    ],
)
def test_wrong_options_are_named(options, sentence):
    with pytest.raises(UserError, match=sentence):
        RandAugment.from_options(options)
