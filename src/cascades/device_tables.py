"""The same tables on a GPU: made and walked there, only the bookkeeping stays on the CPU."""

import numpy as np
import torch
from torch import Tensor

from src.cascades.tables import SetTables

_TOGETHER = 2**26  # numbers that a pass holds


class DeviceTables(SetTables):
    """`SetTables` whose words are int64 tensors on `device`; the memory of the whole bound is taken at once.

    Args:
        device: of torch, "cuda" say.
        outputs, labels, slots, grid, memory: as `SetTables` has them.
    """

    block = 2**26  # much larger than on a CPU: each pass is a handful of launches

    def __init__(self, *settings, device: str | torch.device, **more) -> None:
        self.device = torch.device(device)
        super().__init__(*settings, **more)
        self._values = [torch.from_numpy(bucket.values).to(self.device) for bucket in self.buckets]
        self._classes = [torch.from_numpy(bucket.classes).to(self.device) for bucket in self.buckets]

    def _allocate(self, capacity: int) -> None:
        self.continues = torch.empty((capacity, len(self.grid), self.words), dtype=torch.int64, device=self.device)
        self.right = torch.empty((capacity, self.words), dtype=torch.int64, device=self.device)

    def _make(self, places: np.ndarray, members: np.ndarray) -> None:
        where, chosen = (torch.from_numpy(values).to(self.device) for values in (places, members))
        width = 64 * self.words
        sums = torch.full((len(chosen), width), 2**31 - 1, dtype=torch.int32, device=self.device)
        right = torch.zeros((len(chosen), width), dtype=torch.bool, device=self.device)
        low = 0
        for values, classes in zip(self._values, self._classes, strict=True):
            high = low + values.shape[2]
            total = values[chosen[:, 0]]
            for column in chosen.T[1:]:
                total += values[column]
            largest = total.amax(1)
            # of tied classes the first one counts; -1 stands where there is no class, and never wins
            tied = torch.where(total == largest[:, None], classes, classes.max() + 1).amin(1)
            sums[:, low:high], right[:, low:high] = largest, tied == classes[0]
            low = high
        cuts = torch.from_numpy(self.grid.cuts(members.shape[1])).to(self.device)
        step = max(1, _TOGETHER // (width * len(chosen)))
        for level in range(0, len(cuts), step):
            some = slice(level, level + step)
            self.continues[where, some] = _packed(sums[:, None] <= cuts[some, None])
        self.right[where] = _packed(right)

    def walk(self, places: np.ndarray, levels: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As on the CPU, with all of a chunk's cascades in each operation."""
        sets, chosen, members = (torch.from_numpy(values).to(self.device) for values in (places, levels, length))
        slots = sets.shape[1]
        answers, reached = torch.zeros_like(members), torch.full_like(sets, self.samples)
        here = torch.full((len(sets), self.words), -1, dtype=torch.int64, device=self.device)
        for slot in range(slots):
            leave, right = here, self.right[sets[:, slot]]
            if slot < slots - 1:
                stay = self.continues[sets[:, slot], chosen[:, slot]] & here
                stay = torch.where((members > slot + 1)[:, None], stay, 0)
                leave, here = here ^ stay, stay
                reached[:, slot + 1] = _ones(stay)
            answers += _ones(right & leave)
        return answers.cpu().numpy(), reached.cpu().numpy()

    def chunk(self) -> int:
        """Cascades that are walked together."""
        return max(1, _TOGETHER // self.words)


def _packed(bits: Tensor) -> Tensor:
    """Bits (..., 64 W) as words int64 (..., W), the first bit of a word the lowest."""
    shifts = torch.arange(64, device=bits.device)
    return (bits.unflatten(-1, (-1, 64)).long() << shifts).sum(-1)


def _ones(words: Tensor) -> Tensor:
    """How many bits are set in each row: int64 (B,). Torch has no instruction for it: pairs, fours, bytes are added."""
    words = words - ((words >> 1) & 0x5555555555555555)
    words = (words & 0x3333333333333333) + ((words >> 2) & 0x3333333333333333)
    words = (words + (words >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((words * 0x0101010101010101) >> 56).sum(1)
