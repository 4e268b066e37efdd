"""Rows of ENCAS-joint: a sub-net of each of K super-nets, and the cascade that they form.

A row holds the genes of super-net 1, .., K, then K positions, 0..K-1, then K indices into THRESHOLDS, one of each for
every super-net. (The original has position and threshold of a super-net next to its genes: the same up to order.)
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = np.arange(1, 11) / 10  # of the confidence with which a network hands on an input: 0.1 .. 1.0


class JointRows:
    """The layout of joint rows.

    Args:
        alphabets: K sequences (d_k,) of how many values each gene of super-net k has.

    Attributes:
        alphabet: int64 (d,), d = d_1 + .. + d_K + 2 K, the same of a joint row.
        nets: K.
    """

    def __init__(self, alphabets: Sequence[Sequence[int]]) -> None:
        parts = [np.asarray(alphabet, dtype=np.int64) for alphabet in alphabets]
        self.alphabets, self.nets = parts, len(parts)
        more = np.repeat([self.nets, len(THRESHOLDS)], self.nets)
        self.alphabet = np.concatenate([*parts, more]).astype(np.int64)
        self._cuts = np.cumsum([len(part) for part in parts] + [self.nets])

    def split(self, rows: NDArray) -> tuple[list[NDArray], NDArray, NDArray]:
        """Of rows (N, d): the rows (N, d_k) of every super-net, positions (N, K), indices of thresholds (N, K)."""
        *parts, positions, thresholds = np.split(np.asarray(rows, dtype=np.int64), self._cuts, axis=1)
        return parts, positions, thresholds

    def joined(self, parts: Sequence[NDArray], positions: NDArray, thresholds: NDArray) -> NDArray:
        """Rows (N, d) of what `split` returns."""
        return np.concatenate([*parts, positions, thresholds], axis=1).astype(np.int64)

    def order(self, positions: NDArray) -> NDArray:
        """Which super-nets come first to last, (N, K): by decreasing position (N, K), of equal ones the later net."""
        return np.argsort(positions, axis=1, kind="stable")[:, ::-1]

    def canonical(self, rows: NDArray, canonicals: Sequence[Callable[[NDArray], NDArray] | None]) -> NDArray:
        """One row for all rows (N, d) that mean the same cascade, (N, d); idempotent.

        Positions become K - 1 for the first network down to 0 for the last; the last one's threshold, which nothing
        looks at, becomes 1.0.

        Args:
            canonicals: the canonical form of each super-net's rows, (N, d_k) -> (N, d_k); None: as they are.
        """
        parts, positions, thresholds = self.split(rows)
        parts = [part if change is None else change(part) for part, change in zip(parts, canonicals, strict=True)]
        order = self.order(positions)
        positions, thresholds = np.empty_like(positions), thresholds.copy()
        np.put_along_axis(positions, order, np.arange(self.nets)[::-1][None], 1)
        np.put_along_axis(thresholds, order[:, -1:], len(THRESHOLDS) - 1, 1)
        return self.joined(parts, positions, thresholds)
