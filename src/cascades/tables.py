"""What a set of members makes of each sample, as bits: whether it continues at each threshold, and whether it is right.

The mean softmax of a cascade's stage depends on the *set* of the members that have run, not on their order. So for each
set the classes are looked at once; from then on a stage is a bit a sample, and 64 samples are one word.
"""

import math
from collections.abc import Sequence

import numpy as np

from src.cascades.set_index import SetIndex
from src.cascades.thresholds import ThresholdGrid
from src.cascades.viable import Bucket, compacted
from src.errors import UserError

_NEVER = np.iinfo(np.int32).max  # of the samples that fill the last word: they continue at no threshold
_TOGETHER = 2**15  # words that a pass works on


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

    block = 2**18  # integers of values that are summed at a time: they stay in the cache

    def __init__(
        self, outputs: Sequence[np.ndarray], labels: np.ndarray, slots: int, grid: ThresholdGrid, memory: float
    ) -> None:
        self.members, self.samples, self.slots, self.grid = len(outputs), len(labels), slots, grid
        self.words = -(-self.samples // 64)
        self.bytes_per_set = 8 * self.words * (len(grid) + 1)
        if memory < slots * self.bytes_per_set:
            raise UserError(
                f"method.memory_gb={memory / 2**30:.3g} is not allowed: the tables of one cascade of {slots} members "
                f"take {slots * self.bytes_per_set / 2**30:.3g}"
            )
        sets = math.comb(self.members + slots, slots)  # members may stand in one twice
        self.index = SetIndex(self.members, slots, int(min(memory // self.bytes_per_set, sets)))
        self.buckets = compacted(outputs, labels, slots)
        self.built = 0
        self._allocate(self.capacity)

    @property
    def capacity(self) -> int:
        """Sets that have room at a time."""
        return self.index.capacity

    def _allocate(self, capacity: int) -> None:
        """Memory that is not written is not taken."""
        self.continues = np.empty((capacity, len(self.grid), self.words), dtype=np.uint64)
        self.right = np.empty((capacity, self.words), dtype=np.uint64)

    def places_of(self, keys: np.ndarray) -> np.ndarray:
        """Where the tables of these sets lie (S,), until the next call; they are made where they are not at hand."""
        places, lacking, free = self.index.places_of(keys)
        numbers = self.index.numbers_of(lacking)
        sizes = (numbers > 0).sum(1)
        step = max(1, self.block // sum(bucket.classes.size for bucket in self.buckets))
        for size in np.unique(sizes[sizes > 0]):  # of no members there is nothing to say
            chosen = np.flatnonzero(sizes == size)
            for low in range(0, len(chosen), step):
                some = chosen[low : low + step]
                self._make(free[some], numbers[some, :size] - 1)
        self.built += len(lacking)
        return places

    def _make(self, places: np.ndarray, members: np.ndarray) -> None:
        """Puts the tables of sets of equally many members, indices of the pool (S, k), to these places."""
        sums, right = self._stages(members, 64 * self.words)
        stays = sums[:, None, :] <= self.grid.cuts(members.shape[1])[:, None]
        self.continues[places], self.right[places] = _packed(stays), _packed(right)

    def chunk(self) -> int:
        """Cascades that are walked together: their words stay in the cache."""
        return max(1, _TOGETHER // self.words)

    def walk(self, places: np.ndarray, levels: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Right answers (B,) and samples that run each stage (B, K) of cascades of at least one member.

        Args:
            places: int64 (B, K): of the set after each stage; a stage that is not there has the one before.
            levels: int64 (B, K - 1), indices of thresholds.
            length: int64 (B,), members.
        """
        answers, slots = np.zeros(len(places), dtype=np.int64), places.shape[1]
        reached = np.full(places.shape, self.samples, dtype=np.int64)
        here = None  # the samples that run this stage; all of them, bits that fill a word too, run the first
        for slot in range(slots):
            right = self.right[places[:, slot]]
            if slot < slots - 1:
                stay = self.continues[places[:, slot], levels[:, slot]]
                stay[length <= slot + 1] = 0  # the last member answers all that have come to it
                if here is not None:
                    stay &= here
                leave = ~stay if here is None else np.bitwise_xor(here, stay, out=here)
                here = stay
                reached[:, slot + 1] = _ones(stay)
            else:
                leave = here
            answers += _ones(right if leave is None else np.bitwise_and(right, leave, out=right))
        return answers, reached

    def sample_order(self) -> np.ndarray:
        """The sample behind each column of `bins_of`, (N,)."""
        return np.concatenate([bucket.samples for bucket in self.buckets])

    def bins_of(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first level at which each sample continues, int64 (S, N), and who is right, bool (S, N), of sets (S, k).

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


def _ones(words: np.ndarray) -> np.ndarray:
    """How many bits are set in each row: int64 (B,)."""
    # sums of bytes as float32 are exact below 2^24 and several times faster than any sum of whole numbers
    counts = np.bitwise_count(words).astype(np.float32)
    return (counts @ np.ones(words.shape[1], np.float32)).astype(np.int64)
