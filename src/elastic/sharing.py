"""Locally free weight sharing: which channels a width may stand for (CafeNet, arXiv 2102.05258, section 3).

Usual weight sharing lets width c mean the leftmost c channels. Here c is the leftmost c - r ones, the base, and r free
ones out of a local zone of 2 r about the cut: C(2 r, r) index sets, all of the same width. The sizes of base and zone
are a reconstruction, and so is what happens at the borders of a layer; r = 0 is the usual sharing.

With bins, c, r and the zone count bins (unit "bin") or the units of channels that bins are made of (unit "channel").
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations

import torch

from src.elastic.index_sets import Choice, IndexSet
from src.errors import check_choice, check_whole

BORDERS, UNITS = ("clip", "shift"), ("bin", "channel")
LARGEST_OFFSET = 28  # C(56, 28) is below 2^53: a float64 can still point at every one of so many index sets
_FEW = 4096  # up to so many whole-network candidates are numbered; of more, repeated draws hardly ever meet
_KEPT = 2**14  # index sets in memory


def base_and_zone(width: int, offset: int, size: int, border: str = "clip") -> tuple[int, int, int]:
    """(base, end, free) for `width` of `size`: kept are all of range(base), and `free` out of range(base, end).

    Where the zone would reach over a border of the layer, "clip" cuts it off there; "shift" moves it inside, so that it
    keeps its 2 r members wherever the layer has so many ("shift" is our reading of a word; the paper's is not known).
    The full width has one index set in either case.
    """
    if border == "clip":
        base, end = max(0, width - offset), min(size, width + offset)
    else:
        base = max(0, min(width - offset, size - 2 * offset))
        end = min(size, base + 2 * offset)
    return base, end, width - base


def count_index_sets(width: int, offset: int, size: int, border: str = "clip") -> int:
    """How many index sets `width` of `size` may stand for: C(zone, free), C(2 r, r) away from the borders."""
    base, end, free = base_and_zone(width, offset, size, border)
    return math.comb(end - base, free)


def all_index_sets(edges: Sequence[int], bins: int, offset: int, border: str = "clip") -> Iterator[tuple[int, ...]]:
    """Every set of units that `bins` leading bins of `edges` may stand for; the first is the prefix.

    They differ, and all have the same number of units: where bins are of unequal size (a short last one, say), as many
    units as the smallest bin of the zone has stand for a bin, and of the rest of each the last units may go, or come
    though the bin is left out. That is ours; the paper says nothing of unequal bins.
    """
    base, end, free = base_and_zone(bins, offset, len(edges), border)
    for chosen in combinations(range(base, end), free):
        yield _units(edges, bins, base, end, chosen)


def _units(edges: Sequence[int], bins: int, base: int, end: int, chosen: tuple[int, ...]) -> tuple[int, ...]:
    """The units of the base and of the `chosen` bins of the zone, as many as `bins` leading bins have.

    A chosen bin keeps its first unit and one that is left out never gets it, so other bins make another set.
    """
    starts = (0, *edges)
    sizes = {b: starts[b + 1] - starts[b] for b in range(base, end)}
    smallest = min(sizes.values(), default=0)
    spans = {b: (starts[b], starts[b + 1]) for b in chosen}
    more = starts[bins] - starts[base] - sum(sizes[b] for b in chosen)
    for b in sizes if more > 0 else reversed(chosen):
        loose = min(abs(more), sizes[b] - smallest)
        if more > 0 and b not in chosen:
            spans[b] = (starts[b + 1] - loose, starts[b + 1])
            more -= loose
        elif more < 0:
            spans[b] = (starts[b], starts[b + 1] - loose)
            more += loose
    return (*range(starts[base]), *(unit for b in sorted(spans) for unit in range(*spans[b])))


class LocallyFreeSharing:
    """Draws the index sets that a row of widths stands for.

    Args:
        edges: of each group, as `src.spaces.bins` makes them: cumulative numbers of units.
        multiples: channels in a unit of each group. They lie one in each of as many equal blocks, so that every block
            keeps the same of its channels.
        offset: r; 0 is usual sharing.
        border: "clip" or "shift" (see `base_and_zone`).
        unit: what r counts, "bin" or "channel".

    Raises:
        UserError: an argument that is not allowed.
    """

    def __init__(
        self,
        edges: Mapping[str, Sequence[int]],
        multiples: Mapping[str, int],
        offset: int = 1,
        border: str = "clip",
        unit: str = "bin",
    ) -> None:
        self.offset = check_whole("method.offset_r", offset, 0, LARGEST_OFFSET)
        self.border = check_choice("method.zone_border", border, BORDERS)
        self.unit = check_choice("method.zone_unit", unit, UNITS)
        self.names = tuple(edges)
        self._bin_edges = [tuple(edges[name]) for name in self.names]
        by_bin = unit == "bin"
        self._edges = [group if by_bin else tuple(range(1, group[-1] + 1)) for group in self._bin_edges]
        places = [range(1, len(group) + 1) if by_bin else group for group in self._bin_edges]
        self.counts = [  # of each group, how many index sets each number of bins has
            [count_index_sets(place, offset, len(group), border) for place in own]
            for group, own in zip(self._edges, places, strict=True)
        ]
        # one tuple of numbers for all index sets of a group: those of thousands of sets would fill the memory
        self._channels = [tuple(range(edges[name][-1] * multiples[name])) for name in self.names]
        self._index_set = lru_cache(_KEPT)(self._made)

    def count(self, row: Sequence[int]) -> int:
        """How many whole networks a row of bins (G,) stands for."""
        return math.prod(own[bins - 1] for own, bins in zip(self.counts, row, strict=True))

    def draw_numbers(self, row: Sequence[int], count: int, generator: torch.Generator) -> list[tuple[int, ...]]:
        """`count` different candidates for a row of bins (G,), or all where there are no more, each likely alike.

        A candidate is the number of an index set in each group; number 0 is the prefix.
        """
        counts = [own[bins - 1] for own, bins in zip(self.counts, row, strict=True)]
        total = math.prod(counts)
        if total <= max(count, _FEW):
            picked = torch.randperm(total, generator=generator)[:count].tolist()
            return [_digits(number, counts) for number in picked]
        limits, found = torch.tensor(counts, dtype=torch.float64), {}
        while len(found) < count:
            points = torch.rand(count, len(counts), generator=generator, dtype=torch.float64)
            # a point next to 1 may round up to the limit, where there is no index set
            numbers = torch.minimum((points * limits).floor(), limits - 1).to(torch.int64).tolist()
            found |= dict.fromkeys(map(tuple, numbers))
        return list(found)[:count]

    def choice(self, row: Sequence[int], numbers: Sequence[int]) -> Choice:
        """The channels that candidate `numbers` keeps in each group."""
        return {name: self._index_set(g, row[g], numbers[g]) for g, name in enumerate(self.names)}

    def draw(self, row: Sequence[int], count: int, generator: torch.Generator) -> list[Choice]:
        """`count` different candidates for a row of bins (G,), or all where there are no more, each likely alike."""
        row = [int(bins) for bins in row]
        return [self.choice(row, numbers) for numbers in self.draw_numbers(row, count, generator)]

    def prefix(self, row: Sequence[int]) -> Choice:
        """The leftmost channels of each group: what usual sharing means by a row of bins (G,)."""
        return self.choice([int(bins) for bins in row], [0] * len(self.names))

    def _made(self, group: int, bins: int, number: int) -> IndexSet:
        edges, channels = self._edges[group], self._channels[group]
        place = bins if self.unit == "bin" else self._bin_edges[group][bins - 1]
        base, end, free = base_and_zone(place, self.offset, len(edges), self.border)
        chosen = tuple(base + member for member in _combination(number, end - base, free))
        units, starts = _units(edges, place, base, end, chosen), range(0, len(channels), edges[-1])
        return IndexSet(len(channels), tuple(channels[start + unit] for start in starts for unit in units))


def _combination(number: int, size: int, count: int) -> tuple[int, ...]:
    """The combination of `count` out of range(size) at place `number` of their order in itertools.combinations."""
    chosen, member = [], 0
    while len(chosen) < count:
        with_member = math.comb(size - member - 1, count - len(chosen) - 1)
        if number < with_member:
            chosen.append(member)
        else:
            number -= with_member
        member += 1
    return tuple(chosen)


def _digits(number: int, bases: Sequence[int]) -> tuple[int, ...]:
    """`number` in the mixed base `bases`, the first digit counting least."""
    digits = []
    for base in bases:
        number, digit = divmod(number, base)
        digits.append(digit)
    return tuple(digits)
