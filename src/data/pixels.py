"""From uint8 pixels to what a network reads: channels, size, statistics, normalisation."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

CHUNK = 4096  # images converted at a time, to bound the memory


def grey(images: Tensor) -> Tensor:
    """Luma of uint8 images (N, 3, H, W) as uint8 (N, 1, H, W), ITU-R BT.601 weights, rounded."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
    parts = [(part.float() * weights).sum(1, keepdim=True).round().to(torch.uint8) for part in images.split(CHUNK)]
    return torch.cat(parts)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (N, C, H, W), uint8 or float, at `size` = (height, width): bilinear, antialiased when they shrink."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    whole = images.dtype == torch.uint8
    shrinks = size[0] < images.shape[-2] or size[1] < images.shape[-1]
    parts = []
    for part in images.split(CHUNK):
        part = interpolate(part.float(), size=tuple(size), mode="bilinear", antialias=shrinks, align_corners=False)
        parts.append(part.round().clamp(0, 255).to(torch.uint8) if whole else part)
    return torch.cat(parts)


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of uint8 images (N, C, H, W) scaled to [0, 1].

    Exact, from the 256 counts of each channel. A constant channel gets one grey level, 1/255, as its deviation.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.float64)
        for part in images[:, channel].split(CHUNK):
            counts += torch.bincount(part.flatten().int(), minlength=256).cpu()
        mean = float((counts * levels).sum() / counts.sum())
        variance = float((counts * (levels - mean) ** 2).sum() / counts.sum())
        means.append(mean)
        deviations.append(max(variance**0.5, 1 / 255))
    return tuple(means), tuple(deviations)


class Normaliser:
    """uint8 images (B, c, h, w) to float32 (B, C, H, W): scaled to [0, 1], minus mean, over deviation, at `size`.

    `mean` and `std` have C numbers; a grey image (c = 1) is repeated for C = 3 by broadcasting. Enlarging comes last,
    batch by batch, so that a small set stays small in memory.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], size: tuple[int, int], device: torch.device):
        deviation = torch.tensor(std, dtype=torch.float64)
        self.scale = (1 / (255 * deviation)).float().view(1, -1, 1, 1).to(device)
        self.shift = (-torch.tensor(mean, dtype=torch.float64) / deviation).float().view(1, -1, 1, 1).to(device)
        self.size = size

    def __call__(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """`visible`, bool (B, 1, h, w): where false, the result is 0, the mean of the data."""
        values = images.float()
        if values.shape[1] == self.scale.shape[1]:
            values = values.mul_(self.scale).add_(self.shift)
        else:
            values = values * self.scale + self.shift
        if visible is not None:
            values *= visible.to(values.device)
        return resized(values, self.size)
