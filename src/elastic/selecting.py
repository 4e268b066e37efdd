"""Parts of weights and vectors by index, with gradients that are put back into the whole ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Index = tuple  # of slices and int64 tensors, such as (slice(0, 8), columns) or (rows[:, None], columns)


def as_index(dims: Sequence[tuple[int, Tensor | slice | None]]) -> Index | None:
    """The index of a tensor for what is kept of its first dimensions; None where that is everything.

    `dims`: (dimension 0 or 1, what is kept of it), ascending. Two gathers become one: on a processor that costs about
    as much as a slice, where one after the other costs twice as much or more.
    """
    kept = [None, None]
    for dim, part in dims:
        kept[dim] = part
    rows, columns = kept
    if columns is None:
        return None if rows is None else (rows,)
    if rows is None:
        return slice(None), columns
    if isinstance(rows, Tensor) and isinstance(columns, Tensor):
        return rows[:, None], columns
    return rows, columns


class _Selected(torch.autograd.Function):
    """`whole[index]` for an index that names no entry twice, so that the gradient can be put and need not be added."""

    @staticmethod
    def forward(ctx, whole: Tensor, index: Index) -> Tensor:
        ctx.index, ctx.shape = index, whole.shape
        return whole[index]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor):
        whole = gradient.new_zeros(ctx.shape)
        whole[ctx.index] = gradient
        return whole, None


def selected(whole: Tensor, index: Index) -> Tensor:
    """`whole[index]`, differentiable once."""
    return _Selected.apply(whole, index)


@dataclass(frozen=True)
class Packed:
    """What is kept of many vectors, as one index into all of them in a row.

    A network has hundreds of short vectors (of batch norms); selected one by one they cost more than all its weights.
    """

    index: Tensor  # (kept,) int64
    counts: list[int]  # kept of each vector

    @classmethod
    def of(cls, kept: Sequence[Tensor], lengths: Sequence[int]) -> "Packed":
        """`kept`: int64 indices into each vector; `lengths`: of the whole vectors."""
        counts = [len(index) for index in kept]
        if not counts:
            return cls(torch.empty(0, dtype=torch.int64), [])
        offsets = torch.tensor([0, *lengths[:-1]]).cumsum(0)
        shift = torch.repeat_interleave(offsets, torch.tensor(counts)).to(kept[0].device)
        return cls(torch.cat(list(kept)) + shift, counts)

    def parts(self, vectors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What is kept of each vector: differentiable copies."""
        return selected(torch.cat(list(vectors)), (self.index,)).split(self.counts) if self.counts else ()

    def put_back(self, parts: Tensor, vectors: Sequence[Tensor]) -> None:
        """Writes `parts` (kept,), what was kept and has changed, into the vectors."""
        if self.counts:
            whole = torch.cat(list(vectors))
            whole[self.index] = parts
            torch._foreach_copy_(list(vectors), list(whole.split([len(vector) for vector in vectors])))
