"""Random widths of a given cost: pure functions on width vectors, the rows of tensors (N, G), float64.

What is common to them: `low`, `high` and `multiples` (G,) are the bounds of each width, themselves on its multiples,
and what it is a multiple of; `cost` gives the cost of each row (N, G) -> (N,), and no width makes it smaller.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_HALVINGS = 60  # of an interval of about ten (of a logarithm): down to the precision of float64


@dataclass(frozen=True)
class Grid:
    """The admissible widths, what they cost, and the `centre` (G,) about which random ones vary."""

    low: Tensor
    high: Tensor
    multiples: Tensor
    centre: Tensor
    cost: Callable[[Tensor], Tensor]

    def nearest(self, widths: Tensor) -> Tensor:
        """The nearest admissible widths (N, G)."""
        rounded = torch.round(widths / self.multiples) * self.multiples
        return torch.minimum(torch.maximum(rounded, self.low), self.high)


def random_profiles(grid: Grid, count: int, generator: torch.Generator) -> Tensor:
    """Widths in relation to each other, neither rounded nor clipped: (count, G).

    In each row every width is log-uniform about its centre, over a part of the range high / low whose length is uniform
    from none of it to all: from rows in proportion to the centre to ones that use the whole range.
    """
    part = torch.rand(count, 1, generator=generator, dtype=torch.float64)
    place = torch.rand(count, len(grid.low), generator=generator, dtype=torch.float64)
    return torch.exp(grid.centre.log() + part * (place - 0.5) * (grid.high / grid.low).log())


def log_uniform_targets(least: int, most: int, count: int, generator: torch.Generator) -> Tensor:
    """Whole numbers (count,) from `least` to `most`, both included, with equal shares for equal ratios."""
    share = torch.rand(count, generator=generator, dtype=torch.float64)
    first, last = torch.tensor([max(least, 1), most + 1], dtype=torch.float64).log()
    return torch.exp(torch.lerp(first, last, share)).floor().clamp(least, most)


def scaled_to(grid: Grid, profiles: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The admissible widths of `profiles` (N, G) times one common factor a row, at which the cost passes its target.

    Along the factor the cost is a staircase from all widths at their minimum to all at their maximum. Returned are the
    two steps about each target (N,): the last of cost <= target and the first of cost > target; where the target is
    the largest cost, all widths at their maximum twice.
    """
    under = (grid.low.log() - profiles.log()).amin(1)  # logarithms of factors: here every width is at its minimum
    over = (grid.high.log() - profiles.log()).amax(1)
    for _ in range(_HALVINGS):
        middle = (under + over) / 2
        fits = grid.cost(grid.nearest(profiles * middle.exp()[:, None])) <= targets
        under, over = torch.where(fits, middle, under), torch.where(fits, over, middle)
    return tuple(grid.nearest(profiles * factor.exp()[:, None]) for factor in (under, over))


def one_step_within(
    grid: Grid, below: Tensor, above: Tensor, least: int, most: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Repairs rows whose two steps both miss a narrow band of costs: one width of the lower goes up, or one of the
    upper goes down, by one multiple.

    Returns rows (N, G), of the ones that hit the band from `least` to `most` one at random, and which of them do (N,).
    """
    steps = torch.diag(grid.multiples)
    options = torch.cat([below[:, None] + steps, above[:, None] - steps], 1)  # (N, 2G, G)
    costs = grid.cost(options.flatten(0, 1)).reshape(options.shape[:2])
    inside = ((options >= grid.low) & (options <= grid.high)).all(2) & (costs >= least) & (costs <= most)
    score = torch.rand(inside.shape, generator=generator, dtype=torch.float64)
    chosen = torch.where(inside, score, -1.0).argmax(1)
    return options[torch.arange(len(options)), chosen], inside.any(1)
