"""What each operation of each block costs: the cost of any choice is a sum (FBNet, https://arxiv.org/abs/1812.03443).

R(a) = R_fixed + sum_l sum_o a_lo R_lo                                          (equation 6 there, for any cost)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class CostTable:
    """Costs of L blocks, each of which has up to O operations to choose from.

    Args:
        names: of the K costs: "macs" and "params" (whole numbers), and maybe "latency" (milliseconds).
        fixed: (K,) float64, of what is not searched.
        table: (K, L, O) float64, 0 where a block has no such operation.
        allowed: (L, O) bool, whether block l may take operation o; each has one at least.
    """

    names: tuple[str, ...]
    fixed: Tensor
    table: Tensor
    allowed: Tensor

    def of(self, choices: Tensor) -> Tensor:
        """The costs (..., K) of choices (..., L), int64 numbers of operations: exact, as sums of whole numbers are."""
        blocks = torch.arange(self.table.shape[1], device=choices.device)
        return self.fixed + self.table[:, blocks, choices].sum(dim=-1).movedim(0, -1)

    def expected(self, gates: Tensor) -> Tensor:
        """The costs (..., K) of gates (..., L, O) that sum to 1 in each block; differentiable."""
        return self.fixed.to(gates) + torch.einsum("...lo,klo->...k", gates, self.table.to(gates))

    def reachable(self) -> dict[str, tuple[float, float]]:
        """Of each cost, taken by itself, the least and the most of a choice."""
        least = self.table.masked_fill(~self.allowed, torch.inf).amin(-1).sum(-1) + self.fixed
        most = self.table.masked_fill(~self.allowed, -torch.inf).amax(-1).sum(-1) + self.fixed
        return dict(zip(self.names, zip(least.tolist(), most.tolist(), strict=True), strict=True))

    def restricted(self, choices: Mapping[int, int]) -> "CostTable":
        """The table in which the blocks that are keys of `choices` may take that operation only."""
        allowed = self.allowed.clone()
        for block, operation in choices.items():
            allowed[block] = False
            allowed[block, operation] = True
        return replace(self, allowed=allowed)

    def only(self, names: Sequence[str]) -> "CostTable":
        """The table of some of the costs, in the order of `names`."""
        rows = [self.names.index(name) for name in names]
        return replace(self, names=tuple(names), fixed=self.fixed[rows], table=self.table[rows])
