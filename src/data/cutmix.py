"""CutMix: a rectangle of each image comes from another one, and the label says how much of each there is.

Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features,
https://arxiv.org/abs/1905.04899. There one rectangle is drawn for a whole batch; here each image has a rectangle of its
own, and is mixed or not by itself, as in the released code of ENCAS. That code takes the partner from the batch before,
since its batches differ in size; here all images of a step have one size, and the partner is one of the same batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from src.data.options import checked_options
from src.errors import UserError, check_range


@dataclass(frozen=True)
class CutMix:
    """Args: probability: of each image to be mixed; alpha: the share of the partner's area is from Beta(alpha, alpha).

    Raises:
        UserError: a probability that is none, or an alpha that is not positive.
    """

    probability: float = 0.5
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_range("data.augment.cutmix.probability", self.probability, 0, 1)
        check_range("data.augment.cutmix.alpha", self.alpha, 1e-3, 1e3)

    @classmethod
    def from_options(cls, options: dict | None) -> "CutMix | None":
        """From the node `data.augment.cutmix`; None where it is null."""
        options = checked_options("data.augment.cutmix", options, cls, "{probability: 0.5}")
        return None if options is None else cls(**options)

    def check(self, targets: str) -> None:
        """Raises `UserError` where an image has several labels: what is half a face has half an attribute no more."""
        if targets != "class":
            raise UserError("data.augment.cutmix is for images of one class: give data.augment.cutmix=null")

    def draw(self, count: int, height: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
        """For `count` images: partners (B,), a permutation, and boxes (B, 4), int64; the box is empty where none is."""
        rng = np.random.default_rng(seed)
        partners = rng.permutation(count)
        shares = rng.beta(self.alpha, self.alpha, count) * (rng.random(count) < self.probability)
        boxes = boxes_around(torch.from_numpy(rng.random((count, 2))), torch.from_numpy(shares), height, width)
        return torch.from_numpy(partners), boxes

    def __call__(self, images: Tensor, labels: Tensor, num_classes: int, seed: int) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and labels (B,), mixed as drawn for `seed`; the labels as shares (B, num_classes)."""
        partners, boxes = self.draw(len(images), *images.shape[-2:], seed)
        return mixed(images, labels, partners.to(images.device), boxes.to(images.device), num_classes)


def boxes_around(centres: Tensor, shares: Tensor, height: int, width: int) -> Tensor:
    """Boxes int64 (B, 4): top, left, bottom, right (the last two not included), cut off at the border of the image.

    centres (B, 2): in [0, 1), of height and width; shares (B,): of the area of the image, before it is cut off. The
    sides of the box are to each other as those of the image (the paper's equation 2).
    """
    size = torch.tensor([height, width])
    sides = (size * shares.sqrt()[:, None]).long()
    first = (size * centres).long() - sides // 2
    return torch.cat([first.clamp_min(0), torch.minimum(first + sides, size)], dim=1)


def mixed(images: Tensor, labels: Tensor, partners: Tensor, boxes: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) with what their partners (B,) show inside boxes (B, 4), and shares (B, num_classes).

    The share of a label is that of its pixels, exactly: boxes are cut off at the border.
    """
    height, width = images.shape[-2:]
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    top, left, bottom, right = boxes.T[:, :, None]
    inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None]
    pasted = inside.sum((1, 2)).div(height * width)[:, None]
    own = one_hot(labels, num_classes)
    shares = own * (1 - pasted) + own[partners] * pasted
    return torch.where(inside[:, None], images[partners], images), shares
