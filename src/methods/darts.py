"""DARTS, first order: a softmax over operations, weights and logits by turns (Liu et al., arXiv 1806.09055).

The baseline of a differentiable search over cells. On every edge x -> sum_o softmax(alpha)_o o(x); the weights take
the gradient on one part of the training images, alpha on the other. A pool, a shortcut and `none` have no weights that
would have to be learnt first, so that they gain early: searches that go on for long end with shortcuts everywhere
(arXiv 1909.09656).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from src.errors import check_range
from src.methods.cell_search import CellSearch
from src.networks.cell_operations import OPERATIONS
from src.runtime.seeds import keyed_generator
from src.spaces.cell_space import CellSpace


def darts_space(
    base: dict[str, Any],
    input_shape: tuple[int, int, int],
    operations: Sequence[str] | None = None,
    nodes: int | None = None,
) -> CellSpace:
    """The cells of `base` with these operations; None: all of DARTS, of which `none` is in the softmax alone."""
    return CellSpace(base, input_shape, OPERATIONS if operations is None else operations, nodes)


class Darts(CellSearch):
    """Moves logits alpha (T, E, O) by architecture steps, which `ArchitectureSteps` makes.

    Args:
        init: standard deviation of the first alpha.
        base, input_shape, settings: as `CellSearch` has them.
    """

    def __init__(self, base: dict[str, Any], input_shape: tuple[int, int, int], init: float = 1e-3, **settings) -> None:
        check_range("method.arch.init", init, 0, 10)
        super().__init__(base, input_shape, mode="bilevel", **settings)
        shape = (2, len(self.space.edges), len(self.space.operations))
        noise = torch.randn(shape, generator=keyed_generator(self.seed, "alpha"))
        self.register_buffer("alpha", init * noise)

    def gate_values(self, batch: int) -> tuple[Tensor, None]:
        return self.mean_gates(), None

    def mean_gates(self) -> Tensor:
        return self.alpha.softmax(dim=2)

    def scores(self) -> Tensor:
        return self.alpha.softmax(dim=2)

    def structure_state(self) -> dict[str, Tensor]:
        return {"alpha": self.alpha}

    def architecture_tensors(self) -> list[tuple[Tensor, float]]:
        """What architecture steps move, each with a factor for its rate."""
        return [(self.alpha, 1.0)]

    def architecture_loss(self, batch: tuple[Tensor, Tensor], alpha: Tensor, step: int) -> Tensor:
        """The loss of the mixture that `alpha` (T, E, O) gives, differentiable in it."""
        return self.structure_loss(batch, alpha.softmax(dim=2), None)
