"""Choices that meet their targets: the most likely one, and whether there is one at all. Both are exact.

One choice is a vertex of a 0/1 program with a variable x_lo for each operation o of each block l:

    max sum_lo x_lo log p_lo   s.t.   sum_o x_lo = 1,   T_k (1 - tolerance) <= R_k(x) <= T_k (1 + tolerance)

which HiGHS (through SciPy) solves in tens of milliseconds at the sizes at hand. The paper's own final pick is not
known; that of the specification samples, this one cannot miss.
"""

import math
import warnings

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from src.errors import UserError
from src.spaces.cost_table import CostTable
from src.spaces.targets import Targets, told_cost

_SLACK = 1e-6  # of a target: what HiGHS may take for feasible, or for infeasible; the exact test comes after
_OBJECTIVE_SCALE = 1e3  # HiGHS stops at an absolute gap of 1e-6
_MOST_CUTS = 30  # choices within the slack that are taken out one by one
# Of branch and bound; 5 % of two targets takes a few, 0.01 % a few thousand, 0.001 % tens of thousands (half a minute).
_MOST_NODES = 30_000
_MOST_NODES_OF_NEAREST = 5_000  # which only a message needs


def count_log10(table: CostTable) -> float:
    """The common logarithm of the number of choices."""
    return sum(math.log10(count) for count in table.allowed.sum(1).tolist())


def likeliest(log_probabilities: Tensor, table: CostTable, targets: Targets) -> Tensor:
    """The most likely of all choices that meet all targets.

    Args:
        log_probabilities: (L, O) of independent blocks, or logits; -inf for an operation that is never to be taken.
            Blocks whose row is flat are free: the others' operations are then the most likely ones that leave
            something feasible, which is how a first stage can choose without ruining the second.
        table: of L blocks; costs that `targets` does not name are not looked at.

    Returns:
        The choice (L,) int64. Among equally likely ones (within 1e-9) which one is not specified, but it is the same
        at each call on one machine.

    Raises:
        UserError: no choice meets the targets; see `check_feasible`.
    """
    choice = _likeliest(log_probabilities, table, targets)
    if choice is None:
        check_feasible(table, targets)
        raise UserError(f"no choice of operations that have a probability meets the targets: {targets.told()}")
    return choice


def check_feasible(table: CostTable, targets: Targets) -> None:
    """Raises `UserError` if no choice meets all targets: with the range of each, or the nearest that can be had."""
    table = table.only(targets.names)
    low, high = targets.bounds()
    reachable = table.reachable()
    for k, name in enumerate(targets.names):
        least, most = reachable[name]
        if high[k] < least or low[k] > most:
            raise UserError(
                f"{targets.asked(k)} cannot be met within {100 * targets.tolerance:g} %: the architectures of this "
                f"search reach from {told_cost(name, least)} to {told_cost(name, most)}"
            )
    if _likeliest(torch.zeros(table.allowed.shape, dtype=torch.float64), table, targets) is not None:
        return
    nearest = table.of(_nearest(table, targets)).tolist()
    ranges = (f"{name} {told_cost(name, a)} to {told_cost(name, b)}" for name, (a, b) in reachable.items())
    costs = (f"{name} {told_cost(name, cost)}" for name, cost in zip(targets.names, nearest, strict=True))
    each = "method.targets can each be met, but not together" if len(reachable) > 1 else "method.targets cannot be met"
    raise UserError(
        f"{each}: asked are {targets.told()}; the nearest that an architecture of this search has is "
        f"{', '.join(costs)} (reachable, each by itself: {'; '.join(ranges)})"
    )


