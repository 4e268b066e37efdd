"""What the training of a super-net tells of its widths: the losses at each width, and which index sets win there."""

import torch
from torch import Tensor

_TOLD_BY = 10  # wins for each index set of a width, until their entropy means something
_LARGEST_CHOICE = 70  # index sets of a width (offset 4), up to which wins are counted


class WidthStatistics:
    """Sums over training steps for each group (G) and number of bins (B, from 1: place b holds b + 1 bins).

    `losses` (G, B) float64 and `steps` (G, B) int64: the sum of the losses of the paths that were trained, and how
    many; what a prior of the widths is made of. A width that was never trained has 0 steps and so no mean.
    `wins` (G, B, A) int64: of the steps that had a choice, how often each index set was in the path that won.
    """

    def __init__(self, counts: list[list[int]]) -> None:
        """`counts`: of each group, how many index sets each number of bins has."""
        size = len(counts), max(map(len, counts))
        self.losses = torch.zeros(size, dtype=torch.float64)
        self.steps = torch.zeros(size, dtype=torch.int64)
        self.choices = torch.zeros(size, dtype=torch.int64)  # index sets of a width, as far as wins are counted
        for group, own in enumerate(counts):
            self.choices[group, : len(own)] = torch.tensor([c if c <= _LARGEST_CHOICE else 0 for c in own])
        self.wins = torch.zeros(*size, int(self.choices.max()), dtype=torch.int64)

    def add(self, rows: Tensor, losses: Tensor) -> None:
        """Steps at `rows` of bins (S, G) whose trained paths had these `losses` (S,), one after the other."""
        places = self._places(rows)
        self.losses.view(-1).index_add_(0, places, losses.to(torch.float64).repeat_interleave(rows.shape[1]))
        self.steps.view(-1).index_add_(0, places, torch.ones_like(places))

    def add_wins(self, rows: Tensor, numbers: Tensor) -> None:
        """Steps at `rows` of bins (S, G) that the index sets `numbers` (S, G) have won."""
        places, numbers = self._places(rows), numbers.flatten()
        counted = numbers < self.choices.view(-1)[places]
        places = (places * self.wins.shape[2] + numbers)[counted]
        self.wins.view(-1).index_add_(0, places, torch.ones_like(places))

    def _places(self, rows: Tensor) -> Tensor:
        return (torch.arange(rows.shape[1]) * self.steps.shape[1] + rows - 1).flatten()

    def evenness(self) -> Tensor:
        """How evenly the index sets of a width win, the mean over the widths of a group: (G,), 1 for evenly.

        That is their entropy by its largest. Left out are widths of one index set, and ones with fewer than ten wins
        for each; NaN for a group of which no width is left.
        """
        counted = (self.choices > 1) & (self.wins.sum(2) >= _TOLD_BY * self.choices)
        values = entropy(self.wins) / self.choices.clamp(min=2).to(torch.float64).log2()
        return torch.where(counted, values, torch.nan).nanmean(1)

    def state_dict(self) -> dict[str, Tensor]:
        return {name: getattr(self, name).clone() for name in ("losses", "steps", "wins")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, values in state.items():
            getattr(self, name).copy_(values)


def entropy(counts: Tensor) -> Tensor:
    """Entropy in bits of the shares of `counts` (..., A) -> (...); 0 where there is nothing."""
    shares = counts / counts.sum(-1, keepdim=True).clamp(min=1)
    return torch.special.entr(shares.to(torch.float64)).sum(-1) / torch.log(torch.tensor(2.0, dtype=torch.float64))
