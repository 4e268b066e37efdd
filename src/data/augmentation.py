"""Random crop, flip, RandAugment, cutout and CutMix of whole batches, one draw an image and no loop over images.

Cutout: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout,
https://arxiv.org/abs/1708.04552
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from src.data.cutmix import CutMix
from src.data.options import checked_options
from src.data.rand_augment import Choices, RandAugment, augmented
from src.errors import UserError


class Draws(NamedTuple):
    """What was drawn for B images.

    Top-left corners (B, 2) in the padded image, flips (B,), hole centres (B, 2), and operations of RandAugment with
    their strengths (B, n), none without it.
    """

    corners: Tensor
    flips: Tensor
    centres: Tensor
    operations: Tensor
    strengths: Tensor

    def of_rank(self, rank: int, world: int) -> "Draws":
        """The part that belongs to every `world`-th image from `rank` on."""
        return Draws(*(values[rank::world] for values in self))


PARTS = {"randaugment": RandAugment, "cutmix": CutMix}  # options of which each is a node of its own


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training image of (H, W) pixels.

    crop: black pixels added on each side before a window of (H, W) is cut at a random place; 0 = no crop.
    flip: mirror left and right, with probability 1/2.
    cutout: side in pixels of one square hole with a random centre, cut off at the border; 0 = no hole.
    randaugment: operations on the image that was cropped and flipped; None = none.
    cutmix: of the images of a batch, when all else is done; None = none.
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0
    randaugment: RandAugment | None = None
    cutmix: CutMix | None = None

    @classmethod
    def from_options(cls, options: dict | None) -> "Augmentation | None":
        """From the config's `augment` node; None when nothing is to be done. Raises `UserError`."""
        options = checked_options("data.augment", options, cls, "{flip: true}") or {}
        for name, value in options.items():
            if name in PARTS:
                options[name] = PARTS[name].from_options(value)
            elif name == "flip":
                if not isinstance(value, bool):
                    raise UserError(f"data.augment.flip={value!r} is not allowed; it must be true or false")
            elif value is None:
                options[name] = 0
            elif not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise UserError(f"data.augment.{name}={value!r} is not allowed; it must be a whole number of pixels")
        augmentation = cls(**options)
        return None if augmentation == cls() else augmentation

    def check(self, height: int, width: int, targets: str = "class") -> None:
        """Raises `UserError` when images of (height, width), or their labels, do not admit what is done to them."""
        if self.cutmix is not None:
            self.cutmix.check(targets)
        for name in ("crop", "cutout"):
            if getattr(self, name) >= min(height, width):
                raise UserError(
                    f"data.augment.{name}={getattr(self, name)} is not allowed; the images are {height} x {width} "
                    f"pixels, so it must be from 0 to {min(height, width) - 1}"
                )

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Draws:
        """Random draws for `count` images of (height, width), always in the same order."""
        corners = torch.randint(0, 2 * self.crop + 1, (count, 2), generator=generator)
        flips = torch.randint(0, 2, (count,), generator=generator).bool() & self.flip
        rows = torch.randint(0, height, (count,), generator=generator)
        columns = torch.randint(0, width, (count,), generator=generator)
        nothing = torch.zeros(count, 0, dtype=torch.long)
        choices = Choices(nothing, nothing) if self.randaugment is None else self.randaugment.draw(count, generator)
        return Draws(corners, flips, torch.stack([rows, columns], dim=1), *choices)

    def move(self, images: Tensor, draws: Draws) -> Tensor:
        """Crop and flip uint8 images (B, C, H, W), then RandAugment."""
        if self.crop or self.flip:
            images = cropped(images, draws.corners, draws.flips, self.crop)
        return images if self.randaugment is None else augmented(images, Choices(draws.operations, draws.strengths))

    def visible(self, images: Tensor, draws: Draws) -> Tensor | None:
        """bool (B, 1, H, W), false inside the holes; None without cutout."""
        return outside_holes(draws.centres, self.cutout, *images.shape[-2:]) if self.cutout else None


def cropped(images: Tensor, corners: Tensor, flips: Tensor, padding: int) -> Tensor:
    """A window of (H, W) from each of `images` (B, C, H, W) with `padding` zeros on every side.

    corners (B, 2): row and column of the window's first pixel in the padded image, 0 to 2 * padding; flips bool (B,):
    mirror the window. One gather for the whole batch, on the device of `images`; exact for every dtype.
    """
    count, channels, height, width = images.shape
    corners, flips = corners.to(images.device), flips.to(images.device)
    padded = pad(images, (padding,) * 4)
    rows = corners[:, :1] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(count, width)
    columns = corners[:, 1:] + torch.where(flips[:, None], width - 1 - columns, columns)
    places = rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]
    places = places.view(count, 1, height * width).expand(count, channels, height * width)
    return padded.flatten(2).gather(2, places).view(images.shape)


def outside_holes(centres: Tensor, side: int, height: int, width: int) -> Tensor:
    """bool (B, 1, height, width), false in a square of `side` pixels around each of `centres` (B, 2).

    The square reaches from centre - side // 2 to centre - side // 2 + side - 1 and is cut off at the border.
    """

    def outside(centre: Tensor, length: int) -> Tensor:
        distance = torch.arange(length, device=centres.device) - (centre[:, None] - side // 2)
        return (distance < 0) | (distance >= side)

    rows, columns = outside(centres[:, 0], height), outside(centres[:, 1], width)
    return (rows[:, :, None] | columns[:, None, :])[:, None]
