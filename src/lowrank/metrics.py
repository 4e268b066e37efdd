"""Rank, knowledge gain and mapping condition of each layer's unfoldings (CONet, arXiv 2108.06822, Algorithm 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from src.errors import check_choice
from src.lowrank.evbmf import SOLVERS, Factorisation, factorise, rank_ceiling
from src.lowrank.unfolding import SIDES, Spectra, spectra

NORMALISATIONS = ("rows", "ceiling")


@dataclass(frozen=True)
class RankMetrics:
    """What EVBMF says of one unfolding; where `failed`, the rank count is -1 and the other numbers are NaN."""

    rank: float  # share of significant directions
    rank_count: int  # number of significant directions
    gain: float  # knowledge gain: sum of the shrunken singular values over rows * largest; 0 at rank 0
    condition: float  # mapping condition: largest over smallest shrunken singular value; 0 at rank 0
    failed: bool


def measure(
    weights: Mapping[str, Tensor], solver: str = "exact", normalise: str = "rows", sides: Sequence[str] = SIDES
) -> dict[tuple[str, str], RankMetrics]:
    """The metrics of every (layer name, side) of `weights`, each (O, I) or (O, I, *kernel), all layers at once.

    `normalise="rows"` divides the rank by the rows of the unfolding, as published: a square 1x1 convolution then has
    at most 0.5, a 3x3 one 0.9. `normalise="ceiling"` divides by the largest rank possible, so that one threshold
    serves all kernel sizes. The knowledge gain is divided by the rows in either case.
    Raises `UserError` for an unknown solver or normalisation, and for NaN or infinite weights (names the layer).
    """
    check_choice("normalise", normalise, NORMALISATIONS)
    check_choice("solver", solver, SOLVERS)
    if not weights:
        return {}
    found = spectra(weights, sides)
    return rank_metrics(found, factorise(found.values, found.rows, found.columns, solver), normalise)


def rank_metrics(found: Spectra, factors: Factorisation, normalise: str = "rows") -> dict[tuple[str, str], RankMetrics]:
    """`RankMetrics` of each entry of `found`, given its factorisation."""
    check_choice("normalise", normalise, NORMALISATIONS)
    d, count = factors.singular_values, factors.rank
    some = count > 0
    first, last = d[:, 0], d.gather(1, (count - 1).clamp_min(0)[:, None])[:, 0]
    gain = (d.sum(1) / (first * found.rows)).where(some, 0)
    condition = (first / last).where(some, 0)
    whole = found.rows if normalise == "rows" else rank_ceiling(found.rows, found.columns)
    rank = (count.double() / whole).where(some, 0)
    rank, gain, condition = (numbers.where(~factors.failed, torch.nan) for numbers in (rank, gain, condition))
    columns = (numbers.tolist() for numbers in (rank, count, gain, condition, factors.failed))
    return {key: RankMetrics(*entry) for key, entry in zip(found.keys, zip(*columns, strict=True), strict=True)}


def failed_keys(metrics: Mapping[tuple[str, str], RankMetrics]) -> list[tuple[str, str]]:
    """The (layer name, side) pairs whose factorisation failed, for the report: a failure must never pass silently."""
    return [key for key, entry in metrics.items() if entry.failed]
