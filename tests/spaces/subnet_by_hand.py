"""MACs and parameters of a sub-net, layer by layer in plain Python: the oracle for the table of costs.

What is fixed in the published families stands here once more, on purpose: strides, squeeze-and-excitation, head.
"""

from typing import NamedTuple

STRIDES = {"ofa": [1, 2, 2, 2, 1, 2], "proxyless": [1, 2, 2, 2, 1, 2, 1], "alphanet": [1, 2, 2, 2, 1, 2, 1]}
SQUEEZED = {"ofa": [0, 0, 1, 0, 1, 1], "proxyless": [0] * 7, "alphanet": [0, 0, 1, 0, 1, 1, 1]}


class Counted(NamedTuple):
    macs: int
    params: int
    swished: int  # elements that an h_swish of OFA handles
    averaged: int  # elements that squeeze-and-excitation and the head average


def eights(width: float) -> int:
    """The multiple of 8 nearest to a width, not more than a tenth below it."""
    found = max(8, int(width + 4) // 8 * 8)
    return found if found >= 0.9 * width else found + 8


def by_hand(family: str, genotype: dict, classes: int = 1000) -> Counted:
    factor, side = genotype["width"], -(-genotype["resolution"] // 2)
    before = eights(genotype["stem"] * factor)
    macs, params = 27 * before * side**2, 27 * before + 2 * before
    swished, averaged = before * side**2, 0
    stages = zip(genotype["widths"], genotype["kernels"], genotype["expansions"], strict=True)
    for number, (width, kernels, expansions) in enumerate(stages):
        after = eights(width * factor)
        for block, (kernel, expansion) in enumerate(zip(kernels, expansions, strict=True)):
            middle, full = before * expansion, side**2
            if expansion > 1:
                middle = eights(middle)
                macs, params = macs + before * middle * full, params + before * middle + 2 * middle
            if block == 0:
                side = -(-side // STRIDES[family][number])
            area = side**2
            macs += (kernel**2 * middle + middle * after) * area
            params += kernel**2 * middle + 2 * middle + middle * after + 2 * after
            swished += (middle * full + middle * area) * (number >= 3)
            if SQUEEZED[family][number]:
                small = eights(middle // 4)
                macs, params = macs + 2 * middle * small, params + 2 * middle * small + middle + small
                averaged += middle * area
            if family == "alphanet" and before != after:
                macs, params = macs + before * after * area, params + before * after
            before = after
    last, area = eights(genotype["last"] * factor), side**2
    if family == "proxyless":
        macs, params = macs + before * last * area, params + before * last + 2 * last
    else:
        middle = 6 * before
        macs += before * middle * area + middle * last
        params += before * middle + 2 * middle + middle * last
        swished, averaged = swished + middle * area + last, averaged + middle * area
    return Counted(macs + last * classes, params + last * classes + classes, swished, averaged)
