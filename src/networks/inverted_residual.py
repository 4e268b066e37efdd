"""Inverted residual blocks and networks of them (MobileNetV2, https://arxiv.org/abs/1801.04381, section 3.3).

A block expands its channels by a 1x1 convolution, filters each by a depthwise one, gates them by squeeze-and-excitation
(Hu et al. 2018, https://arxiv.org/abs/1709.01507) where its operation says so, and projects them by a 1x1 convolution
without activation. With expansion 1 the first convolution stays, as in FBNet (https://arxiv.org/abs/1812.03443).
"""

from torch import Tensor, nn

from src.errors import UserError
from src.networks.macro import Macro, MobileNetwork
from src.networks.operations import SKIP, Operation, operation_named


class SqueezeExcitation(nn.Module):
    """Gates each map by what all maps are on average: (B, channels, H, W) -> (B, channels, H, W)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.relu = nn.ReLU()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.relu(self.reduce(self.pool(x)))))


class InvertedResidual(nn.Module):
    """x + F(x) where the shape stays, F(x) where it does not: (B, in_channels, H, W) -> (B, channels, H / s, W / s).

    `transform` is F.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, operation: Operation, macro: Macro) -> None:
        super().__init__()
        middle, kernel = in_channels * operation.expansion, operation.kernel
        self.shortcut = stride == 1 and in_channels == channels
        self.transform = nn.Sequential()
        self.transform.add_module("expand", nn.Conv2d(in_channels, middle, 1, bias=False))
        self.transform.add_module("bn1", nn.BatchNorm2d(middle))
        self.transform.add_module("act1", macro.activated())
        depthwise = nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False)
        self.transform.add_module("depthwise", depthwise)
        self.transform.add_module("bn2", nn.BatchNorm2d(middle))
        self.transform.add_module("act2", macro.activated())
        if operation.squeeze:
            self.transform.add_module("squeeze", SqueezeExcitation(middle, macro.squeezed(in_channels, middle)))
        self.transform.add_module("project", nn.Conv2d(middle, channels, 1, bias=False))
        self.transform.add_module("bn3", nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.transform(x) if self.shortcut else self.transform(x)


def block_of(macro: Macro, block: int, operation: str, where: str) -> nn.Module:
    """The module of one operation in a block of the macro; `skip` is the identity.

    Raises `UserError` that names `where` in the config for a name that is no operation, and for a `skip` where the
    block changes the shape.
    """
    shape = macro.blocks[block]
    parsed = operation_named(operation, where)
    if parsed is not None:
        return InvertedResidual(*shape, parsed, macro)
    if not shape.keeps:
        raise UserError(
            f"{where}={SKIP!r} is not allowed; block {block} makes {shape.channels} channels of {shape.in_channels} at "
            f"stride {shape.stride}, and only a block that keeps the shape may be left out"
        )
    return nn.Identity()


class InvertedResidualNet(MobileNetwork):
    """A stem, L blocks, a head and a classifier: (B, in_channels, H, W) -> (B, num_classes).

    Args:
        stem: [channels, stride] of the first convolution, 3x3.
        stages: [channels, blocks, stride of the first block] of each stage.
        operations: the name of each of the L blocks' operation, or one name for all: `ir_k3_e6`, with
            squeeze-and-excitation `ir_k3_e6_se`, or `skip`, which leaves out a block that keeps the shape.
        head: channels of the last 1x1 convolution.
        num_classes, in_channels: of the classifier and of the images.
        se_ratio, se_of: squeezed channels as a share of the "expanded" channels (0.05: as HourNAS-F was released) or
            of the "input" channels of the block (0.25: MnasNet), rounded down, one at least.
        dropout: before the classifier.
        activation: "relu", "relu6", "silu" or "hard_swish"; that within squeeze-and-excitation is a ReLU.

    Raises:
        UserError: a value is not allowed, named as the config has it (`model.stages[1]`).
    """

    def __init__(
        self,
        stem: list[int],
        stages: list[list[int]],
        operations: list[str] | str,
        head: int = 1280,
        num_classes: int = 10,
        in_channels: int = 3,
        se_ratio: float = 0.05,
        se_of: str = "expanded",
        dropout: float = 0.0,
        activation: str = "relu",
    ) -> None:
        macro = Macro(stem, stages, head, num_classes, in_channels, se_ratio, se_of, dropout, activation)
        count = len(macro.blocks)
        if isinstance(operations, str):
            names = [operations] * count
        elif isinstance(operations, (list, tuple)) and len(operations) == count:
            names = list(operations)
        else:
            given = f"{len(operations)} names" if isinstance(operations, (list, tuple)) else repr(operations)
            raise UserError(
                f"model.operations: {given} for {count} blocks; give one name for all blocks, or a list of {count}: a "
                f"name for each block that model.stages={macro.stages} has"
            )
        where = "model.operations" if isinstance(operations, str) else "model.operations[{}]"
        blocks = [block_of(macro, block, name, where.format(block)) for block, name in enumerate(names)]
        super().__init__(macro, blocks)
        self.operations = names

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)
