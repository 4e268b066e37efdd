"""The operations of a DARTS cell (Liu et al. 2019, https://arxiv.org/abs/1806.09055, section 3.1).

Each keeps the channels C and divides the resolution by its stride, rounding up: (B, C, H, W) -> (B, C, H / s, W / s).
Activations come first, convolutions have no bias.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError
from src.graph.equal_parts import cat_equal

NONE = "none"
PARAMETER_FREE = ("max_pool_3x3", "avg_pool_3x3", "skip_connect")  # where nothing is reduced
OPERATIONS = (NONE, *PARAMETER_FREE, "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")


class SeparableConv(nn.Sequential):
    """Twice: ReLU, depthwise convolution, 1x1 convolution, batch norm; the first has the stride."""

    def __init__(self, channels: int, kernel: int, stride: int, affine: bool) -> None:
        super().__init__()
        for half, step in ((1, stride), (2, 1)):
            depthwise = nn.Conv2d(channels, channels, kernel, step, kernel // 2, groups=channels, bias=False)
            self.add_module(f"relu{half}", nn.ReLU())
            self.add_module(f"depthwise{half}", depthwise)
            self.add_module(f"pointwise{half}", nn.Conv2d(channels, channels, 1, bias=False))
            self.add_module(f"bn{half}", nn.BatchNorm2d(channels, affine=affine))


class DilatedConv(nn.Sequential):
    """ReLU, depthwise convolution of dilation 2, 1x1 convolution, batch norm."""

    def __init__(self, channels: int, kernel: int, stride: int, affine: bool) -> None:
        super().__init__()
        reach = 2 * (kernel // 2)
        self.add_module("relu", nn.ReLU())
        self.add_module(
            "depthwise",
            nn.Conv2d(channels, channels, kernel, stride, reach, dilation=2, groups=channels, bias=False),
        )
        self.add_module("pointwise", nn.Conv2d(channels, channels, 1, bias=False))
        self.add_module("bn", nn.BatchNorm2d(channels, affine=affine))


class FactorizedReduce(nn.Module):
    """Half of the resolution without a pool: two 1x1 convolutions of stride 2, of half the channels each.

    The second one sees the image shifted by one pixel, so that together they see both diagonals of each 2x2 square;
    behind the last row and column of an odd size it sees zeros: (B, C_in, H, W) -> (B, C, ceil(H / 2), ceil(W / 2)).
    """

    def __init__(self, in_channels: int, channels: int, affine: bool) -> None:
        super().__init__()
        if channels % 2:
            raise UserError(f"{channels} channels cannot be reduced by two convolutions of half as many: give an even")
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, channels // 2, 1, 2, bias=False)
        self.conv2 = nn.Conv2d(in_channels, channels // 2, 1, 2, bias=False)
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        shifted = F.pad(x, (-1, 1, -1, 1))
        return self.bn(cat_equal([self.conv1(x), self.conv2(shifted)]))


class Preprocess(nn.Sequential):
    """ReLU, 1x1 convolution, batch norm: makes `channels` of an input of a cell."""

    def __init__(self, in_channels: int, channels: int, affine: bool) -> None:
        super().__init__()
        self.add_module("relu", nn.ReLU())
        self.add_module("conv", nn.Conv2d(in_channels, channels, 1, bias=False))
        self.add_module("bn", nn.BatchNorm2d(channels, affine=affine))


def cell_operation(
    name: str, channels: int, stride: int, affine: bool, pool_norm: bool, skip_norm: bool = False
) -> nn.Module:
    """The module of one operation.

    Args:
        name: of `OPERATIONS`; `none` is refused, as it is never computed.
        affine: whether batch norms have parameters (in evaluation networks, not in super-nets).
        pool_norm: a batch norm without parameters behind a pool (in super-nets, not in evaluation networks).
        skip_norm: one behind a skip connection that keeps the resolution.
    """
    kind, _, size = name.rpartition("_")
    if kind in ("sep_conv", "dil_conv"):
        return (SeparableConv if kind == "sep_conv" else DilatedConv)(channels, int(size[0]), stride, affine)
    if name == "skip_connect" and stride > 1:
        return FactorizedReduce(channels, channels, affine)
    if name == "skip_connect":
        return nn.BatchNorm2d(channels, affine=False) if skip_norm else nn.Identity()
    if name == "max_pool_3x3":
        pool = nn.MaxPool2d(3, stride, 1)
    elif name == "avg_pool_3x3":
        pool = nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    else:
        raise ValueError(f"{name!r} is no operation that a cell computes")
    return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False)) if pool_norm else pool
