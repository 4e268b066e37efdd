"""What a set of members makes of each sample, as bits: whether it continues at each threshold, and whether it is right.

The mean softmax of a cascade's stage depends on the *set* of the members that have run, not on their order. So for each
set the classes are looked at once; from then on a stage is a bit a sample, and 64 samples are one word.
"""

import math
from collections.abc import Sequence

import numpy as np

from src.cascades.thresholds import MOST_MEMBERS, ThresholdGrid
from src.cascades.viable import Bucket, compacted
from src.errors import UserError

_NEVER = np.iinfo(np.int32).max  # of the samples that fill the last word: they continue at no threshold
_BLOCK = 2**18  # integers of values that are summed at a time


class SetTables:
    """The bits of the sets that were asked for last, within a bound on memory.

    Words hold the samples in an order of their own, the same for all sets.

    Args:
        outputs: M arrays float16 (N, C), softmax.
        labels: int64 (N,).
        slots: most members of a set.
        grid: of thresholds.
        memory: bytes for the tables; where they are full, those used least recently make room.

    Attributes:
        continues: uint64 (capacity, levels, words).
        right: uint64 (capacity, words).
    """

    def __init__(
        self, outputs: Sequence[np.ndarray], labels: np.ndarray, slots: int, grid: ThresholdGrid, memory: float
    ) -> None:
        self.members, self.samples, self.slots, self.grid = len(outputs), len(labels), slots, grid
        if slots > MOST_MEMBERS or (self.members + 1) ** slots >= 2**63:
            raise UserError(
                f"method.slots={slots} is not allowed with {self.members} members; at most {self._most_slots()} slots "
                "fit"
            )
        self.buckets = compacted(outputs, labels, slots)
        self.words = -(-self.samples // 64)
        self.bytes_per_set = 8 * self.words * (len(grid) + 1)
        self.capacity = int(min(memory // self.bytes_per_set, _count_sets(self.members, slots)))
        if memory < slots * self.bytes_per_set:
            raise UserError(
                f"method.memory_gb={memory / 2**30:.3g} is not allowed: the tables of one cascade of {slots} members "
                f"take {slots * self.bytes_per_set / 2**30:.3g}"
            )
        self.built = 0
        self._keys = np.empty(0, dtype=np.int64)  # ascending, of the sets at hand
        self._places = np.empty(0, dtype=np.int64)  # where each of them lies
        self._used = np.zeros(self.capacity, dtype=np.int64)  # of each place, when it was asked for last
        self._clock = 0
        # memory that is not written is not taken
        self.continues = np.empty((self.capacity, len(grid), self.words), dtype=np.uint64)
        self.right = np.empty((self.capacity, self.words), dtype=np.uint64)

    def _most_slots(self) -> int:
        most = 1
        while most < MOST_MEMBERS and (self.members + 1) ** (most + 1) < 2**63:
            most += 1
        return most

    def keys_of(self, numbers: np.ndarray) -> np.ndarray:
        """One whole number for each set: int64 (S,), of member numbers (S, k), 1 to M and 0 for none, in any order."""
        keys = np.zeros(len(numbers), dtype=np.int64)
        for column in np.sort(numbers, axis=1).T:
            keys = keys * (self.members + 1) + column
        return keys

    def places_of(self, keys: np.ndarray) -> np.ndarray:
        """Where the tables of these sets lie, which are made where they are not at hand: (S,).

        At most `capacity` different sets can be asked for at a time; the places hold until the next call.
        """
        self._clock += 1
        distinct, inverse = np.unique(keys, return_inverse=True)
        found = np.searchsorted(self._keys, distinct)
        known = found < len(self._keys)
        known[known] = self._keys[found[known]] == distinct[known]
        places = np.full(len(distinct), -1, dtype=np.int64)
        places[known] = self._places[found[known]]
        self._used[places[known]] = self._clock
        lacking = distinct[~known]
        if len(lacking):
            places[~known] = free = self._room_for(len(lacking))
            self._used[free] = self._clock
            keys_now = np.concatenate([self._keys, lacking])
            order = np.argsort(keys_now)
            self._keys, self._places = keys_now[order], np.concatenate([self._places, free])[order]
            self._make(lacking, free)
        return places[inverse]

    def _room_for(self, count: int) -> np.ndarray:
        """`count` places, of which those that were in use are forgotten."""
        held = len(self._keys)
        room = np.arange(held, min(self.capacity, held + count))
        if len(room) < count:
            oldest = np.argsort(self._used, kind="stable")[: count - len(room)]
            keep = ~np.isin(self._places, oldest)
            self._keys, self._places = self._keys[keep], self._places[keep]
            room = np.concatenate([room, oldest])
        return room

    def _make(self, keys: np.ndarray, places: np.ndarray) -> None:
        numbers = np.stack([keys // (self.members + 1) ** power % (self.members + 1) for power in range(self.slots)], 1)
        sizes = (numbers > 0).sum(1)
        self.built += len(keys)
        # the last digits of a key are the members, so they stand in the first columns here
        for size in np.unique(sizes[sizes > 0]):  # of no members there is nothing to say
            chosen = np.flatnonzero(sizes == size)
            step = max(1, _BLOCK // max(1, sum(bucket.classes.size for bucket in self.buckets)))
            for low in range(0, len(chosen), step):
                some = chosen[low : low + step]
                self.continues[places[some]], self.right[places[some]] = self.bits_of(numbers[some, :size] - 1)

    def bits_of(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The words of sets of equally many members (S, k), indices of the pool: (S, levels, words), (S, words)."""
        sums, right = self._stages(members, 64 * self.words)
        stays = sums[:, None, :] <= self.grid.cuts(members.shape[1])[:, None]
        return _packed(stays), _packed(right)

    def bins_of(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the same sets the first level at which a sample continues, int64 (S, N), and who is right, bool (S, N).

        A sample that continues at none has `levels`.
        """
        sums, right = self._stages(members, self.samples)
        return np.searchsorted(self.grid.cuts(members.shape[1]), sums), right

    def _stages(self, members: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        sums = np.full((len(members), width), _NEVER, dtype=np.int32)
        right = np.zeros((len(members), width), dtype=bool)
        low = 0
        for bucket in self.buckets:
            high = low + len(bucket.samples)
            sums[:, low:high], right[:, low:high] = _stage(bucket, members)
            low = high
        return sums, right


def _count_sets(members: int, slots: int) -> int:
    """Multisets of up to `slots` members, and the empty one."""
    return math.comb(members + slots, slots)


def _stage(bucket: Bucket, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest sum of each sample, int32 (S, samples), and whether its first argmax is the label."""
    total = bucket.values[members[:, 0]]
    for column in members.T[1:]:
        total += bucket.values[column]
    label, other = total[:, 0], total[:, 1:].max(1)
    right = label > other
    for which, sample in zip(*np.nonzero(label == other), strict=True):
        tied = bucket.classes[total[which, :, sample] == label[which, sample], sample]
        right[which, sample] = tied.min() == bucket.classes[0, sample]
    return np.maximum(label, other), right


def _packed(bits: np.ndarray) -> np.ndarray:
    """Bits (..., 64 W) as words uint64 (..., W)."""
    return np.packbits(bits, axis=-1).view(np.uint64)
