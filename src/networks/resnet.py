"""Residual networks for small images (He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2).

`resnet20/32/56` are the thin CIFAR networks (16, 32, 64 channels, n = 3, 5, 9 blocks a stage); `resnet18/34` are the
wide ones of the ImageNet family (64 to 512 channels) with a 3x3 stem and no max-pool, as CONet searches them. Shortcuts
that change shape are 1x1 convolutions (the paper's option B): its option A pads with zeros, which ties a stage's
channels to those of the stage before and leaves no width to search.
"""

from torch import Tensor, nn

from src.errors import check_whole


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (B, in_channels, H, W) -> (B, channels, H / stride, W / stride)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """A stem, stages of basic blocks, global average pooling, a classifier: (B, in_channels, H, W) -> (B, num_classes).

    Args:
        blocks: the number of blocks of each stage; each stage but the first halves the resolution.
        channels: the width of each stage.
        num_classes: outputs.
        in_channels: of the images.
        init: "torch" (its default initialisation, as in CONet's released code) or "he" (He fan-out).
    """

    def __init__(
        self,
        blocks: list[int],
        channels: list[int],
        num_classes: int = 10,
        in_channels: int = 3,
        init: str = "torch",
    ) -> None:
        super().__init__()
        for name, values in {"blocks": blocks, "channels": channels}.items():
            for index, value in enumerate(values):
                check_whole(f"model.{name}[{index}]", value, 1)
        check_whole("model.num_classes", num_classes, 1)
        check_whole("model.in_channels", in_channels, 1)
        if len(blocks) != len(channels) or init not in ("torch", "he"):
            raise ValueError(f"blocks {blocks} and channels {channels} must be as many, and init={init!r} torch or he")
        self.stem = nn.Conv2d(in_channels, channels[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU()
        width = channels[0]
        for stage, (count, size) in enumerate(zip(blocks, channels, strict=True), start=1):
            strides = [1 if stage == 1 else 2] + [1] * (count - 1)
            layer = nn.Sequential()
            for stride in strides:
                layer.append(BasicBlock(width, size, stride))
                width = size
            self.add_module(f"layer{stage}", layer)
        self.stages = len(blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, num_classes)
        if init == "he":
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stem(x)))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(self.pool(x).flatten(1))


def resnet20(num_classes: int = 10, in_channels: int = 3, **options) -> ResNet:
    """0.27 M parameters, 40.8 M MACs on 3x32x32."""
    return ResNet([3, 3, 3], [16, 32, 64], num_classes, in_channels, **options)


def resnet32(num_classes: int = 10, in_channels: int = 3, **options) -> ResNet:
    """0.47 M parameters, 69.1 M MACs on 3x32x32."""
    return ResNet([5, 5, 5], [16, 32, 64], num_classes, in_channels, **options)


def resnet56(num_classes: int = 10, in_channels: int = 3, **options) -> ResNet:
    """0.86 M parameters, 126 M MACs on 3x32x32."""
    return ResNet([9, 9, 9], [16, 32, 64], num_classes, in_channels, **options)


def resnet18(num_classes: int = 10, in_channels: int = 3, **options) -> ResNet:
    """11.2 M parameters, 0.56 G MACs on 3x32x32."""
    return ResNet([2, 2, 2, 2], [64, 128, 256, 512], num_classes, in_channels, **options)


def resnet34(num_classes: int = 10, in_channels: int = 3, **options) -> ResNet:
    """21.3 M parameters, 1.16 G MACs on 3x32x32: the network of CONet's ResNet experiments."""
    return ResNet([3, 4, 6, 3], [64, 128, 256, 512], num_classes, in_channels, **options)
