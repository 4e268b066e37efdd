"""The official CIFAR-10 and MNIST, where they are to be had."""

import pytest
import torch
from torchvision import datasets

from src.data.pixels import channel_statistics
from tests.data.test_config import built
from tests.real_data import real_cifar10, real_mnist


def test_cifar10_has_its_published_numbers():
    root = real_cifar10()
    data = built("cifar10", f"root={root}")
    assert (data.train_size, data.val_size, data.class_names[3]) == (45000, 5000, "cat")
    assert torch.bincount(data._val.labels).tolist() == [500] * 10
    mean, std = channel_statistics(torch.cat([data._train.images, data._val.images]))
    assert mean == pytest.approx(data.mean, abs=1e-4)
    assert std == pytest.approx(data.std, abs=1e-4)


def test_cifar10_test_batches_are_the_official_test_images_in_order():
    root = real_cifar10()
    data = built("cifar10", f"root={root}", "mean=0", "std=1", "limit=200", "batch_size=100")
    official = datasets.CIFAR10(root, train=False)
    labels = torch.cat([labels for _, labels in data.test_dataloader()])
    assert labels.tolist() == official.targets
    images = next(iter(data.test_dataloader()))[0]
    assert torch.allclose(images, torch.from_numpy(official.data[: len(images)]).permute(0, 3, 1, 2) / 255)


def test_mnist_has_its_published_numbers():
    data = built("mnist", f"root={real_mnist()}")
    assert (data.train_size, data.val_size, data.input_shape) == (54000, 6000, (1, 28, 28))
    assert sum(len(labels) for _, labels in data.test_dataloader()) == 10000
