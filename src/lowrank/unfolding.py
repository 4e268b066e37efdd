"""Unfoldings of a weight into matrices, and their singular values for many layers at once.

A convolution weight (O, I, kh, kw) has two unfoldings (CONet, arXiv 2108.06822, "mode 3" and "mode 4"):

* side "in":  I x (O*kh*kw), one row per input channel;
* side "out": O x (I*kh*kw), one row per output channel.

1-D and 3-D convolutions work the same way, and a linear weight (O, I) is a 1x1 convolution. Only singular values are
needed, so each spectrum is the square root of the eigenvalues of the Gram matrix on the short side. The Gram matrix is
float64: in float32 the squared condition number loses the small singular values.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from src.errors import UserError, check_choice

SIDES = ("in", "out")

# Short sides are rounded up to a multiple of this, so that one batched call serves layers of nearly equal width.
_BUCKET = 16
# Gram matrices that are alive at the same time, in elements of float64 (64 MB).
_GRAM_ELEMENTS = 2**23
# Rows of a Gram matrix that are computed by one product.
_GRAM_ROWS = 64


@dataclass(frozen=True)
class Spectra:
    """Singular values of B unfoldings; the count of true values of entry b is min(rows[b], columns[b])."""

    keys: tuple[tuple[str, str], ...]  # (layer name, side)
    values: Tensor  # (B, H) float64 on the CPU, descending, zeros after the true count
    rows: Tensor  # (B,) int64
    columns: Tensor  # (B,) int64


def unfold(weight: Tensor, side: str) -> Tensor:
    """The unfolding of `weight` (O, I, *kernel): (I, O*K) for side "in", (O, I*K) for side "out", K the kernel size.

    The order of the columns carries no meaning. Raises `UserError` for an unknown side or a weight without two
    channel dimensions.
    """
    check_choice("side", side, SIDES)
    if weight.ndim < 2 or weight.numel() == 0:
        raise UserError(f"a weight of shape {tuple(weight.shape)} has no unfolding; allowed: (O, I) or (O, I, kernel)")
    return (weight.transpose(0, 1) if side == "in" else weight).flatten(1)


@torch.no_grad()
def spectra(weights: Mapping[str, Tensor], sides: Sequence[str] = SIDES) -> Spectra:
    """Singular values of the unfoldings of all `weights`, layer by layer and side by side.

    The work is done in float64 on the weights' device where that is a CUDA device, on the CPU otherwise, with one
    batched eigenvalue call for all layers of similar short side. Raises `UserError` that names the layer if a weight
    holds NaN or infinity: the training has diverged.
    """
    keys = tuple((name, side) for name in weights for side in sides)
    shapes = [tuple(unfold(weights[name], side).shape) for name, side in keys]
    values = torch.zeros(len(keys), max((min(shape) for shape in shapes), default=0), dtype=torch.float64)
    for size, batch in _batches(_distinct(weights, keys), shapes):
        members = [keys[group[0]] for group in batch]
        grams = torch.stack([_gram(weights[name], side, size) for name, side in members])
        _check_finite(grams, [name for name, _ in members])
        roots = torch.linalg.eigvalsh(grams, UPLO="L").flip(-1).clamp_min(0).sqrt().cpu()
        for row, group in zip(roots, batch, strict=True):
            count = min(shapes[group[0]])
            values[group, :count] = row[:count]
    rows, columns = (torch.tensor([shape[axis] for shape in shapes], dtype=torch.int64) for axis in (0, 1))
    return Spectra(keys, values, rows, columns)


def _distinct(weights: Mapping[str, Tensor], keys: Sequence[tuple[str, str]]) -> list[list[int]]:
    """Indices into `keys`, grouped by equal spectrum: the two unfoldings of a 1x1 weight are each other's transpose."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, (name, side) in enumerate(keys):
        pointwise = math.prod(weights[name].shape[2:]) == 1
        groups.setdefault((name, "both" if pointwise else side), []).append(index)
    return list(groups.values())


def _batches(groups: list[list[int]], shapes: list[tuple[int, int]]) -> Iterable[tuple[int, list[list[int]]]]:
    """(padded short side, groups to be stacked) of bounded memory."""
    buckets: dict[int, list[list[int]]] = {}
    for group in groups:
        buckets.setdefault(-(-min(shapes[group[0]]) // _BUCKET) * _BUCKET, []).append(group)
    for size, bucket in sorted(buckets.items()):
        most = max(1, _GRAM_ELEMENTS // size**2)
        for start in range(0, len(bucket), most):
            yield size, bucket[start : start + most]


def _gram(weight: Tensor, side: str, size: int) -> Tensor:
    """The lower triangle of the Gram matrix of an unfolding on its short side, float64, in a (size, size) of zeros."""
    weight = weight.detach()
    device = weight.device if weight.device.type == "cuda" else torch.device("cpu")
    oriented = weight.transpose(0, 1) if side == "in" else weight
    # One copy does the move, the conversion and the permutation.
    matrix = oriented.to(device).to(torch.float64, memory_format=torch.contiguous_format).flatten(1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    gram = matrix.new_zeros(size, size)
    # The matrix is symmetric: products above the diagonal blocks would be nearly half of the work.
    for start in range(0, len(matrix), _GRAM_ROWS):
        stop = min(start + _GRAM_ROWS, len(matrix))
        torch.mm(matrix[start:stop], matrix[:stop].T, out=gram[start:stop, :stop])
    return gram


def _check_finite(grams: Tensor, names: Sequence[str]) -> None:
    # The trace is the sum of all squared weights: it is finite only if every weight is.
    finite = grams.diagonal(dim1=-2, dim2=-1).sum(-1).isfinite().tolist()
    for name, good in zip(names, finite, strict=True):
        if not good:
            raise UserError(
                f"the weight of layer {name!r} holds NaN or infinity: the training has diverged, "
                "try a smaller learning rate"
            )
