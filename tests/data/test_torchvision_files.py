from pathlib import Path

import pytest
from torchvision import datasets

from src.data.torchvision_files import absent_file, archive, official_files


@pytest.mark.parametrize(
    ("data_class", "count", "first"),
    [
        (datasets.CIFAR10, 7, "cifar-10-batches-py/data_batch_1"),
        (datasets.CIFAR100, 3, "cifar-100-python/train"),
        (datasets.MNIST, 4, "MNIST/raw/train-images-idx3-ubyte"),
        (datasets.KMNIST, 4, "KMNIST/raw/train-images-idx3-ubyte"),
        (datasets.SVHN, 2, "train_32x32.mat"),
        (datasets.CelebA, 5, "celeba/list_attr_celeba.txt"),
    ],
)
def test_known_layouts(data_class, count, first):
    files = official_files(data_class, Path("/sets"))
    assert (len(files), files[0][0]) == (count, Path("/sets") / first)
    assert absent_file(data_class, Path("/sets")) == Path("/sets") / first


@pytest.mark.parametrize("data_class", [datasets.EMNIST, datasets.QMNIST, datasets.Food101, datasets.FakeData])
def test_a_class_that_does_not_tell_is_left_to_itself(data_class):
    """EMNIST and QMNIST inherit MNIST's list, which is not theirs."""
    assert official_files(data_class, Path("/sets")) == []
    assert data_class.__name__ in archive(data_class)
