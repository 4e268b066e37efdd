"""Which channels of a width group a path keeps, and what that means for the dimensions of its tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import lt

from src.graph.segments import Segments


@dataclass(frozen=True)
class IndexSet:
    """The channels `indices` (ascending, 0-based) of a group that has `size` of them."""

    size: int
    indices: tuple[int, ...]

    @classmethod
    def full(cls, size: int) -> "IndexSet":
        return cls(size, tuple(range(size)))

    @classmethod
    def prefix(cls, size: int, count: int) -> "IndexSet":
        return cls(size, tuple(range(count)))

    def __len__(self) -> int:
        return len(self.indices)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # a set of a thousand channels is looked up at every step
        return hash((self.size, self.indices))

    @cached_property
    def is_set(self) -> bool:
        """Whether it keeps its promises: some of the channels, each once and in order."""
        ends = self.indices[:1] + self.indices[-1:]
        ascending = all(map(lt, self.indices, self.indices[1:]))
        return bool(ends) and ascending and ends[0] >= 0 and ends[1] < self.size

    @cached_property
    def is_full(self) -> bool:
        return len(self.indices) == self.size

    @cached_property
    def is_prefix(self) -> bool:
        return self.indices[-1:] == (len(self.indices) - 1,)

    def repeats(self, blocks: int) -> bool:
        """Whether the set is one local set, repeated in each of so many equal blocks of channels."""
        if self.size % blocks or len(self.indices) % blocks:
            return False
        block, count = self.size // blocks, len(self.indices) // blocks
        first = self.indices[:count]
        return self.indices == tuple(b * block + index for b in range(blocks) for index in first)


Choice = dict[str, IndexSet]  # group name -> the channels that a path keeps; groups that are not named are full
Selection = slice | tuple[int, ...] | None  # of one dimension: the first ones, these, or all


def selection(segments: Segments, divisor: int, sets: Sequence[IndexSet], multiples: Sequence[int]) -> Selection:
    """What is kept of a tensor's dimension with `segments`, given the set of every group, by its number.

    A dimension that a grouped convolution divides by its number of groups holds the channels of one block: those are
    the same in every block where each set repeats in `multiples[group]` blocks. Where concatenated channels are
    divided, the blocks cut across the parts; there the first entries are kept, which gives a network of the right shape
    whose weights are shared less exactly. A part of a group (times 1 / k) is the first of its k blocks, which all keep
    the same, as `multiples` has k in it.
    """
    if all(sets[group].is_full for group, _ in segments):
        return None
    count = sum(len(sets[group]) * times for group, times in segments) // divisor
    if divisor > 1:
        (group, times), *more = segments
        if more or times > 1 or multiples[group] % divisor:
            return slice(0, count)
        block = sets[group].size // divisor
        kept = tuple(index for index in sets[group].indices if index < block)
        return slice(0, count) if kept == tuple(range(count)) else kept
    kept, offset, leading = [], 0, True
    for group, times in segments:
        size, indices = int(sets[group].size * times), sets[group].indices
        if times < 1:
            indices = tuple(index for index in indices if index < size)
        leading = leading and indices[-1:] == (len(indices) - 1,) and offset == len(kept)
        if times <= 1:
            kept += [offset + index for index in indices] if offset else indices
        else:
            kept += [offset + index * times + position for index in indices for position in range(times)]
        offset += size
    return slice(0, count) if leading else tuple(kept)