def _likeliest(log_probabilities: Tensor, table: CostTable, targets: Targets) -> Tensor | None:
    """`likeliest`, or None where there is none."""
    logs = log_probabilities.detach().double().cpu().masked_fill(~table.allowed, -torch.inf)
    if logs.isnan().any() or logs.isposinf().any():
        raise ValueError("log-probabilities must be below infinity")
    table = table.only(targets.names)
    logs = logs - logs.amax(1, keepdim=True)
    best = logs.argmax(1)
    if logs.amax(1).isnan().any():  # a block none of whose operations may be taken
        return None
    if targets.met(table.of(best)):
        return best
    program = _Program(logs.isfinite(), table, targets)
    gains = program.of(logs)
    cuts: list[LinearConstraint] = []
    # What HiGHS calls feasible may miss by its tolerances, and the other way round: it gets a band that is wider by
    # more than these, and what it finds outside of the true one is taken out.
    width = targets.values * _SLACK
    low, high = targets.bounds()
    band = program.band(low - width, high + width)
    while len(cuts) < _MOST_CUTS:
        found = milp(
            -_OBJECTIVE_SCALE * gains,
            integrality=np.ones(len(gains)),
            bounds=Bounds(0, 1),
            constraints=[program.one_each, band, *cuts],
            options={"mip_rel_gap": 0.0, "node_limit": _MOST_NODES},
        )
        if found.status == 2:  # proven infeasible
            return None
        if found.x is None:
            break
        choice = program.choice(found.x)
        if targets.met(table.of(choice)):
            if found.status != 0:
                warnings.warn(f"the choice that meets {targets.told()} may not be the most likely one", stacklevel=3)
            return choice
        cuts.append(LinearConstraint(program.of_choice(choice), -np.inf, len(choice) - 1))
    raise UserError(
        f"method.tolerance={targets.tolerance:g} is too narrow: within {_MOST_NODES:,} nodes of the "
        f"solver it was not decided whether a choice meets {targets.told()}; take a larger one"
    )


def _nearest(table: CostTable, targets: Targets) -> Tensor:
    """The choice (L,) whose largest relative miss is the least, or one close to it where the search grows long."""
    program = _Program(table.allowed, table, targets)
    size = len(program.blocks)
    one_each = sparse.hstack([program.one_each.A, sparse.csr_matrix((table.allowed.shape[0], 1))])
    rows, ones = program.shares, np.ones((len(targets.names), 1))
    goal = 1 - (table.fixed / targets.values).numpy()
    found = milp(
        np.append(np.zeros(size), 1.0),  # the last variable is the largest miss
        integrality=np.append(np.ones(size), 0),
        bounds=Bounds(0, np.append(np.ones(size), np.inf)),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(np.hstack([rows, -ones]), -np.inf, goal),
            LinearConstraint(np.hstack([rows, ones]), goal, np.inf),
        ],
        options={"mip_rel_gap": 1e-3, "node_limit": _MOST_NODES_OF_NEAREST},
    )
    if found.x is None:
        raise RuntimeError(f"HiGHS gave no choice: {found.message}")
    return program.choice(found.x[:size])


class _Program:
    """Variables of the 0/1 program: one for each (block, operation) that may be taken; costs are shares of targets."""

    def __init__(self, allowed: Tensor, table: CostTable, targets: Targets) -> None:
        self.allowed, self.table, self.targets = allowed, table, targets
        self.blocks, self.operations = (part.numpy() for part in allowed.nonzero(as_tuple=True))
        count = len(self.blocks)
        ones = sparse.csr_matrix((np.ones(count), (self.blocks, np.arange(count))), (allowed.shape[0], count))
        self.one_each = LinearConstraint(ones, 1, 1)
        self.shares = np.stack([self.of(part) for part in table.table / targets.values[:, None, None]])

    def of(self, values: Tensor) -> np.ndarray:
        """Values (L, O) of the variables, in their order."""
        return values[self.allowed].numpy()

    def of_choice(self, choice: Tensor) -> np.ndarray:
        return self.of(torch.nn.functional.one_hot(choice, self.allowed.shape[1]).double())

    def choice(self, values: np.ndarray) -> Tensor:
        grid = torch.zeros(self.allowed.shape, dtype=torch.float64)
        grid[self.allowed] = torch.from_numpy(values)
        return grid.argmax(1)

    def band(self, low: Tensor, high: Tensor) -> LinearConstraint:
        values = self.targets.values
        return LinearConstraint(
            self.shares, ((low - self.table.fixed) / values).numpy(), ((high - self.table.fixed) / values).numpy()
        )
