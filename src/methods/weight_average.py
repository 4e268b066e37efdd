"""The plain mean of the weights of several moments of a training (stochastic weight averaging).

Izmailov et al. 2018, https://arxiv.org/abs/1803.05407. ENCAS averages the super-net's weights of the last 20 iterations
on the CIFAR sets; integer buffers are those of the last moment.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class WeightAverage:
    """A running mean over state dicts, in float64 where they are floating; `count`: of how many."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, state: Mapping[str, Tensor]) -> None:
        """Takes in one more moment."""
        self.count += 1
        for name, value in state.items():
            value = value.detach().cpu()
            if value.is_floating_point():
                value = value.double()
                before = self.mean.get(name)
                value = value.clone() if before is None else before + (value - before) / self.count
            self.mean[name] = value.clone() if not value.is_floating_point() else value

    def state(self, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean, in the types of `like`."""
        return {name: self.mean[name].to(value.dtype) for name, value in like.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "mean": dict(self.mean)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count, self.mean = state["count"], dict(state["mean"])
