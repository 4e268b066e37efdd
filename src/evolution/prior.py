"""Rows to begin a search with, from the losses that rows had in the training of the super-net.

After "BCNet: Searching for Network Width with Bilaterally Coupled Network" (Su et al., CVPR 2021), whose authors are
those of CafeNet: for each group a distribution over its bins, independent of the other groups, that makes the expected
loss small and keeps the expected MACs at the budget. Theirs has neither the entropy term nor the common scale of the
losses: without the first the distribution ends at a single row, without the second the weights mean something else
for every network.
"""

import torch
from torch import Tensor

from src.evolution.expected_cost import expected_cost
from src.evolution.grid import BinGrid

_STEPS, _RATE = 500, 0.1


def fitted(table: Tensor, grid: BinGrid, target: float, strength: float = 100.0, temperature: float = 0.02) -> Tensor:
    """The probabilities (G, M) of each group's bins that make this small, with p the product of the groups':

        mean over g of E_p[loss_g]  +  strength * (E_p[MACs] / target - 1)^2  -  temperature * mean over g of entropy_g

    Losses are scaled to [0, 1] over the whole table; what was never seen counts as the worst that was. The minimum is
    approached by Adam from even probabilities; nothing is drawn.

    Args:
        table: mean losses (G, M) of the rows with low_g + m bins in group g, NaN where never seen. (BCNet takes the
            mean of the 100 lowest; what is given here is up to the caller.)
        target: expected MACs, the budget or somewhat less.
        strength: weight of the budget.
        temperature: weight of the entropy; 0: one row takes all in the end.

    Raises:
        ValueError: nothing was seen at all.
    """
    seen = table[table.isfinite()]
    if not len(seen):
        raise ValueError("the prior needs the loss of one row at least")
    scaled = (table.nan_to_num(float(seen.max())) - seen.min()) / (seen.max() - seen.min()).clamp_min(1e-12)
    there, cost = _there(grid), expected_cost(grid)
    logits = torch.zeros_like(table, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=_RATE)
    for _ in range(_STEPS):
        logs = logits.masked_fill(~there, -torch.inf).log_softmax(1)
        chances = logs.exp()
        entropy = -(chances * logs.masked_fill(~there, 0)).sum(1).mean()
        value = (chances * scaled).sum(1).mean() + strength * (cost(chances) / target - 1) ** 2
        optimizer.zero_grad()
        (value - temperature * entropy).backward()
        optimizer.step()
    return logits.detach().masked_fill(~there, -torch.inf).softmax(1)


def sampled(probabilities: Tensor, grid: BinGrid, count: int, generator: torch.Generator) -> Tensor:
    """`count` independent rows (count, G), of which each group's bins are drawn by `probabilities` (G, M)."""
    return grid.low + torch.multinomial(probabilities, count, replacement=True, generator=generator).T


def _there(grid: BinGrid) -> Tensor:
    """Which places of a table (G, M) stand for bins that the group has."""
    places = torch.arange(int((grid.high - grid.low).max()) + 1)
    return places <= (grid.high - grid.low)[:, None]
