"""The parts of a mobile network with fixed widths; those of the super-net (`elastic.py`) hold the same layers."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from src.networks.elastic_mobile.description import ElasticMacro

ACTIVATION_LAYERS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "h_swish": nn.Hardswish, "swish": nn.SiLU}


def convolved(
    in_channels: int, channels: int, kernel: int, stride: int, activation: str | None, epsilon: float, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm and activation: (B, in_channels, H, W) -> (B, channels, ceil(H / s), ceil(W / s))."""
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = OrderedDict(conv=conv, bn=nn.BatchNorm2d(channels, eps=epsilon))
    if activation is not None:
        layers["act"] = ACTIVATION_LAYERS[activation]()
    return nn.Sequential(layers)


class Squeeze(nn.Module):
    """Squeeze-and-excitation as in MobileNetV3: each map is multiplied by h_sigmoid(W2 relu(W1 means + b1) + b2)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.relu = nn.ReLU()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.relu(self.reduce(self.pool(x)))))


class Shortcut(nn.Module):
    """What is added to a block's output: average pooling for a stride, a 1x1 convolution for other channels."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        # a last row or column alone is its own mean: the output has the size that a strided convolution gives
        self.pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False) if in_channels != channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.pool(x))


class MobileBlock(nn.Module):
    """An inverted residual block: (B, in_channels, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride)).

    With expansion 1 it begins with the depthwise convolution. `macro` gives the middle channels and the shortcuts.
    """

    def __init__(
        self,
        macro: ElasticMacro,
        in_channels: int,
        channels: int,
        kernel: int,
        expansion: int,
        stride: int,
        activation: str,
        squeeze: bool,
    ) -> None:
        super().__init__()
        middle, epsilon = macro.middle(in_channels, expansion), macro.epsilon
        if expansion == 1:
            self.expand = nn.Identity()
        else:
            self.expand = convolved(in_channels, middle, 1, 1, activation, epsilon)
        self.depthwise = convolved(middle, middle, kernel, stride, activation, epsilon, groups=middle)
        self.squeeze = Squeeze(middle, macro.squeezed(middle)) if squeeze else nn.Identity()
        self.project = convolved(middle, channels, 1, 1, None, epsilon)
        added = macro.shortcuts == "projected" or (stride == 1 and in_channels == channels)
        self.shortcut = Shortcut(in_channels, channels, stride) if added else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.squeeze(self.depthwise(self.expand(x))))
        return y if self.shortcut is None else y + self.shortcut(x)


class MobileHead(nn.Module):
    """From the last maps to the classes: (B, in_channels, H, W) -> (B, num_classes).

    Args:
        middle: channels between the two convolutions of MobileNetV3's head; 0: the head of MobileNetV2.
        last: channels of the last convolution.
    """

    def __init__(
        self, macro: ElasticMacro, in_channels: int, middle: int, last: int, num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.late = middle > 0  # whether the last convolution comes after the pooling
        if self.late:
            self.expand = convolved(in_channels, middle, 1, 1, macro.activation, macro.epsilon)
            layers = OrderedDict(conv=nn.Conv2d(middle, last, 1, bias=False))
            layers["act"] = ACTIVATION_LAYERS[macro.activation]()
            self.last = nn.Sequential(layers)
        else:
            self.expand = nn.Identity()
            self.last = convolved(in_channels, last, 1, 1, macro.activation, macro.epsilon)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.pool(self.expand(x))) if self.late else self.pool(self.last(x))
        return self.classifier(self.dropout(x.flatten(1)))


def resized(images: Tensor, side: int) -> Tensor:
    """Images of `side` x `side` pixels by bilinear interpolation: (B, C, H, W) -> (B, C, side, side).

    Of images that have this size it gives the same values.
    """
    return functional.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)


@torch.no_grad()
def initialised(network: nn.Module) -> None:
    """Fresh weights as MobileNetV3's: convolutions Kaiming-normal over the fan out, the classifier normal by 0.01."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # of a depthwise convolution the fan out is that of one channel
            deviation = (2.0 / (module.kernel_size[0] ** 2 * module.out_channels / module.groups)) ** 0.5
            module.weight.normal_(0.0, deviation)
        elif isinstance(module, nn.Linear):
            module.weight.normal_(0.0, 0.01)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            module.bias.zero_()
