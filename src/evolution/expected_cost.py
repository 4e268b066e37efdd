"""The mean cost of rows whose groups are drawn independently of each other, exactly and with gradients.

MACs are a quadratic form in the widths (src.graph.cost). So, seen from the least row, the cost of a row is a sum of
what each group adds alone and of one bilinear term for each pair of groups,

    C(r) = C(low) + sum_g a_g(r_g) + sum_{g<h} B_gh u_g(r_g) u_h(r_h),

where u_g goes from 0 at the fewest to 1 at the most bins, linearly in the width. Of independent groups the mean of a
product is the product of the means, so the mean cost needs the means of a_g and u_g only. All three are read off the
cost of a few rows: nothing need be known of the network.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from src.evolution.grid import BinGrid


@dataclass(frozen=True)
class ExpectedCost:
    """base: C(low); alone (G, M), share (G, M): a_g and u_g of low_g, low_g + 1, ... bins; pairs (G, G): B, symmetric.

    M is the largest number of choices of a group; places that a group does not have are 0.
    """

    base: float
    alone: Tensor
    share: Tensor
    pairs: Tensor

    def __call__(self, probabilities: Tensor) -> Tensor:
        """The mean cost under independent groups: probabilities (G, M) of low_g, low_g + 1, ... bins -> scalar."""
        share = (probabilities * self.share).sum(1)
        return self.base + (probabilities * self.alone).sum() + share @ self.pairs @ share / 2


def expected_cost(grid: BinGrid) -> ExpectedCost:
    """Reads the terms off `grid.cost`; exact where that is a quadratic form in increasing functions of the bins."""
    count, most = len(grid.low), int((grid.high - grid.low).max()) + 1
    bins = grid.low[:, None] + torch.arange(most)
    there = bins <= grid.high[:, None]
    bins = torch.minimum(bins, grid.high[:, None])
    base = grid.cost(grid.low[None])[0]
    own = torch.eye(count, dtype=torch.bool)[:, None]  # (G, 1, G): row g, m differs from a corner in group g only

    def along(corner: Tensor) -> Tensor:
        """Costs (G, M) of the rows that have `corner` (G,) but for the bins of one group."""
        rows = torch.where(own, bins[..., None], corner)
        return grid.cost(rows.flatten(0, 1)).reshape(count, most)

    alone = along(grid.low) - base
    above = along(grid.high)
    with_others = above - above[:, :1] - alone  # sum over h of B_gh, times u_g
    share = with_others.double() / with_others.amax(1, keepdim=True).clamp_min(1)
    first, second = torch.triu_indices(count, count, 1)
    raised = own[first, 0] | own[second, 0]  # (pairs, G)
    corners = torch.where(raised, grid.high, grid.low)
    top = alone.amax(1)
    pairs = torch.zeros(count, count, dtype=torch.float64)
    if len(first):
        pairs[first, second] = (grid.cost(corners) - base - top[first] - top[second]).double()
    return ExpectedCost(float(base), (alone * there).double(), share * there, pairs + pairs.T)
