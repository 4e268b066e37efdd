"""RandAugment: a few operations on each image, drawn from a list, all of them of one strength.

Cubuk et al., RandAugment: Practical automated data augmentation with a reduced search space,
https://arxiv.org/abs/1909.13719. The operations and their largest strengths are those of torchvision's `RandAugment`,
by its functions on uint8 tensors, on the paper's scale from 0 to 10 (torchvision counts the same range in 30 steps).
timm's "rand-m9-mstd0.5" is magnitude 9, std 0.5 and probability 0.5; its list has a few operations more (recalled).

Images of a batch that get the same operation are transformed together, which is five times faster than one by one; so
the noise of the magnitude is drawn for each operation of a batch, not for each image. What operation, in which
direction, and whether, is drawn for each image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import atan, degrees
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as library

from src.data.options import checked_options
from src.errors import check_range, check_whole

LARGEST = 10.0  # of the scale of magnitudes
GREY = 128.0  # what is moved in from outside the image


def _rotated(images: Tensor, angle: float) -> Tensor:
    return library.rotate(images, angle, InterpolationMode.BILINEAR, fill=[GREY] * images.shape[1])


def _affine(images: Tensor, translate: tuple[int, int], shear: tuple[float, float], centre: list | None) -> Tensor:
    fill = [GREY] * images.shape[1]
    return library.affine(images, 0.0, list(translate), 1.0, list(shear), InterpolationMode.BILINEAR, fill, centre)


def _sheared(images: Tensor, x: float, y: float) -> Tensor:
    return _affine(images, (0, 0), (degrees(atan(x)), degrees(atan(y))), [0, 0])


def _moved(images: Tensor, x: float, y: float) -> Tensor:
    height, width = images.shape[-2:]
    return _affine(images, (int(x * 150 / 331 * width), int(y * 150 / 331 * height)), (0.0, 0.0), None)


# Of uint8 images (B, C, H, W) and a strength from 0 to 1, or from -1 where the operation has two directions.
Operation = Callable[[Tensor, float], Tensor]
ONE_WAY: dict[str, Operation] = {
    "identity": lambda images, s: images,
    "posterize": lambda images, s: library.posterize(images, 8 - round(4 * s)),
    "solarize": lambda images, s: library.solarize(images, 255 * (1 - s)),
    "autocontrast": lambda images, s: library.autocontrast(images),
    "equalize": lambda images, s: library.equalize(images),
}
TWO_WAYS: dict[str, Operation] = {
    "shear_x": lambda images, s: _sheared(images, 0.3 * s, 0),
    "shear_y": lambda images, s: _sheared(images, 0, 0.3 * s),
    "translate_x": lambda images, s: _moved(images, s, 0),
    "translate_y": lambda images, s: _moved(images, 0, s),
    "rotate": lambda images, s: _rotated(images, 30 * s),
    "brightness": lambda images, s: library.adjust_brightness(images, 1 + 0.9 * s),
    "color": lambda images, s: library.adjust_saturation(images, 1 + 0.9 * s),
    "contrast": lambda images, s: library.adjust_contrast(images, 1 + 0.9 * s),
    "sharpness": lambda images, s: library.adjust_sharpness(images, 1 + 0.9 * s),
}
OPERATIONS = [*ONE_WAY.values(), *TWO_WAYS.values()]
NAMES = [*ONE_WAY, *TWO_WAYS]


class Choices(NamedTuple):
    """What was drawn for B images: the numbers of their operations, int64 (B, operations), and strengths (same)."""

    operations: Tensor
    strengths: Tensor


@dataclass(frozen=True)
class RandAugment:
    """What is done to each image.

    Args:
        operations: how many, one after the other; drawn alike, with repetition.
        magnitude: from 0 to 10, of all of them.
        std: of a normal noise on it; the sum stays from 0 to 10.
        probability: of each operation; else the image stays.

    Raises:
        UserError: a value that is not allowed.
    """

    operations: int = 2
    magnitude: float = 9.0
    std: float = 0.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_whole("data.augment.randaugment.operations", self.operations, 1, 100)
        check_range("data.augment.randaugment.magnitude", self.magnitude, 0, LARGEST)
        check_range("data.augment.randaugment.std", self.std, 0, LARGEST)
        check_range("data.augment.randaugment.probability", self.probability, 0, 1)

    @classmethod
    def from_options(cls, options: dict | None) -> "RandAugment | None":
        """From the node `data.augment.randaugment`; None where it is null."""
        options = checked_options("data.augment.randaugment", options, cls, "{operations: 2, magnitude: 9}")
        return None if options is None else cls(**options)

    def draw(self, count: int, generator: torch.Generator | None = None) -> Choices:
        """Draws for `count` images, by default with the global generator."""
        shape = (count, self.operations)
        numbers = torch.randint(0, len(OPERATIONS), shape, generator=generator)
        signs = 1.0 - 2.0 * torch.randint(0, 2, shape, generator=generator) * (numbers >= len(ONE_WAY))
        noise = self.std * torch.randn(self.operations, len(OPERATIONS), generator=generator)
        levels = (self.magnitude + noise).clamp(0, LARGEST) / LARGEST
        done = torch.rand(shape, generator=generator) < self.probability
        strengths = signs * levels[torch.arange(self.operations), numbers]
        return Choices(torch.where(done, numbers, 0), torch.where(done, strengths, 0))

    def __call__(self, image: Tensor) -> Tensor:
        """A uint8 image (C, H, W), drawn with the global generator."""
        return augmented(image[None], self.draw(1))[0]


def augmented(images: Tensor, choices: Choices) -> Tensor:
    """uint8 images (B, C, H, W) after their operations; images of one operation and strength are done together."""
    images = images.clone()
    for numbers, strengths in zip(choices.operations.T, choices.strengths.T, strict=True):
        for number, strength in {*zip(numbers.tolist(), strengths.tolist(), strict=True)}:
            if number:
                rows = ((numbers == number) & (strengths == strength)).nonzero()[:, 0].to(images.device)
                images[rows] = OPERATIONS[number](images[rows], strength)
    return images
