"""From many cascades to the few to keep: the front of (error, cost), and the paper's thinning of it."""

import numpy as np

from src.errors import check_range


def front_indices(errors: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """The cascades that no other one dominates, as indices by increasing cost: each has a lower error than all before.

    `errors` and `costs` (B,) are both to be made small. Of equal cascades the first stays; one whose error or cost is
    not finite never does.
    """
    errors, costs = _paired(errors, costs)
    order = np.lexsort((errors, costs))  # stable, so that the first of equal ones comes first
    order = order[np.isfinite(errors[order]) & np.isfinite(costs[order])]
    before = np.minimum.accumulate(np.concatenate([[np.inf], errors[order]]))[:-1]
    return order[errors[order] < before]


def thin(errors: np.ndarray, costs: np.ndarray, step: float = 0.1) -> np.ndarray:
    """The cascades that the paper keeps of a validation front, as indices by increasing cost.

    They are scanned from the cheapest to the costliest, and one is kept only if its VALIDATION accuracy (100 - error,
    percent), rounded to a multiple of `step` points, is above the best so far (ENCAS: 0.1). `errors` (B,) in
    percent and `costs` (B,) are of validation; cascades at equal cost are scanned by increasing error. `step=0` rounds
    nothing. What is exactly between two multiples rounds to the even one. Raises `UserError` for a negative `step`.
    """
    check_range("step", step, low=0)
    errors, costs = _paired(errors, costs)
    accuracies = 100 - errors
    if step:
        # An accuracy such as 93.25 reads as 932.4999... steps: what float arithmetic blurs is mended before rounding.
        accuracies = np.round(np.round(accuracies / step, 6))
    order = np.lexsort((errors, costs))
    order = order[np.isfinite(errors[order]) & np.isfinite(costs[order])]
    before = np.maximum.accumulate(np.concatenate([[-np.inf], accuracies[order]]))[:-1]
    return order[accuracies[order] > before]


def _paired(errors: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    errors, costs = (np.asarray(values, dtype=np.float64) for values in (errors, costs))
    if errors.ndim != 1 or errors.shape != costs.shape:
        raise ValueError(f"errors {errors.shape} and costs {costs.shape} must be two arrays (B,)")
    return errors, costs
