"""What is searched: rows of bins, one number for each width group, and what a row costs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Row = tuple[int, ...]  # of (G,) bins: what searchers hand out and are told about


@dataclass(frozen=True)
class BinGrid:
    """All integer rows (G,) from `low` to `high`, both included.

    Args:
        low, high: fewest and most bins of each group, int64 (G,).
        cost: MACs of rows, int64 (N, G) -> int64 (N,); one bin more, in any group, makes a row dearer.

    Raises:
        ValueError: `low` and `high` are no bounds of a grid.
    """

    low: Tensor
    high: Tensor
    cost: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        whole = self.low.dtype == self.high.dtype == torch.int64
        if not whole or self.low.shape != self.high.shape or self.low.dim() != 1 or not len(self.low):
            raise ValueError(f"low {self.low} and high {self.high} must be int64 vectors of one length")
        if bool((self.low > self.high).any()):
            raise ValueError(f"low {self.low.tolist()} is above high {self.high.tolist()}")

    def size(self) -> int:
        """The number of rows."""
        return math.prod((self.high - self.low + 1).tolist())

    def reachable(self) -> tuple[int, int]:
        """MACs of the least and of the largest row."""
        least, most = self.cost(torch.stack([self.low, self.high])).tolist()
        return least, most

    def all_rows(self) -> Tensor:
        """Every row (N, G), in ascending order; for small grids."""
        axes = [torch.arange(low, high + 1) for low, high in zip(self.low.tolist(), self.high.tolist(), strict=True)]
        return torch.cartesian_prod(*axes).reshape(-1, len(axes))

    def clipped(self, rows: Tensor) -> Tensor:
        """Rows (N, G) with every entry brought between `low` and `high`."""
        return torch.minimum(torch.maximum(rows, self.low), self.high)

    def uniform(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` independent rows (count, G), each of the grid equally likely."""
        share = torch.rand(count, len(self.low), generator=generator, dtype=torch.float64)
        return self.low + (share * (self.high - self.low + 1)).floor().to(torch.int64)


@dataclass(frozen=True)
class Band:
    """The MACs that are allowed: from `least` to `most`, both included."""

    least: int
    most: int

    def __contains__(self, cost: int) -> bool:
        return self.least <= cost <= self.most

    def holds(self, costs: Tensor) -> Tensor:
        """Which of the costs (N,) lie in the band."""
        return (costs >= self.least) & (costs <= self.most)


def as_rows(rows: Tensor) -> list[Row]:
    """Rows (N, G) as tuples."""
    return [tuple(row) for row in rows.tolist()]
