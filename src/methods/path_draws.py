"""Random architectures: from space proposals, and different ones that meet the targets."""

from collections.abc import Callable

import torch
from torch import Tensor

from src.runtime.seeds import keyed_generator
from src.spaces.cost_table import CostTable
from src.spaces.space_proposal import sample
from src.spaces.targets import Targets

_TOGETHER, _ROUNDS = 256, 64  # drawn at once, and how often until what meets the targets is taken for exhausted


def from_proposals(proposals: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Choices (count, L), each from a random one of the proposals, logits (N, L, O)."""
    which = torch.randint(len(proposals), (count,), generator=generator)
    drawn = torch.stack([sample(logits, count, generator) for logits in proposals])
    return drawn[which, torch.arange(count)]


def different_ones(
    draw: Callable[[int, torch.Generator], Tensor], count: int, costs: CostTable, targets: Targets, seed: int
) -> list[list[int]]:
    """Up to `count` different choices that `draw(count, generator)` gives and that meet the targets, in their order.

    Fewer where no more come up. Keyed by `seed`.
    """
    found: dict[tuple[int, ...], None] = {}
    for number in range(_ROUNDS):
        drawn = draw(_TOGETHER, keyed_generator(seed, "different", number))
        found |= dict.fromkeys(map(tuple, drawn[targets.met_by(drawn, costs)].tolist()))
        if len(found) >= count:
            break
    return [list(choice) for choice in found][:count]
