"""The classes that can win at all: all that has to be kept of a pool to evaluate its cascades exactly.

Let q be the mean of the softmaxes of a set of at most K members, c a class, and m the member of the set that gives c
the most. Then q(c) <= p_m(c), and max q >= (the largest p_m) / K. So where p_m(c) < (the largest p_m) / K **for every
member of the pool**, c is the argmax of no set. Of 1,000 classes some tens are left of an average image; and what is
left gives the same maxima, the same predictions and the same ties. (Ours; the released code works on all classes.)
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from src.cascades.thresholds import as_integers

_BLOCK_BYTES = 2**25  # of one member's outputs that are read at a time


@dataclass(frozen=True)
class Bucket:
    """Samples with about equally many viable classes.

    Args:
        samples: their indices, (S,).
        classes: int64 (W, S): row 0 is the label, then the viable others, then -1.
        values: int32 (M, W, S): softmax of each member for these classes in units of 2^-24; 0 where there is no class.
    """

    samples: np.ndarray
    classes: np.ndarray
    values: np.ndarray


def compacted(outputs: Sequence[np.ndarray], labels: np.ndarray, slots: int) -> list[Bucket]:
    """The pool's outputs, M arrays float16 (N, C), without the classes that no set of `slots` members can predict."""
    viable = _viable(outputs, slots)
    others = viable.copy()
    others[np.arange(len(labels)), labels] = False
    counts = others.sum(1)
    places = [_chosen(others, labels, counts, width) for width in _widths(counts)]
    found = [np.empty((len(outputs), *classes.shape), dtype=np.int32) for _, classes in places]
    for member, output in enumerate(outputs):
        for low, block in _blocks(output):
            for (samples, classes), values in zip(places, found, strict=True):
                first, last = np.searchsorted(samples, (low, low + len(block)))
                some = classes[:, first:last]
                picked = as_integers(block[samples[first:last] - low, np.maximum(some, 0)])
                values[member, :, first:last] = np.where(some < 0, 0, picked)
    return [Bucket(samples, classes, values) for (samples, classes), values in zip(places, found, strict=True)]


def _viable(outputs: Sequence[np.ndarray], slots: int) -> np.ndarray:
    """Which class of which sample can be the argmax of some set: bool (N, C)."""
    viable = np.zeros(outputs[0].shape, dtype=bool)
    for output in outputs:
        for low, block in _blocks(output):
            bits = block.view(np.uint16) & 0x7FFF  # in the order of the numbers, compared much faster; -0.0 is 0
            top = bits.max(1).view(np.float16)
            least = (top.astype(np.float32) / np.float32(slots)).astype(np.float16)
            bound = least.view(np.uint16)
            bound = bound + (least.astype(np.float32) * slots < top).astype(np.uint16)  # it was rounded down
            viable[low : low + len(block)] |= bits >= bound[:, None]
    return viable


def _blocks(output: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, outputs) of consecutive samples, read from disk where the array lies there."""
    rows = max(1, _BLOCK_BYTES // (output.shape[1] * output.itemsize))
    for low in range(0, len(output), rows):
        yield low, np.array(output[low : low + rows], dtype=np.float16)
    mapped = getattr(output, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)  # else all that was read counts as memory of this process


def _widths(counts: np.ndarray) -> list[tuple[int, int]]:
    """Ranges (fewest, most) of viable classes beside the label, the most at about 4/3 of each other."""
    most, ranges, low = int(counts.max(initial=1)), [], 0
    while low <= most:
        high = max(1, (4 * low + 2) // 3)
        ranges.append((low, min(high, most)))
        low = high + 1
    return [(low, high) for low, high in ranges if ((counts >= low) & (counts <= high)).any()]


def _chosen(others: np.ndarray, labels: np.ndarray, counts: np.ndarray, width: tuple[int, int]):
    """Samples of a bucket, ascending, and their classes (1 + most, S)."""
    low, high = width
    samples = np.flatnonzero((counts >= low) & (counts <= high))
    classes = np.full((len(samples), 1 + max(high, 1)), -1, dtype=np.int64)
    classes[:, 0] = labels[samples]
    row, value = np.nonzero(others[samples])
    starts = np.concatenate([[0], np.cumsum(counts[samples])])[:-1]
    classes[row, 1 + np.arange(len(row)) - starts[row]] = value
    return samples, np.ascontiguousarray(classes.T)
