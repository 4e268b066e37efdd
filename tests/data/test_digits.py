import pytest
import torch
from sklearn.datasets import load_digits

from src.data.digits import DigitsData
from tests.data.test_config import built


def digits(**options):
    data = DigitsData(name="digits", val_fraction=0.2, **options)
    data.prepare_data()
    data.setup()
    return data


def everything(loader):
    return torch.cat([images for images, _ in loader]), torch.cat([labels for _, labels in loader])


def test_sizes_shape_and_classes():
    data = digits(num_classes=10)
    assert (data.train_size, data.val_size, len(everything(data.test_dataloader())[1])) == (1078, 270, 449)
    assert (data.input_shape, data.num_classes, data.class_names[9]) == ((1, 8, 8), 10, "9")


def test_every_split_has_every_class_in_proportion():
    data = digits()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        shares = torch.bincount(everything(loader)[1], minlength=10) / len(loader.sampler.batches()[0]) / len(loader)
        assert (shares / shares.sum() - 0.1).abs().max() < 0.01


def test_the_test_split_does_not_depend_on_the_seed():
    """Seeds are compared on the same test images, and no seed trains on another seed's."""
    first, second = (digits(seed=seed, mean=0, std=1) for seed in (0, 1))
    assert torch.equal(everything(first.test_dataloader())[0], everything(second.test_dataloader())[0])
    assert not torch.equal(first._val.images, second._val.images)


def test_the_three_splits_are_the_1797_images_scaled_to_bytes():
    data = digits()
    data.test_dataloader()
    held = torch.cat([data._train.images, data._val.images, data._test.images]).flatten(1)
    expected = (torch.as_tensor(load_digits().images).flatten(1) * 15.9375).round().to(torch.uint8)
    assert len(held) == 1797
    assert torch.equal(held.unique(dim=0, return_counts=True)[1], expected.unique(dim=0, return_counts=True)[1])
    assert torch.equal(held.unique(dim=0), expected.unique(dim=0))


def test_the_config_has_the_statistics_of_the_training_images():
    data = built("digits")
    images = torch.cat([data._train.images, data._val.images]) / 255
    assert data.mean[0] == pytest.approx(float(images.mean()), abs=1e-3)
    assert data.std[0] == pytest.approx(float(images.std()), abs=1e-3)
