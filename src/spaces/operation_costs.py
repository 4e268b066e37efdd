"""MACs and parameters of the parts of a mobile network, in closed form: no module is built."""

from typing import NamedTuple

from src.networks.macro import BlockShape, Macro
from src.networks.operations import operation_named


class Cost(NamedTuple):
    """MACs of convolution and linear layers for one image, biases not counted, and all parameters."""

    macs: int
    params: int


def halved(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """(H, W) behind a convolution of odd kernel, padded by half of it."""
    height, width = (-(-side // stride) for side in size)
    return height, width


def block_sizes(macro: Macro, input_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """(H, W) of what comes into each of the L blocks and, last, into the head, for images (C, H, W)."""
    sizes = [halved(tuple(input_shape[1:]), macro.stem[1])]
    for block in macro.blocks:
        sizes.append(halved(sizes[-1], block.stride))
    return sizes


def fixed_cost(macro: Macro, input_shape: tuple[int, int, int]) -> Cost:
    """Of the stem, the head and the classifier."""
    sizes = block_sizes(macro, input_shape)
    stem, channels, head = macro.stem[0], macro.blocks[-1].channels, macro.head
    weights = 9 * macro.in_channels * stem, channels * head, head * macro.num_classes
    positions = sizes[0][0] * sizes[0][1], sizes[-1][0] * sizes[-1][1], 1
    macs = sum(count * places for count, places in zip(weights, positions, strict=True))
    return Cost(macs, sum(weights) + 2 * (stem + head) + macro.num_classes)


def operation_cost(macro: Macro, shape: BlockShape, size: tuple[int, int], name: str) -> Cost:
    """Of the operation `name` in a block of `shape` into which maps of `size` (H, W) come."""
    operation = operation_named(name)
    if operation is None:
        return Cost(0, 0)
    middle = shape.in_channels * operation.expansion
    before, behind = (height * width for height, width in (size, halved(size, shape.stride)))
    expand, depthwise, project = shape.in_channels * middle, operation.kernel**2 * middle, middle * shape.channels
    macs = expand * before + (depthwise + project) * behind
    params = expand + depthwise + project + 2 * (middle + middle + shape.channels)  # and the batch norms
    if operation.squeeze:
        squeezed = macro.squeezed(shape.in_channels, middle)
        macs += 2 * squeezed * middle
        params += 2 * squeezed * middle + squeezed + middle
    return Cost(macs, params)
