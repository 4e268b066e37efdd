"""The layers of an elastic super-net: they hold the largest weights and run with the first channels of them.

Sizes are Python numbers, so that nothing waits for the device. Names and shapes of the largest sub-net are those of a
`Subnet`, which makes the tensors of any sub-net slices of these.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from src.networks.elastic_mobile.blocks import MobileBlock, MobileHead
from src.networks.elastic_mobile.description import ElasticMacro, ElasticStage
from src.networks.elastic_mobile.kernels import shrunk, step_matrices


def first_normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """A batch norm by its first channels, whose running statistics are shared with all wider sub-nets."""
    count = x.shape[1]
    if count == norm.num_features:
        return norm(x)
    names = ("weight", "bias", "running_mean", "running_var")
    # the layer's own forward, whatever its kind (SyncBatchNorm, momentum None): views write through to the whole
    return functional_call(norm, {name: getattr(norm, name)[:count] for name in names}, (x,))


def first_convolved(conv: nn.Conv2d, x: Tensor, channels: int) -> Tensor:
    """A convolution by the first channels in and out: (B, C, H, W) -> (B, channels, H / s, W / s)."""
    bias = None if conv.bias is None else conv.bias[:channels]
    return functional.conv2d(x, conv.weight[:channels, : x.shape[1]], bias, conv.stride, conv.padding)


def first_layers(layers: nn.Sequential, x: Tensor, channels: int) -> Tensor:
    """Convolution, batch norm and activation (`blocks.convolved`) by their first channels."""
    x = first_convolved(layers.conv, x, channels)
    if hasattr(layers, "bn"):
        x = first_normalised(layers.bn, x)
    return layers.act(x) if hasattr(layers, "act") else x


class ElasticBlock(MobileBlock):
    """A block that runs with any widths, kernel and expansion of its stage."""

    def __init__(
        self, macro: ElasticMacro, stage: ElasticStage, in_widths: Sequence[int], widths: Sequence[int], first: bool
    ) -> None:
        stride = stage.stride if first else 1
        largest = (max(in_widths), max(widths), stage.kernels[-1], stage.expansions[-1], stride)
        super().__init__(macro, *largest, stage.activation, stage.squeeze)
        self.keeps = stride == 1
        self.macro, self.sides = macro, stage.kernels
        self.expands = stage.expansions[-1] > 1
        self.matrices = step_matrices(stage.kernels) if macro.shrinking == "transform" else None
        if macro.shortcuts == "projected" and first and len({*in_widths, *widths}) > 1:  # equal widths or not
            self.shortcut.conv = nn.Conv2d(max(in_widths), max(widths), 1, bias=False)

    def kernels(self, channels: int, side: int) -> Tensor:
        """The depthwise kernels of a sub-net: (channels, 1, side, side)."""
        return shrunk(self.depthwise.conv.weight[:channels], side, self.sides, self.matrices)

    def forward(self, x: Tensor, channels: int, kernel: int, expansion: int) -> Tensor:
        middle = self.macro.middle(x.shape[1], expansion)
        y = first_layers(self.expand, x, middle) if self.expands else x
        weight = self.kernels(middle, kernel)
        y = functional.conv2d(y, weight, None, self.depthwise.conv.stride, kernel // 2, groups=middle)
        y = self.depthwise.act(first_normalised(self.depthwise.bn, y))
        if not isinstance(self.squeeze, nn.Identity):
            y = self._squeezed(y)
        y = first_layers(self.project, y, channels)
        if self.macro.shortcuts == "projected":
            return y + self._shortened(x, channels)
        return y + x if self.keeps and x.shape[1] == channels else y  # with these widths, whatever the largest have

    def _squeezed(self, y: Tensor) -> Tensor:
        squeeze = self.squeeze
        means = first_convolved(squeeze.reduce, squeeze.pool(y), self.macro.squeezed(y.shape[1]))
        return y * squeeze.gate(first_convolved(squeeze.expand, squeeze.relu(means), y.shape[1]))

    def _shortened(self, x: Tensor, channels: int) -> Tensor:
        x = self.shortcut.pool(x)
        return x if x.shape[1] == channels else first_convolved(self.shortcut.conv, x, channels)


class ElasticHead(MobileHead):
    """A head that runs with any channels in, between and last."""

    def forward(self, x: Tensor, middle: int, last: int) -> Tensor:
        if self.late:
            x = first_layers(self.last, self.pool(first_layers(self.expand, x, middle)), last)
        else:
            x = self.pool(first_layers(self.last, x, last))
        x = self.dropout(x.flatten(1))
        return functional.linear(x, self.classifier.weight[:, :last], self.classifier.bias)
