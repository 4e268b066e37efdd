"""Empirical variational Bayes matrix factorisation (EVBMF) of many matrices, from their singular values alone.

The analytic global solution of Nakajima et al. (NIPS 2012, JMLR 2013) as CONet (arXiv 2108.06822) uses it: the unknown
noise variance v minimises a free energy in one scalar; singular values above a threshold that follows from v are kept
and shrunken, the others are noise. A random matrix has rank 0: that is the correct answer, not a failure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from src.errors import UserError, check_choice
from src.lowrank.evbmf_reference import reference_noise_variance
from src.lowrank.noise_search import ScaledSpectra, noise_variance, tau_of, threshold_ratio

SOLVERS = ("exact", "reference")


@dataclass(frozen=True)
class Factorisation:
    """EVBMF of B matrices; where `failed`, the rank is -1 and the numbers are NaN (only the reference solver fails)."""

    rank: Tensor  # (B,) int64
    singular_values: Tensor  # (B, H) float64, shrunken, descending, zero from the rank on
    noise_variance: Tensor  # (B,) float64, in the units of the squared weights
    threshold: Tensor  # (B,) float64: singular values above it are kept
    failed: Tensor  # (B,) bool

    @property
    def failures(self) -> int:
        return int(self.failed.sum())


def rank_ceiling(rows: Tensor, columns: Tensor) -> Tensor:
    """The largest rank that the theory allows, ceil(L*M / (L+M)) - 1, int64."""
    return (rows * columns + rows + columns - 1) // (rows + columns) - 1


def factorise(values: Tensor, rows: Tensor, columns: Tensor, solver: str = "exact") -> Factorisation:
    """EVBMF of matrices with singular values `values` (B, H), descending, zero after min(rows, columns).

    `solver="exact"` finds the global minimum of the free energy on the short side, free of scale: the result does not
    change when a matrix is scaled, transposed or rotated. `solver="reference"` repeats the published code (bounded
    Brent with an absolute tolerance, no transposition) and marks what that solver cannot do as `failed`.
    Singular values below the precision of a float64 Gram matrix are raised to it, so that a matrix of exactly low rank
    has a noise floor. A zero matrix has rank 0. Raises `UserError` on NaN or infinite values or an unknown solver.
    """
    check_choice("solver", solver, SOLVERS)
    if not bool(values.isfinite().all()):
        raise UserError("the singular values hold NaN or infinity: the training has diverged")
    values = values.to(torch.float64)
    true = torch.arange(values.shape[1], device=values.device) < torch.minimum(rows, columns)[:, None]
    largest = values.amax(1)
    zero = largest == 0
    powers = _relative_powers(values, rows, columns, true)
    # v and thresholds are relative to the largest singular value until the very end: no scale can under- or overflow.
    if solver == "exact":
        v, failed = _exact_noise(powers, rows, columns), torch.zeros_like(zero)
    else:
        v, failed = reference_noise_variance(powers, largest, rows, columns)
        failed = failed & ~zero
    short, long = torch.minimum(rows, columns).double(), torch.maximum(rows, columns).double()
    alpha = (short / long)[:, None]
    x = powers / (long * v)[:, None]
    kept = true & (x > threshold_ratio(alpha)) & ~zero[:, None]
    x = x.where(kept, 2 * threshold_ratio(alpha))
    # d = s*tau/x is the closed form of the paper with the roots written out.
    shrunken = (values * tau_of(x, alpha) / x).where(kept, 0)
    v = v.where(~zero, 0)  # the reference solver has no number for a zero matrix
    threshold = (long * v * threshold_ratio(alpha)[:, 0]).sqrt() * largest
    return Factorisation(
        rank=kept.sum(1).where(~failed, -1),
        singular_values=shrunken.where(~failed[:, None], torch.nan),
        noise_variance=(v * largest * largest).where(~failed, torch.nan),
        threshold=threshold.where(~failed, torch.nan),
        failed=failed,
    )


def _relative_powers(values: Tensor, rows: Tensor, columns: Tensor, true: Tensor) -> Tensor:
    """(s_i / s_1)^2, floored at the precision of a float64 Gram matrix; a zero matrix is given a flat spectrum."""
    largest = values.amax(1, keepdim=True)
    powers = (values / largest.where(largest > 0, 1)).square()
    floor = torch.finfo(torch.float64).eps * torch.maximum(rows, columns).double()[:, None]
    return powers.maximum(floor.where(largest > 0, 1)).where(true, 0)


def _exact_noise(powers: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The globally best noise variance (B,) in units of s_1^2, matrices of similar short side at a time."""
    short, long = torch.minimum(rows, columns), torch.maximum(rows, columns)
    upper = powers.sum(1) / (short * long)
    v = torch.empty_like(upper)
    for members in _similar_sizes(short.tolist()):
        index = torch.tensor(members, device=powers.device)
        count = short[index]
        c = (powers[index, : int(count.max())] / (long[index] * upper[index])[:, None]).contiguous()
        scaled = ScaledSpectra(c, (count.double() / long[index])[:, None], count[:, None])
        lower = _lower_bound(scaled, rank_ceiling(rows[index], columns[index]))
        v[index] = noise_variance(scaled, lower) * upper[index]
    return v


def _lower_bound(scaled: ScaledSpectra, ceiling: Tensor) -> Tensor:
    """The smallest possible noise variance (B,) in units of the largest: at least L - Hbar values are noise."""
    c, alpha, count = scaled.c, scaled.alpha, scaled.count
    ceiling = ceiling[:, None]
    edge = c.gather(1, ceiling) / threshold_ratio(alpha)
    beyond = torch.arange(c.shape[1], device=c.device) >= ceiling
    mean = (c * beyond).sum(1, keepdim=True) / (count - ceiling)
    return edge.maximum(mean).clamp_max(1)[:, 0]


def _similar_sizes(sizes: Sequence[int]) -> list[list[int]]:
    """Indices of `sizes`, grouped so that padding at most doubles a member."""
    groups: dict[int, list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(max(size - 1, 0).bit_length(), []).append(index)
    return [groups[key] for key in sorted(groups)]
