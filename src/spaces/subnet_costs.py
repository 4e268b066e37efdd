"""MACs and parameters of the sub-nets of an elastic mobile network, exact, for thousands of rows at once.

What a block costs follows from the widths before and after it, its kernel and expansion, the resolution and the
multiplier. These costs are tabulated once; a sub-net is the sum of its entries, in int64.

MACs are those of convolutions, squeeze-and-excitation and shortcuts among them, and of the classifier; batch norms,
activations, pooling and biases count nothing. So do the released counters of Once-for-All and AttentiveNAS count.
"""

from itertools import product

import numpy as np

from src.networks.elastic_mobile.macro import ElasticMacro, ElasticStage
from src.spaces.subnet_rows import Choices


def block_cost(
    macro: ElasticMacro,
    stage: ElasticStage,
    channels: tuple[int, int],
    kernel: int,
    expansion: int,
    side: int,
    stride: int,
) -> tuple[int, int]:
    """(MACs, parameters) of an inverted residual block between `channels` (in, out), on maps of side x side."""
    before, after = channels
    middle, small = macro.middle(before, expansion), halved(side, stride)
    full, area = side**2, small**2
    macs = kernel**2 * middle * area + middle * after * area
    params = kernel**2 * middle + 2 * middle + middle * after + 2 * after
    if expansion != 1:
        macs, params = macs + before * middle * full, params + before * middle + 2 * middle
    if stage.squeeze:
        squeezed = macro.squeezed(middle)
        macs, params = macs + 2 * middle * squeezed, params + 2 * middle * squeezed + middle + squeezed
    if macro.shortcuts == "projected" and before != after:  # a 1x1 convolution without batch norm
        macs, params = macs + before * after * area, params + before * after
    return macs, params


def head_cost(
    macro: ElasticMacro, width: int, last: int, multiplier: float, classes: int, side: int
) -> tuple[int, int]:
    """(MACs, parameters) of what comes after the last stage, of base width `width`, on maps of side x side."""
    before, features = macro.channels(width, multiplier), macro.channels(last, multiplier)
    middle = macro.head_middle(width, multiplier) if macro.head_expansion else features
    macs, params = (
        before * middle * side**2 + features * classes,
        before * middle + 2 * middle + (features + 1) * classes,
    )
    if macro.head_expansion:
        macs, params = macs + middle * features, params + middle * features
    return macs, params


def halved(side: int, stride: int) -> int:
    """The side of maps after a convolution of stride 1 or 2, padded by half its odd kernel."""
    return -(-side // stride)


class SubnetCosts:
    """The table of a macro for images of `in_channels` and `num_classes` classes.

    All tables end in an axis of 2, (MACs, parameters), and begin with R resolutions x M multipliers.

    Attributes:
        stem: (R, M, stems, 2); head: (R, M, widths of the last stage, lasts, 2).
        first: of each stage, of its first block: (R, M, widths before, widths, kernels, expansions, 2).
        later: of each stage, of each of its other blocks: (R, M, widths, kernels, expansions, 2).
    """

    def __init__(self, macro: ElasticMacro, in_channels: int, num_classes: int) -> None:
        self.macro = macro
        sides = [halved(side, macro.stem_stride) for side in macro.resolutions]
        stems = _table(sides, macro.multipliers, macro.stems)
        self.stem = stems(lambda side, factor, stem: _stem_cost(macro.channels(stem, factor), in_channels, side))
        self.first, self.later, widths = [], [], macro.stems
        for stage in macro.stages:
            chosen = (stage.kernels, stage.expansions)

            def first(side, factor, before, width, kernel, expansion, stage=stage):
                channels = (macro.channels(before, factor), macro.channels(width, factor))
                return block_cost(macro, stage, channels, kernel, expansion, side, stage.stride)

            def later(side, factor, width, kernel, expansion, stage=stage):
                channels = (macro.channels(width, factor),) * 2
                return block_cost(macro, stage, channels, kernel, expansion, side, 1)

            self.first.append(_table(sides, macro.multipliers, widths, stage.widths, *chosen)(first))
            sides = [halved(side, stage.stride) for side in sides]
            self.later.append(_table(sides, macro.multipliers, stage.widths, *chosen)(later))
            widths = stage.widths
        heads = _table(sides, macro.multipliers, widths, macro.lasts)
        self.head = heads(lambda side, factor, width, last: head_cost(macro, width, last, factor, num_classes, side))

    def of(self, choices: Choices) -> np.ndarray:
        """(MACs, parameters) of N sub-nets: int64 (N, 2)."""
        where = (choices.resolutions, choices.multipliers)
        before = choices.stems
        total = self.stem[(*where, before)]
        for index, (first, later) in enumerate(zip(self.first, self.later, strict=True)):
            width, depth = choices.widths[index], choices.depths[index]
            kernels, expansions = choices.kernels[index], choices.expansions[index]
            total = total + first[(*where, before, width, kernels[:, 0], expansions[:, 0])]
            for block in range(1, kernels.shape[1]):
                there = block < depth
                cost = later[(*where, width, kernels[:, block], expansions[:, block])]
                total = total + cost * there[:, None]
            before = width
        return total + self.head[(*where, before, choices.lasts)]

    def reachable(self) -> tuple[int, int]:
        """The least and the most MACs, exact: a larger width need not cost more where it makes a shortcut plain."""
        return self._extreme(np.min, min), self._extreme(np.max, max)

    def _extreme(self, of, depth_of) -> int:
        best = self.stem[..., 0]  # (R, M, widths before)
        for stage, first, later in zip(self.macro.stages, self.first, self.later, strict=True):
            entering = of(best[..., None] + of(first[..., 0], axis=(-2, -1)), axis=2)
            best = entering + (depth_of(stage.depths) - 1) * of(later[..., 0], axis=(-2, -1))
        return int(of(best[..., None] + self.head[..., 0]))


def _table(*axes):
    """A function that tabulates costs (MACs, parameters) over all combinations of `axes`: int64 (*axes, 2)."""

    def tabulated(cost) -> np.ndarray:
        entries = [cost(*choice) for choice in product(*axes)]
        return np.array(entries, dtype=np.int64).reshape(*(len(axis) for axis in axes), 2)

    return tabulated


def _stem_cost(channels: int, in_channels: int, side: int) -> tuple[int, int]:
    weights = 9 * in_channels * channels
    return weights * side**2, weights + 2 * channels
