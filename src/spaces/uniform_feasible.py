"""Choices drawn uniformly from all that meet their targets, exactly, however rare these are.

Of the F macro of HourNAS about one choice in a thousand meets its targets within 5 %, and of other targets far fewer.
So choices are drawn from an exponentially tilted product over the blocks, and accepted so that the tilt is undone:

    p(a) ~ exp(-lambda . R(a)),    a in the band is kept with probability exp(lambda . R(a) - max_band lambda . R)

A share of N_band / exp(log Z(lambda) + max_band lambda . R) is kept. The exponent is convex in lambda, and the lambda
that makes it least is the one used (zero where the mean of the uniform distribution already lies in the band).
Rejection from a tilted distribution is textbook; that it serves here is our own choice, as a control of the search.
"""

import math

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from src.errors import UserError
from src.spaces.cost_table import CostTable
from src.spaces.feasible import check_feasible, count_log10
from src.spaces.targets import Targets

ENUMERATED = 2_000_000  # spaces of up to so many choices are listed
_BATCH = 1 << 16
_MOST_DRAWS = 1 << 26
_STEEPEST = 1e4  # of lambda, in units of a target: beyond, nothing but the cheapest or dearest operations is drawn


def uniform_feasible(table: CostTable, targets: Targets, count: int, generator: torch.Generator) -> Tensor:
    """`count` independent choices (count, L) int64, each uniform over all that meet all targets.

    Raises:
        UserError: no choice meets the targets, or so few of a large space that they are not found by drawing.
    """
    table = table.only(targets.names)
    if count_log10(table) <= math.log10(ENUMERATED):
        members = all_feasible(table, targets)
        if not len(members):
            check_feasible(table, targets)
        return members[torch.randint(len(members), (count,), generator=generator)]
    check_feasible(table, targets)
    low, high = _clipped(table, targets)
    tilt = best_tilt(table, low, high)
    logits = -torch.einsum("k,klo->lo", tilt, table.table)
    probabilities = logits.masked_fill(~table.allowed, -torch.inf).softmax(1)
    most = torch.maximum(tilt * low, tilt * high).sum()
    found, kept = [], 0
    for _ in range(_MOST_DRAWS // _BATCH):
        drawn = torch.multinomial(probabilities, _BATCH, replacement=True, generator=generator).T
        keys = torch.rand(_BATCH, generator=generator, dtype=torch.float64)
        costs = table.of(drawn)
        keep = targets.met(costs) & (keys.log() <= costs @ tilt - most)
        found.append(drawn[keep])
        kept += len(found[-1])
        if kept >= count:
            return torch.cat(found)[:count]
    raise UserError(
        f"method.tolerance={targets.tolerance:g} leaves so few architectures that {_MOST_DRAWS:,} draws found {kept:,} "
        f"of {count:,}; a larger tolerance leaves more"
    )


def uniform_within(table: CostTable, low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` independent choices (count, L), each uniform over all that have `low` to `high` MACs.

    Raises:
        UserError: there is none, or they are too few to be found; it names what the table reaches.
    """
    middle = torch.tensor([(low + high) / 2], dtype=torch.float64)
    band = Targets(("macs",), middle, (high - low) / (high + low))
    try:
        return uniform_feasible(table, band, count, generator)
    except UserError as error:  # it speaks of targets
        least, most = map(int, table.reachable()["macs"])
        raise UserError(
            f"no architecture was found with {low:,} to {high:,} MACs: there is none, or they are too few to be "
            f"met at random; the space reaches from {least:,} to {most:,} MACs"
        ) from error


def all_feasible(table: CostTable, targets: Targets) -> Tensor:
    """All choices (M, L) that meet all targets, in lexicographic order; for spaces that can be listed."""
    table = table.only(targets.names)
    costs = table.fixed[:, None]
    options = [row.nonzero()[:, 0] for row in table.allowed]
    for block, ids in enumerate(options):
        costs = (costs[:, :, None] + table.table[:, block, ids][:, None]).flatten(1)
    left = targets.met(costs.T).nonzero()[:, 0]
    choices = []
    for ids in reversed(options):
        choices.append(ids[left % len(ids)])
        left = left // len(ids)
    return torch.stack(choices[::-1], dim=1)


def best_tilt(table: CostTable, low: Tensor, high: Tensor) -> Tensor:
    """The lambda (K,) that keeps most of what is drawn, for costs from `low` to `high` (K,); one over a cost."""
    scale = high.abs().maximum(low.abs())
    shares = (table.table / scale[:, None, None]).numpy()
    blocked = np.where(table.allowed.numpy(), 0.0, -np.inf)
    ends = [((end - table.fixed) / scale).numpy() for end in (low, high)]
    costs = len(scale)

    def exponent(parts: np.ndarray) -> tuple[float, np.ndarray]:
        # lambda = up - down: max over the band of lambda . R is up . high - down . low where one of both is zero
        up, down = parts[:costs], parts[costs:]
        logits = -np.einsum("k,klo->lo", up - down, shares) + blocked
        largest = logits.max(1, keepdims=True)
        weights = np.exp(logits - largest)
        total = weights.sum(1, keepdims=True)
        mean = np.einsum("klo,lo->k", shares, weights / total)
        value = float((np.log(total) + largest).sum() + up @ ends[1] - down @ ends[0])
        return value, np.concatenate([ends[1] - mean, mean - ends[0]])

    found = minimize(exponent, np.zeros(2 * costs), jac=True, method="L-BFGS-B", bounds=[(0, _STEEPEST)] * (2 * costs))
    return torch.from_numpy(found.x[:costs] - found.x[costs:]) / scale


def _clipped(table: CostTable, targets: Targets) -> tuple[Tensor, Tensor]:
    """The bounds of the targets, as far as they can be reached."""
    low, high = targets.bounds()
    least, most = (torch.tensor(ends, dtype=torch.float64) for ends in zip(*table.reachable().values(), strict=True))
    return low.maximum(least), high.minimum(most)
