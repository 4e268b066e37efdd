import pytest
import torch
from torchvision.transforms.v2 import functional

from src.data.pixels import Normaliser, channel_statistics, grey, resized
from tests.data.sets import pixels

CPU = torch.device("cpu")


def test_grey_agrees_with_torchvision_to_one_level():
    images = pixels(10, 3, 6, 5)
    difference = grey(images).int() - functional.rgb_to_grayscale(images).int()
    assert grey(images).shape == (10, 1, 6, 5)
    assert difference.abs().max() <= 1


def test_shrinking_agrees_with_torchvision_to_one_level():
    images = pixels(10, 3, 16, 12)
    difference = resized(images, (7, 6)).int() - functional.resize(images, [7, 6], antialias=True).int()
    assert difference.abs().max() <= 1


def test_statistics_are_those_of_all_pixels():
    images = pixels(5000, 3, 2, 2)  # more images than are counted at a time
    mean, std = channel_statistics(images)
    values = images.double() / 255
    assert mean == pytest.approx(values.mean((0, 2, 3)).tolist())
    assert std == pytest.approx(values.std((0, 2, 3), correction=0).tolist())


def test_a_constant_channel_does_not_divide_by_zero():
    images = torch.full((4, 1, 2, 2), 7, dtype=torch.uint8)
    normalised = Normaliser(*channel_statistics(images), (2, 2), CPU)(images)
    assert normalised.abs().max() < 1e-5


def test_normalised_and_repeated_for_three_channels():
    images = pixels(4, 1, 5, 5)
    normalised = Normaliser([0.1, 0.2, 0.3], [0.5, 0.6, 0.7], (5, 5), CPU)(images)
    expected = functional.normalize(images.expand(-1, 3, -1, -1) / 255, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    assert torch.allclose(normalised, expected, atol=1e-6)


def test_hidden_pixels_are_the_mean_before_enlarging():
    hidden = torch.zeros(4, 1, 5, 5, dtype=torch.bool)
    normalised = Normaliser([0.4], [0.5], (9, 9), CPU)(pixels(4, 1, 5, 5), hidden)
    assert normalised.shape == (4, 1, 9, 9)
    assert not normalised.any()
