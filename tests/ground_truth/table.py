"""The trained ground truth: errors of all 256 widths of a small residual network on digits, and what is asked of it.

Truth is the mean test error (percent) over the three seeds. Tests and benchmarks only; how it was made says make.py.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from scipy.stats import kendalltau
from torch import Tensor

from src.evolution.grid import BinGrid

PATH = Path(__file__).with_name("digits_resnet_4x4.csv")
BINS = 4  # of each group: a bin is a quarter of the group's channels
CENTRES = (0.15, 0.25, 0.35, 0.5, 0.6)  # of the bands, in shares of the full MACs
HALF_WIDTH = 0.05  # of a band; with 0.02, as on tables of thousands of networks, a band would have but a handful


@dataclass(frozen=True)
class GroundTruth:
    """rows (N, G) bins, macs and params (N,), val and test (N, S) errors in percent of each seed."""

    rows: Tensor
    macs: Tensor
    params: Tensor
    val: Tensor
    test: Tensor

    @property
    def truth(self) -> Tensor:
        """Mean test error (N,) over the seeds."""
        return self.test.mean(1)

    @property
    def full(self) -> int:
        """MACs at full width."""
        return int(self.macs.max())

    def index(self, row: Sequence[int]) -> int:
        """The place of a row of bins, (4, 2, 1, 3) say; KeyError where the table does not have it."""
        found = (self.rows == torch.tensor(tuple(row))).all(1).nonzero()[:, 0].tolist()
        if not found:
            raise KeyError(f"{tuple(row)} is not in the table")
        return found[0]

    def places(self, rows: Tensor) -> Tensor:
        """The places (N,) of rows (N, G) of bins from 1 to 4, where the table is whole."""
        return ((rows - 1) * BINS ** torch.arange(rows.shape[1] - 1, -1, -1)).sum(1)

    def grid(self) -> BinGrid:
        """The table as the space of a search."""
        low = torch.ones(self.rows.shape[1], dtype=torch.int64)
        return BinGrid(low, low * BINS, lambda rows: self.macs[self.places(rows)])

    def budget(self, share: float) -> int:
        """Whole MACs of a share of the full ones."""
        return int(share * self.full)

    def optimum(self, budget: int) -> float:
        """The lowest truth among the networks of at most `budget` MACs."""
        return float(self.truth[self.macs <= budget].min())

    def regret(self, row: Sequence[int], budget: int) -> float:
        """How many points of error a row is above the optimum under `budget` MACs; ValueError where it costs more."""
        place = self.index(row)
        if self.macs[place] > budget:
            raise ValueError(f"{tuple(row)} has {int(self.macs[place]):,} MACs, above the budget of {budget:,}")
        return float(self.truth[place]) - self.optimum(budget)

    def band(self, centre: float, half_width: float = HALF_WIDTH) -> Tensor:
        """Which networks (N,) have MACs within `half_width` of `centre`, both in shares of the full ones."""
        return (self.macs / self.full - centre).abs() <= half_width

    def banded_kendall_tau(
        self, scores: Tensor, half_width: float = HALF_WIDTH, truth: Tensor | None = None
    ) -> dict[float, float]:
        """Kendall's tau-b of scores (N,), smaller the better, with the truth, in each band of MACs: centre -> tau."""
        truth = self.truth if truth is None else truth
        bands = {centre: self.band(centre, half_width) for centre in CENTRES}
        return {centre: kendall_tau(scores[band], truth[band]) for centre, band in bands.items()}

    def noise_ceiling(self, half_width: float = HALF_WIDTH) -> tuple[float, dict[float, float]]:
        """Tau over all networks and in bands of one seed's test errors with the mean of the others', averaged."""
        whole, banded = [], []
        for seed in range(self.test.shape[1]):
            others = torch.cat([self.test[:, :seed], self.test[:, seed + 1 :]], 1).mean(1)
            whole.append(kendall_tau(self.test[:, seed], others))
            banded.append(self.banded_kendall_tau(self.test[:, seed], half_width, others))
        return sum(whole) / len(whole), {key: sum(tau[key] for tau in banded) / len(banded) for key in CENTRES}

    def macs_alone(self, half_width: float = HALF_WIDTH) -> tuple[float, dict[float, float]]:
        """Tau over all networks and in bands of the MACs (more is better) with the truth."""
        scores = -self.macs.double()
        return kendall_tau(scores, self.truth), self.banded_kendall_tau(scores, half_width)


def kendall_tau(scores: Tensor, truth: Tensor) -> float:
    """Kendall's tau-b; NaN where all scores are equal, or where there are fewer than two."""
    return math.nan if len(scores) < 2 else float(kendalltau(scores.numpy(), truth.numpy()).statistic)


@cache
def ground_truth(path: Path = PATH) -> GroundTruth:
    """The table, its rows in ascending order; ValueError where a training is missing."""
    with path.open() as file:
        lines = list(csv.DictReader(line for line in file if not line.startswith("#")))
    groups = [name for name in lines[0] if name.startswith("bins")]
    seeds = sorted({int(line["seed"]) for line in lines})
    runs = {(tuple(int(line[name]) for name in groups), int(line["seed"])): line for line in lines}
    rows = sorted({row for row, _ in runs})
    if len(runs) != BINS ** len(groups) * len(seeds):
        raise ValueError(f"{path.name} has {len(runs)} trainings, not {BINS ** len(groups) * len(seeds)}")

    def column(name: str, kind: torch.dtype) -> Tensor:
        return torch.tensor([[float(runs[row, seed][name]) for seed in seeds] for row in rows]).to(kind)

    return GroundTruth(
        torch.tensor(rows),
        column("macs", torch.int64)[:, 0],
        column("params", torch.int64)[:, 0],
        column("val_error", torch.float64),
        column("test_error", torch.float64),
    )
