"""Rank curves of width variables and their rank average slope (CONet, arXiv 2108.06822, Algorithm 2)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.errors import UserError

SLOPE_EPS = 1e-4


def average_votes(votes: Tensor | Sequence[Tensor]) -> Tensor:
    """The curve (T,) of a width variable from the rank curves of its votes (votes, T); the average comes first.

    Also serves for the mapping conditions of one epoch, (votes,) -> (). NaN votes (failed factorisations) are left
    out; an epoch without any other vote is NaN. Raises `UserError` if there is no vote.
    """
    curves = torch.stack(list(votes)) if not isinstance(votes, Tensor) else votes
    if curves.ndim == 0 or len(curves) == 0:
        raise UserError("a width variable has no vote: it must be tied to the in or out side of at least one layer")
    return curves.nanmean(0)


def rank_average_slope(curve: Tensor, slope_eps: float = SLOPE_EPS) -> Tensor:
    """The secant from the first epoch to the first peak of each curve, (..., T) -> (...), per epoch, never negative.

    S = (R(t*) - R(0)) / (t* + slope_eps) with t* the first argmax, and 0 if t* = 0. Epochs that are NaN are left out:
    the secant then starts at the first measured one. A curve that was never measured has slope NaN.
    """
    if curve.ndim == 0 or curve.shape[-1] == 0:
        raise UserError(f"a rank curve of shape {tuple(curve.shape)} has no epoch; at least one must be measured")
    epochs = curve.shape[-1]
    measured = ~curve.isnan()
    comparable = curve.where(measured, -torch.inf)
    top = comparable.amax(-1, keepdim=True)
    # torch.argmax promises nothing about ties, so the first epoch is asked for explicitly.
    peak = _first(measured & (comparable == top), epochs)
    start = _first(measured, epochs)
    rise = top - curve.gather(-1, start)
    elapsed = (peak - start).to(curve.dtype)
    slope = (rise / (elapsed + slope_eps)).where(elapsed > 0, 0)
    return slope.where(measured.any(-1, keepdim=True), torch.nan)[..., 0]


def _first(mask: Tensor, epochs: int) -> Tensor:
    """Index of the first true entry of the last dimension, kept; the last index where none is true."""
    index = torch.arange(epochs, device=mask.device).expand(mask.shape)
    return index.where(mask, epochs - 1).amin(-1, keepdim=True)
