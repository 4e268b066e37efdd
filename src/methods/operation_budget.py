"""What operations cost, and what a found network is to cost: MACs and parameters, and latency once it is measured."""

from collections.abc import Mapping
from typing import Any

import torch

from src.errors import check_range
from src.methods.latency import LatencyProbe
from src.methods.operation_latency import with_latency
from src.runtime.ranks.agreement import gathered, rank
from src.spaces.cost_table import CostTable
from src.spaces.feasible import check_feasible
from src.spaces.operation_space import OperationSpace
from src.spaces.targets import Targets, targets_of

LATENCY = "latency"


class OperationBudget:
    """Cost table and targets of a search of operations.

    Args:
        space: whose operations cost what.
        asked: the targets, as `targets_of` takes them.
        tolerance: the largest miss of each, as a share of it.
        probe: measures latency, if that is a target: once, on rank 0.

    Raises:
        UserError: targets that are not allowed, or that no architecture meets.
    """

    def __init__(
        self, space: OperationSpace, asked: Mapping[str, float | None], tolerance: float, probe: LatencyProbe
    ) -> None:
        self.space, self.asked, self.tolerance, self.probe = space, asked, tolerance, probe
        self.base = {"macs": space.macs(space.start), "params": space.params(space.start)}
        self.targets: Targets | None = None  # None: as long as latency is the only one, and not measured
        self._take(space.costs)

    def _take(self, costs: CostTable) -> None:
        """Aims at the targets that `costs` knows."""
        self.costs, asked = costs, self.asked
        if self.lacks_latency():
            check_range("method.targets.latency", asked[LATENCY], 1e-6, 1e6)
            asked = {name: value for name, value in asked.items() if name != LATENCY}
            if all(value is None for value in asked.values()):
                return
        self.targets = targets_of(asked, self.tolerance, self.base, costs)
        check_feasible(costs, self.targets)

    def lacks_latency(self) -> bool:
        wanted = isinstance(self.asked, Mapping) and self.asked.get(LATENCY) is not None
        return wanted and LATENCY not in self.costs.names

    def complete(self, device: torch.device) -> None:
        """Measures the latency of all operations where it is a target and not known yet; call it on all ranks."""
        if self.lacks_latency():
            measured = with_latency(self.space, self.probe, device) if rank() == 0 else None
            self._take(gathered(measured)[0])

    def misses(self, choice: list[int]) -> dict[str, float]:
        """By how much a choice (L,) misses each target, as a share of it and with its sign."""
        costs = self.costs.only(self.targets.names).of(torch.tensor(choice))
        return dict(zip(self.targets.names, self.targets.misses(costs).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        return {"names": list(self.costs.names), "fixed": self.costs.fixed, "table": self.costs.table}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes the costs of `state()`: a latency is not measured twice."""
        self._take(CostTable(tuple(state["names"]), state["fixed"], state["table"], self.space.costs.allowed))
