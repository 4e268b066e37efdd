"""The noise variance as the published code of CONet finds it, for comparison with published numbers only.

Its known weaknesses are kept on purpose: the search stops at an absolute tolerance of 1e-5, so the rank depends on the
scale of the weights; matrices with more rows than columns are not transposed, so their lower bound can exceed the
upper one; a local minimum is not told from the global one. What the published code hides, this reports as failed.
"""

import math
import warnings

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from src.lowrank.noise_search import TAU_UNIT

_TOLERANCE = 1e-5  # absolute, in units of the squared weights: the default of the published code


def reference_noise_variance(powers: Tensor, largest: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Noise variances (B,) in units of `largest`^2, NaN where failed, and the failures (B,) bool.

    `powers` (B, H) are squared singular values in units of `largest`^2 (B,).
    """
    found = []
    for squares, top, row, column in zip(
        powers.cpu().numpy(), largest.tolist(), rows.tolist(), columns.tolist(), strict=True
    ):
        unit = top * top if top > 0 else 1.0
        v = _minimise(np.asarray(squares[: min(row, column)]) * unit, row, column)
        found.append(v / unit)
    v = torch.tensor(found, dtype=torch.float64, device=powers.device)
    return v, v.isnan()


def _minimise(squares: np.ndarray, rows: int, columns: int) -> float:
    """v* of one untransposed matrix with squared singular values `squares`, NaN where the search is impossible."""
    alpha = rows / columns
    tau = TAU_UNIT * math.sqrt(alpha)
    ratio = (1 + tau) * (1 + alpha / tau)
    ceiling = min(math.ceil(rows / (1 + alpha)) - 1, rows)
    upper = squares.sum() / (rows * columns)
    lower = max(squares[ceiling] / (columns * ratio), squares[ceiling:].mean() / columns)
    if not lower <= upper:
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an overflow ends in a NaN, which is reported below
        result = minimize_scalar(
            _free_energy,
            bounds=(lower, upper),
            args=(squares, rows, columns, ratio),
            method="bounded",
            options={"xatol": _TOLERANCE},
        )
    good = result.success and math.isfinite(result.fun) and result.x > 0
    return float(result.x) if good else math.nan


def _free_energy(v: float, squares: np.ndarray, rows: int, columns: int, ratio: float) -> float:
    alpha = rows / columns
    x = squares / (columns * v)
    noise, signal = x[x <= ratio], x[x > ratio]
    shifted = signal - (1 + alpha)
    tau = 0.5 * (shifted + np.sqrt(shifted * shifted - 4 * alpha))
    terms = signal - tau + np.log((tau + 1) / signal) + alpha * np.log(tau / alpha + 1)
    return float((noise - np.log(noise)).sum() + terms.sum() + (rows - len(squares)) * math.log(v))
