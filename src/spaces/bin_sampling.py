"""Random rows of bins of a given cost: pure functions on the rows of int64 tensors (N, G), one width group a column.

What is common to them: `low` and `high` (G,) are the fewest and most bins of each group, and `cost` gives the cost of
each row, (N, G) -> (N,) int64, which every bin makes larger.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Cost = Callable[[Tensor], Tensor]
_WALK = 128  # steps about a narrow band, until a row is given up


def uniform_rows(low: Tensor, high: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count, G), each number of bins uniform from low to high, independent of the others."""
    places = torch.rand(count, len(low), generator=generator, dtype=torch.float64)
    return low + (places * (high - low + 1)).to(torch.int64).clamp(max=high - low)


def into_band(
    rows: Tensor, low: Tensor, high: Tensor, cost: Cost, least: int, most: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, list[int]]:
    """Repairs rows whose cost lies outside of [least, most], which some row must be able to reach from either side.

    Of a row above, bins go one by one, each of all that may go as likely as any other, until it costs at most `most`;
    to one below bins come until it costs at least `least`. A row that has stepped over the band walks on in the same
    manner, back and forth. Rows that lie within stay as they are.

    Returns the rows, which of them lie within the band (N,), and the nearest costs below and above that were seen.
    """
    rows, costs = rows.clone(), cost(rows)
    for sign, bound, outside in ((-1, most, costs > most), (1, least, costs < least)):
        if outside.any():
            rows[outside] = _first_on_the_way(rows[outside], low, high, cost, bound, sign, generator)
    costs, near = cost(rows), [[], []]
    for _ in range(_WALK):
        below, above = costs < least, costs > most
        for seen, values in zip(near, (costs[below], costs[above]), strict=True):
            seen.extend(values.unique().tolist())
        outside = below | above
        if not outside.any():
            break
        sign = below[outside].to(torch.int64)[:, None] * 2 - 1
        room = torch.where(sign > 0, high - rows[outside], rows[outside] - low)
        group = torch.multinomial(room.to(torch.float64), 1, generator=generator)
        rows[outside] = rows[outside].scatter_add(1, group, sign)
        costs = cost(rows)
    nearest = [best(seen) for best, seen in zip((max, min), near, strict=True) if seen]
    return rows, (costs >= least) & (costs <= most), nearest


def _first_on_the_way(
    rows: Tensor, low: Tensor, high: Tensor, cost: Cost, bound: int, sign: int, generator: torch.Generator
) -> Tensor:
    """The first row on a random way that meets the bound: bins go (sign -1) or come (1) in a random order of them all.

    The cost is monotone along the way, so bisection finds the place: ten evaluations stand for a thousand steps.
    """
    room = high - rows if sign > 0 else rows - low  # (N, G)
    bins = torch.arange(int(room.max()))
    keys = torch.rand(*room.shape, len(bins), generator=generator, dtype=torch.float64)
    keys = keys.masked_fill(bins >= room[..., None], torch.inf).flatten(1)
    turns = keys.argsort(1).argsort(1).reshape(*room.shape, len(bins))  # when each bin has its turn
    first, last = torch.zeros(len(rows), dtype=torch.int64), room.sum(1)  # steps: at `last` the bound is met

    def after(steps: Tensor) -> Tensor:
        return rows + sign * (turns < steps[:, None, None]).sum(2)

    while (first < last).any():
        middle = (first + last) // 2
        costs = cost(after(middle))
        met = costs <= bound if sign < 0 else costs >= bound
        first, last = torch.where(met, first, middle + 1), torch.where(met, middle, last)
    return after(last)
