"""Parts of weights and vectors by index, with gradients that are put back into the whole ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Picked(NamedTuple):
    """Places of a dimension, and of each place of it where it went: the number of places is nowhere."""

    index: Tensor  # (kept,) int64
    inverse: Tensor  # (size,) int64

    @classmethod
    def of(cls, index: Tensor, size: int) -> "Picked":
        inverse = torch.full((size,), len(index), device=index.device)
        inverse[index] = torch.arange(len(index), device=index.device)
        return cls(index, inverse)


Kept = Picked | slice | None  # of a dimension: these, the first ones, or all
Index = tuple[Kept, Kept]  # of rows and columns


def as_index(dims: Sequence[tuple[int, Kept]]) -> Index | None:
    """The index of a tensor for what is kept of its first dimensions; None where that is everything.

    `dims`: (dimension 0 or 1, what is kept of it).
    """
    kept = dict(dims)
    rows, columns = kept.get(0), kept.get(1)
    return None if rows is None and columns is None else (rows, columns)


class _Selected(torch.autograd.Function):
    """A part of a tensor. No entry is named twice, so that its gradient can be put and need not be added.

    On a processor rows and then columns, whole runs of memory at a time: of a 1x1 convolution's weight that takes a
    third of the time of one gather of single entries, which on a GPU saves launches.
    """

    @staticmethod
    def forward(ctx, whole: Tensor, index: Index) -> Tensor:
        ctx.index, ctx.shape = index, whole.shape
        return taken(whole, index) if whole.device.type == "cpu" else gathered(whole, index)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor):
        back = spread if gradient.device.type == "cpu" else put
        return back(gradient, ctx.shape, ctx.index), None


def selected(whole: Tensor, index: Index) -> Tensor:
    """The part of `whole` that `index` names, differentiable once."""
    return _Selected.apply(whole, index)


def taken(whole: Tensor, index: Index) -> Tensor:
    """One dimension after the other."""
    for dim, kept in enumerate(index):
        if isinstance(kept, slice):
            whole = whole.narrow(dim, 0, kept.stop)
        elif kept is not None:
            whole = whole.index_select(dim, kept.index)
    return whole


def spread(part: Tensor, shape: Sequence[int], index: Index) -> Tensor:
    """Zeros of `shape` with `part` where `taken` takes it from: each place of a dimension looks up its own."""
    if not any(isinstance(kept, Picked) for kept in index):
        return put(part, shape, index)
    for dim in (1, 0):
        kept, sizes = index[dim], list(part.shape)
        if kept is not None:
            sizes[dim] = 1 if isinstance(kept, Picked) else shape[dim] - kept.stop
            part = torch.cat([part, part.new_zeros(sizes)], dim)
        if isinstance(kept, Picked):
            part = part.index_select(dim, kept.inverse)
    return part


def gathered(whole: Tensor, index: Index) -> Tensor:
    """What `taken` takes, at once."""
    return whole[_plain(index)]


def put(part: Tensor, shape: Sequence[int], index: Index) -> Tensor:
    """What `spread` gives, at once."""
    whole = part.new_zeros(shape)
    whole[_plain(index)] = part
    return whole


def _plain(index: Index) -> tuple:
    rows, columns = (kept.index if isinstance(kept, Picked) else kept for kept in index)
    if isinstance(rows, Tensor) and isinstance(columns, Tensor):
        return rows[:, None], columns
    rows = slice(None) if rows is None else rows
    return (rows,) if columns is None else (rows, columns)


@dataclass(frozen=True)
class Packed:
    """What is kept of many vectors, as one index into all of them in a row.

    A network has hundreds of short vectors (of batch norms); selected one by one they cost more than all its weights.
    """

    picked: Picked
    counts: list[int]  # kept of each vector

    @property
    def index(self) -> Tensor:
        return self.picked.index

    @classmethod
    def of(cls, kept: Sequence[Tensor], lengths: Sequence[int]) -> "Packed":
        """`kept`: int64 indices into each vector; `lengths`: of the whole vectors."""
        counts = [len(index) for index in kept]
        if not counts:
            return cls(Picked.of(torch.empty(0, dtype=torch.int64), 0), [])
        offsets = torch.tensor([0, *lengths[:-1]]).cumsum(0)
        shift = torch.repeat_interleave(offsets, torch.tensor(counts)).to(kept[0].device)
        return cls(Picked.of(torch.cat(list(kept)) + shift, sum(lengths)), counts)

    def parts(self, vectors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What is kept of each vector: differentiable copies."""
        return selected(torch.cat(list(vectors)), (self.picked, None)).split(self.counts) if self.counts else ()

    def put_back(self, parts: Tensor, vectors: Sequence[Tensor]) -> None:
        """Writes `parts` (kept,), what was kept and has changed, into the vectors."""
        if self.counts:
            whole = torch.cat(list(vectors))
            whole[self.index] = parts
            torch._foreach_copy_(list(vectors), list(whole.split([len(vector) for vector in vectors])))
