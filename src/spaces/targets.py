"""What an architecture is to cost: targets that are met from both sides (HourNAS, https://arxiv.org/abs/2005.14446).

    |R_k(a) - T_k| / T_k <= tolerance    for each cost k

Too small a network wastes the budget, too large a one cannot be used. That the paper constrains MACs and parameters,
and from both sides, is recalled, not verified; its tolerance is not known.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from src.errors import UserError, check_range, did_you_mean
from src.spaces.cost_table import CostTable

_SHARES_BELOW = 10  # no network costs fewer than ten MACs, nor has fewer parameters
_SHARED = ("macs", "params")  # milliseconds are always meant as such
_ROUNDING = 1e-12  # so that a cost that lies on the edge of the band is inside


@dataclass(frozen=True)
class Targets:
    """Targets of K costs.

    Args:
        names: of the costs, in the order of `CostTable.names`.
        values: (K,) float64, above 0.
        tolerance: the largest relative miss of each, to both sides.
        shares: of each cost its target as a share of the base model, where the user has given it so, or None.
    """

    names: tuple[str, ...]
    values: Tensor
    tolerance: float
    shares: tuple[float | None, ...] = ()

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The least and the most (K,) of each cost that meets its target."""
        width = self.values * (self.tolerance + _ROUNDING)
        return self.values - width, self.values + width

    def met(self, costs: Tensor) -> Tensor:
        """Whether costs (..., K) meet all targets: bool (...)."""
        low, high = self.bounds()
        costs = costs.double()
        return ((costs >= low.to(costs.device)) & (costs <= high.to(costs.device))).all(-1)

    def misses(self, costs: Tensor) -> Tensor:
        """By how much costs (..., K) miss each target, as a share of it and with its sign: (..., K)."""
        values = self.values.to(costs.device)
        return (costs.double() - values) / values

    def met_by(self, choices: Tensor, table: CostTable) -> Tensor:
        """Whether choices (..., L) meet all targets: bool (...). `table` may have other costs beside."""
        return self.met(table.only(self.names).of(choices))

    def asked(self, number: int) -> str:
        """What the user has asked for of cost `number`, as a setting: `method.targets.macs=0.5 (1,250,000)`."""
        name, value = self.names[number], float(self.values[number])
        share = self.shares[number] if self.shares else None
        given = told_cost(name, value) if share is None else f"{share:g} ({told_cost(name, value)})"
        return f"method.targets.{name}={given}"

    def told(self) -> str:
        """The targets as words, for messages and reports."""
        values = ", ".join(
            f"{name} {told_cost(name, v)}" for name, v in zip(self.names, self.values.tolist(), strict=True)
        )
        return f"{values}, each within {100 * self.tolerance:g} %"


def targets_of(
    given: Mapping[str, float | None], tolerance: float, base: Mapping[str, float], table: CostTable
) -> Targets:
    """The targets that the config node `method.targets` asks for, such as {macs: 1.0, params: 5.3e6, latency: null}.

    Args:
        given: of each cost its target: below 10 a share of what the base model has (MACs and parameters only; latency
            is in milliseconds always), None where it is not constrained.
        tolerance: `method.tolerance`, the largest relative miss.
        base: MACs and parameters of the base model.
        table: whose costs may be constrained.

    Raises:
        UserError: a cost that `table` does not have, a target that is no number above 0, or no target at all.
    """
    check_range("method.tolerance", tolerance, 0, 1)
    if not isinstance(given, Mapping):
        raise UserError(f"method.targets={given!r} is not allowed; it must be like {{macs: 1.0, params: 1.0}}")
    values = {}
    for name, value in given.items():
        if value is None:
            continue
        key = f"method.targets.{name}"
        if name not in table.names:
            known = {*table.names, "latency"} - {name}  # latency is in the table once it has been measured
            raise UserError(f"{key} is no cost that this search knows; {did_you_mean(name, known)}")
        values[name] = _value(key, value, base[name] if name in _SHARED else None)
    if not values:
        known = ", ".join(dict.fromkeys((*table.names, "latency")))
        raise UserError(f"method.targets has no target; give one at least of: {known}")
    names = tuple(name for name in table.names if name in values)
    shares = tuple(given[name] if name in _SHARED and given[name] < _SHARES_BELOW else None for name in names)
    numbers = torch.tensor([values[name] for name in names], dtype=torch.float64)
    return Targets(names, numbers, float(tolerance), shares)


def told_cost(name: str, value: float) -> str:
    """A cost as a text: whole MACs and parameters, milliseconds."""
    return f"{value:,.4g} ms" if name == "latency" else f"{value:,.0f}"


def _value(key: str, value: float, base: float | None) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        share = "" if base is None else ", below 10 a share of the base model's,"
        raise UserError(f"{key}={value!r} is not allowed; it must be a number above 0{share} or null")
    return float(value * base if base is not None and value < _SHARES_BELOW else value)
