"""What an elastic mobile super-net leaves open, as a plain description, and the widths that follow from it.

A genotype says the rest: `{"resolution", "width" (the multiplier), "stem", "widths", "kernels", "expansions", "last"}`,
with an entry of the three lists for each stage, in `kernels` and `expansions` a list with one for each block. `stem`,
`widths` and `last` are base widths, before the multiplier.
"""

from dataclasses import dataclass, fields
from typing import Any


def make_divisible(width: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `width`, ties upwards, at least one and not below 0.9 of it (MobileNet)."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


@dataclass(frozen=True)
class ElasticStage:
    """A stage of inverted residual blocks: what may be chosen, in increasing order, and what is fixed.

    Args:
        widths, depths, kernels, expansions: the choices; base widths, numbers of blocks, sides of the depthwise kernel
            and factors of the middle channels (1: a block without the first 1x1 convolution).
        stride: of the first block, 1 or 2.
        activation: of all its blocks.
        squeeze: whether its blocks have squeeze-and-excitation.
        per_block: whether each block chooses its own kernel and expansion (OFA), or all share one (AlphaNet).
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expansions: tuple[int, ...]
    stride: int
    activation: str
    squeeze: bool = False
    per_block: bool = True


@dataclass(frozen=True)
class ElasticMacro:
    """A space of mobile networks.

    Args:
        resolutions: sides of the images that the networks see, in pixels.
        multipliers: factors of all widths; each has weights of its own in the super-net.
        stems: base widths of the first convolution (3x3), with `stem_stride`.
        activation: of the first convolution and of the head.
        stages: `ElasticStage`s.
        lasts: base widths of the last 1x1 convolution.
        head_expansion: 0: a 1x1 convolution to `last` with batch norm, activation, pooling, classifier (MobileNetV2).
            Otherwise that of MobileNetV3: a 1x1 convolution to so many times the last stage's width, batch norm,
            activation, pooling, a 1x1 convolution to `last` without batch norm and bias, activation, classifier.
        shrinking: "transform": the centre of the larger kernel through a learned matrix, from size to size (OFA,
            section 3.3); "centre": the centre alone.
        shortcuts: "equal": where a block keeps the shape; "projected": in every block, with average pooling for a
            stride and a 1x1 convolution for other channels (AttentiveNAS).
        divisor: of all widths.
        epsilon: of the batch norms.
    """

    resolutions: tuple[int, ...]
    multipliers: tuple[float, ...]
    stems: tuple[int, ...]
    stem_stride: int
    activation: str
    stages: tuple[ElasticStage, ...]
    lasts: tuple[int, ...]
    head_expansion: int = 6
    shrinking: str = "transform"
    shortcuts: str = "equal"
    divisor: int = 8
    epsilon: float = 1e-5

    def channels(self, width: int, multiplier: float) -> int:
        """The channels that a base width has in a network of this multiplier."""
        return make_divisible(width * multiplier, self.divisor)

    def middle(self, in_channels: int, expansion: int) -> int:
        """The middle channels of a block with so many channels in; with expansion 1 these are its own."""
        return in_channels if expansion == 1 else make_divisible(in_channels * expansion, self.divisor)

    def squeezed(self, middle: int) -> int:
        """The hidden channels of a block's squeeze-and-excitation: a quarter."""
        return make_divisible(middle // 4, self.divisor)

    def head_middle(self, width: int, multiplier: float) -> int:
        """The channels between the convolutions of the head of MobileNetV3, after a last stage of base width `width`.

        OFA's 960 is 6 x 160.
        """
        return make_divisible(self.head_expansion * width * multiplier, self.divisor)

    def plain(self) -> dict[str, Any]:
        """The description as a mapping that `macro_of` reads, of plain values."""
        own = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return {**own, "stages": [{f.name: _plain(getattr(s, f.name)) for f in fields(s)} for s in self.stages]}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
