"""Transforms of one image read from a folder: PIL image to uint8 tensor (C, H, W), with torchvision's v2 transforms."""

from collections.abc import Sequence
from dataclasses import dataclass

from torchvision.transforms import v2

from src.data.augmentation import PARTS
from src.data.cutmix import CutMix
from src.data.options import checked_options
from src.data.rand_augment import RandAugment
from src.errors import UserError


@dataclass(frozen=True)
class FolderAugmentation:
    """scale: least and most share of the area that is cut; jitter: brightness, contrast, saturation.

    cutmix is not of one image: the loader does it.
    """

    scale: tuple[float, float] | None = None
    flip: bool = False
    jitter: tuple[float, float, float] | None = None
    randaugment: RandAugment | None = None
    cutmix: CutMix | None = None


def folder_augmentation(options: dict | None) -> FolderAugmentation:
    """From the config's `augment` node. Raises `UserError`."""
    options = checked_options("data.augment", options, FolderAugmentation, "{flip: true}") or {}
    parts = {name: part.from_options(options.get(name)) for name, part in PARTS.items()}
    if not isinstance(options.get("flip", False), bool):
        raise UserError(f"data.augment.flip={options['flip']!r} is not allowed; it must be true or false")
    scale, jitter = options.get("scale"), options.get("jitter")
    if scale is not None:
        scale = _numbers(scale, 2)
        if scale is None or not 0 < scale[0] <= scale[1] <= 1:
            raise UserError(
                f"data.augment.scale={options['scale']!r} is not allowed; it must be [least, most], shares of "
                "the area, more than 0 and at most 1, or null"
            )
    if jitter is not None:
        jitter = _numbers(jitter, 3)
        if jitter is None or min(jitter) < 0:
            raise UserError(
                f"data.augment.jitter={options['jitter']!r} is not allowed; it must be [brightness, contrast, "
                "saturation], none of them less than 0, or null"
            )
    return FolderAugmentation(scale, options.get("flip", False), jitter, **parts)


def evaluation_transform(size: tuple[int, int], resize: int) -> v2.Transform:
    """Shorter side to `resize`, then the centre of `size` = (height, width)."""
    return v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(size), v2.PILToTensor()])


def training_transform(size: tuple[int, int], resize: int, augment: FolderAugmentation) -> v2.Transform:
    """A random part of the image, resized to `size`, perhaps mirrored, with jittered colours and RandAugment."""
    if augment.scale is None:
        steps = [v2.Resize(resize, antialias=True), v2.CenterCrop(size)]
    else:
        steps = [v2.RandomResizedCrop(size, scale=augment.scale, antialias=True)]
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip())
    steps.append(v2.PILToTensor())
    if augment.jitter is not None:
        brightness, contrast, saturation = augment.jitter
        steps.append(v2.ColorJitter(brightness, contrast, saturation))
    if augment.randaugment is not None:
        steps.append(augment.randaugment)
    return v2.Compose(steps)


def _numbers(values: Sequence[float], count: int) -> tuple[float, ...] | None:
    """`values` as floats, if they are `count` numbers."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        return None
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return None
    return tuple(map(float, values))
