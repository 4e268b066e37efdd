"""The smaller depthwise kernels within a larger one (Once-for-All, section 3.3, "elastic kernel size")."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def centre(kernels: Tensor, side: int) -> Tensor:
    """The middle of square kernels: (C, 1, K, K) -> (C, 1, side, side), both sides odd."""
    start = (kernels.shape[-1] - side) // 2
    return kernels[..., start : start + side, start : start + side]


def shrunk(kernels: Tensor, side: int, sides: Sequence[int], matrices: Mapping[str, Tensor] | None) -> Tensor:
    """Kernels of `side` from those of the largest of `sides`: (C, 1, K, K) -> (C, 1, side, side).

    From each of `sides` to the next smaller one the centre is taken, as a row of side^2 values, and multiplied by the
    matrix of that step, which all channels share: w' = M w. Without `matrices` the centre is all.

    Args:
        sides: in increasing order, `side` among them.
        matrices: "7to5": (25, 25), "5to3": (9, 9); or none.
    """
    if matrices is None:
        return centre(kernels, side) if side < sides[-1] else kernels
    for larger, smaller in zip(sides[:0:-1], sides[-2::-1], strict=True):
        if larger <= side:
            break
        rows = centre(kernels, smaller).reshape(-1, smaller * smaller)
        kernels = functional.linear(rows, matrices[f"{larger}to{smaller}"]).view(-1, 1, smaller, smaller)
    return kernels


def step_matrices(sides: Sequence[int]) -> nn.ParameterDict:
    """The matrices of `shrunk` for kernels of these sides, in increasing order: identities at first."""
    steps = zip(sides[1:], sides, strict=False)
    return nn.ParameterDict({f"{larger}to{smaller}": torch.eye(smaller * smaller) for larger, smaller in steps})
