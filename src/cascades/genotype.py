"""Cascades as rows of whole numbers, and the one row that stands for all rows of the same cascade.

A row of K slots has 2K - 1 genes: K member numbers, 0 for no member and m for the pool's member m - 1, then K - 1
indices of thresholds. Threshold j lies before slot j + 1: where that slot is empty it goes with the slot, and where no
member has run yet there is nothing to decide.
"""

from dataclasses import dataclass

import numpy as np

from src.errors import check_choice

REPEATS = ("refuse", "charge")


@dataclass(frozen=True)
class CascadePlan:
    """Members in their order (indices of the pool, from 0) and the threshold before each but the first."""

    members: tuple[int, ...]
    thresholds: tuple[float, ...]


def slots_of(rows: np.ndarray) -> int:
    """K of rows of 2K - 1 genes."""
    return (rows.shape[1] + 1) // 2


def canonical(rows: np.ndarray, repeats: str = "refuse") -> np.ndarray:
    """Rows (B, 2K - 1) of the same cascades with members in the first slots, and zeros wherever a gene says nothing.

    `repeats`: "refuse": a member that has run already is taken for an empty slot: it would add nothing. "charge": as in
    the released code it stays, is charged again and weighs twice in the mean.
    """
    check_choice("method.repeats", repeats, REPEATS)
    slots = slots_of(rows)
    members, thresholds = rows[:, :slots].copy(), rows[:, slots:]
    if repeats == "refuse":
        for slot in range(1, slots):
            seen = (members[:, :slot] == members[:, slot : slot + 1]).any(1)
            members[seen, slot] = 0
    empty = members == 0
    order = np.argsort(empty, axis=1, kind="stable")
    members = np.take_along_axis(members, order, 1)
    before = np.concatenate([np.zeros((len(rows), 1), rows.dtype), thresholds], 1)  # of each slot
    before = np.take_along_axis(before, order, 1)[:, 1:]
    before[members[:, 1:] == 0] = 0
    return np.concatenate([members, before], 1)


def without_idle(rows: np.ndarray, reached: np.ndarray, repeats: str = "refuse") -> np.ndarray:
    """Canonical rows (B, 2K - 1) without the members that no sample comes to; `reached` (B, K) is of canonical rows."""
    rows = canonical(rows, repeats)
    slots = slots_of(rows)
    members = np.where(reached > 0, rows[:, :slots], 0)
    return canonical(np.concatenate([members, rows[:, slots:]], 1), repeats)


def decode(row: np.ndarray, values: np.ndarray) -> CascadePlan:
    """The cascade of a canonical row; `values` are the thresholds of the grid."""
    slots = (len(row) + 1) // 2
    length = int((row[:slots] > 0).sum())
    members = tuple(int(number) - 1 for number in row[:length])
    # 0.98 rather than 0.9800000190734863: rounded to float32 it is the same number
    thresholds = tuple(float(str(values[index])) for index in row[slots : slots + max(length - 1, 0)])
    return CascadePlan(members, thresholds)


def alphabet(members: int, slots: int, levels: int) -> np.ndarray:
    """How many values each gene has: (2K - 1,)."""
    return np.array([members + 1] * slots + [levels] * (slots - 1), dtype=np.int64)
