"""What mobile networks have in common, whatever the operations of their blocks: stem, widths, strides and head."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor, nn

from src.errors import UserError, check_choice, check_range, check_whole

ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU, "hard_swish": nn.Hardswish}
SQUEEZED_OF = ("expanded", "input")


class BlockShape(NamedTuple):
    """Channels in and out of a block, and its stride."""

    in_channels: int
    channels: int
    stride: int

    @property
    def keeps(self) -> bool:
        """Whether input and output have one shape, so that the block has a shortcut and may be left out."""
        return self.stride == 1 and self.in_channels == self.channels


class Macro:
    """The checked arguments of a mobile network but its operations; `blocks` are the shapes of its L blocks.

    Args and errors: as `InvertedResidualNet` has them.
    """

    def __init__(
        self,
        stem: list[int],
        stages: list[list[int]],
        head: int = 1280,
        num_classes: int = 10,
        in_channels: int = 3,
        se_ratio: float = 0.05,
        se_of: str = "expanded",
        dropout: float = 0.0,
        activation: str = "relu",
    ) -> None:
        self.stem = _whole_numbers("model.stem", stem, "[channels, stride]")
        if not isinstance(stages, (list, tuple)) or not stages:
            raise UserError(f"model.stages={stages!r} is not allowed; it must be a list of [channels, blocks, stride]")
        self.stages = [
            _whole_numbers(f"model.stages[{index}]", stage, "[channels, blocks, stride of the first block]")
            for index, stage in enumerate(stages)
        ]
        self.head = check_whole("model.head", head, 1)
        self.num_classes = check_whole("model.num_classes", num_classes, 1)
        self.in_channels = check_whole("model.in_channels", in_channels, 1)
        self.se_ratio = check_range("model.se_ratio", se_ratio, 0, 1)
        self.se_of = check_choice("model.se_of", se_of, SQUEEZED_OF)
        self.dropout = check_range("model.dropout", dropout, 0, 1)
        self.activation = check_choice("model.activation", activation, ACTIVATIONS)
        self.blocks: list[BlockShape] = []
        width = self.stem[0]
        for channels, count, stride in self.stages:
            for block in range(count):
                self.blocks.append(BlockShape(width, channels, stride if block == 0 else 1))
                width = channels

    def arguments(self) -> dict[str, Any]:
        """The arguments as plain values, for a model config."""
        return {name: value for name, value in vars(self).items() if name != "blocks"}

    def activated(self) -> nn.Module:
        return ACTIVATIONS[self.activation]()

    def squeezed(self, in_channels: int, expanded: int) -> int:
        """The hidden channels of the squeeze-and-excitation of a block."""
        return max(1, int((expanded if self.se_of == "expanded" else in_channels) * self.se_ratio))


class Head(nn.Module):
    """A 1x1 convolution, global average pooling and the classifier: (B, in_channels, H, W) -> (B, num_classes)."""

    def __init__(self, in_channels: int, macro: Macro) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, macro.head, 1, bias=False)
        self.bn = nn.BatchNorm2d(macro.head)
        self.act = macro.activated()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(macro.dropout)
        self.fc = nn.Linear(macro.head, macro.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.bn(self.conv(x))))
        return self.fc(self.dropout(x.flatten(1)))


def stem_of(macro: Macro) -> nn.Sequential:
    """A 3x3 convolution: (B, in_channels, H, W) -> (B, channels, H / stride, W / stride)."""
    channels, stride = macro.stem
    stem = nn.Sequential()
    stem.add_module("conv", nn.Conv2d(macro.in_channels, channels, 3, stride, padding=1, bias=False))
    stem.add_module("bn", nn.BatchNorm2d(channels))
    stem.add_module("act", macro.activated())
    return stem


class MobileNetwork(nn.Module):
    """A stem, `blocks` and a head; what runs of the blocks is the forward of a subclass."""

    def __init__(self, macro: Macro, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.macro = macro
        self.stem = stem_of(macro)
        self.blocks = nn.ModuleList(blocks)
        self.head = Head(macro.blocks[-1].channels, macro)


def _whole_numbers(name: str, values: list[int], meaning: str) -> list[int]:
    """`values`, if they are as many whole numbers of at least 1 as `meaning` has parts."""
    if not isinstance(values, (list, tuple)) or len(values) != meaning.count(",") + 1:
        raise UserError(f"{name}={values!r} is not allowed; it must be {meaning}, whole numbers of at least 1")
    return [check_whole(f"{name}[{index}]", value, 1) for index, value in enumerate(values)]
