"""Super-nets judged by the ground truth: which ones, what is asked of their scores, and the file that keeps them.

`supernets.csv` beside this file has a line for each variant and seed; `tests/benchmarks/ground_truth.py` makes it. The
scores of all 256 rows stand in it (as images of the validation part that are classified wrongly), so that the figures
can be computed again in seconds; only what was measured in training and evaluation itself cannot.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.evolution.evolution import Evolution
from src.evolution.grid import Band
from src.evolution.random_search import RandomSearch
from src.evolution.searcher import Searcher
from src.runtime.seeds import keyed_seed
from tests.ground_truth.table import CENTRES, GroundTruth, kendall_tau

PATH = Path(__file__).with_name("supernets.csv")
SHARES = (0.25, 0.5, 0.75)  # budgets, of the full MACs
EVALUATIONS = 60  # of a search
VALIDATION_IMAGES = 674

QUARTERS = {"bin_rule": "uniform", "bins_per_group": 4}
CHANNELS = {"bin_rule": "uniform", "bins_per_group": 16}  # a bin for each channel: 8, 8, 16 and 16 of them
BY_COST = {"bin_rule": "share", "total_bins": 20}  # 8, 4, 4 and 4 bins: the stem, whose channels cost most, has more


@dataclass(frozen=True)
class Variant:
    """How a super-net shares: arguments of `FlopsBinSampling`, and of `BinSpace`. All quarters lie on its borders."""

    about: str
    offset_r: int
    k_train: int = 2
    space: Mapping[str, Any] = field(default_factory=lambda: QUARTERS)
    zone_unit: str = "bin"


VARIANTS = {
    "r0": Variant("r=0, quarters", 0, 1),  # the slimmable or AutoSlim pattern
    "r1": Variant("r=1, K=2, quarters", 1),
    "r0-channels": Variant("r=0, single channels", 0, 1, CHANNELS),
    "r1-channels": Variant("r=1, K=2, single channels", 1, 2, CHANNELS),
    "r0-cost": Variant("r=0, FLOPs-sensitive bins", 0, 1, BY_COST),
    "r1-cost": Variant("r=1, K=2, FLOPs-sensitive bins", 1, 2, BY_COST),
    "r2": Variant("r=2, K=2, quarters", 2),
    "r1-k1": Variant("r=1, K=1, quarters", 1, 1),  # free channels, but no choice of the best
    "r1-near": Variant("r=1 in channels, K=2, quarters", 1, zone_unit="channel"),
    "r1-k4": Variant("r=1, K=4, quarters", 1, 4),
}

# what one training gives beside the scores
MEASURED = {
    "seconds": "of training and scoring",
    "first_tau": "mean banded tau with K_eval=1",
    "mean_tau": "the same with the mean error of the candidates",
    "lowest_tau": "the same with their lowest error",
    "loss_tau": "mean banded tau of the loss on the calibration images in place of the validation error",
    "candidate_sd": "of the validation error between the candidates of a row, points, root mean square",
    "gap": "difference of the losses of two candidates of a width, its mean over batches; root mean square over widths",
    "noise": "standard deviation of that difference over batches of 64, root mean square over widths",
    "agreement": "probability that two batches choose the same of two candidates; 0.5: by chance",
    "width_sd": "of the loss between widths",
    "evenness": "entropy of the index sets that won, by its largest, over the whole training",
}


@dataclass(frozen=True)
class Line:
    """One super-net: `wrong` (256,) validation images of the rows of the table, in its order."""

    variant: str
    seed: int
    epochs: int
    wrong: Tensor
    measured: dict[str, float]

    @property
    def errors(self) -> Tensor:
        """(256,) float64, in percent."""
        return 100 * self.wrong.to(torch.float64) / VALIDATION_IMAGES


def mean_banded(table: GroundTruth, scores: Tensor, truth: Tensor | None = None) -> float:
    """Mean over the bands of Kendall's tau."""
    return sum(table.banded_kendall_tau(scores, truth=truth).values()) / len(CENTRES)


def picked(table: GroundTruth, scores: Tensor, places: Tensor) -> int:
    """Of `places` the one with the lowest score, of equal ones that with the fewest MACs, as a search reports it."""
    return min(places.tolist(), key=lambda place: (float(scores[place]), int(table.macs[place])))


def exhaustive(table: GroundTruth, scores: Tensor, budget: int) -> float:
    """Regret of the row with the lowest score under a budget."""
    return _regret(table, picked(table, scores, (table.macs <= budget).nonzero()[:, 0]), budget)


def searched(table: GroundTruth, scores: Tensor, budget: int, searcher: Searcher) -> float:
    """Regret of the best row that `searcher` has asked for."""
    while not searcher.done:
        rows = searcher.ask()
        places = table.places(torch.tensor(rows))
        searcher.tell({row: (float(scores[place]),) for row, place in zip(rows, places.tolist(), strict=True)})
    return _regret(table, picked(table, scores, table.places(torch.tensor(searcher.proposed))), budget)


def _regret(table: GroundTruth, place: int, budget: int) -> float:
    return table.regret(table.rows[place].tolist(), budget)


def figures(table: GroundTruth, errors: Tensor, seed: int) -> dict[str, float]:
    """tau over all rows and in bands, and regrets in points of test error, of super-net errors (256,)."""
    found = {"tau": kendall_tau(errors, table.truth), "banded": mean_banded(table, errors)}
    found |= {f"tau_{100 * c:.0f}": tau for c, tau in table.banded_kendall_tau(errors).items()}
    for share in SHARES:
        budget, key = table.budget(share), f"{100 * share:.0f}"
        band, number = Band(0, budget), keyed_seed(seed, "width search")
        make = partial(Evolution, table.grid(), number, band, evaluations=EVALUATIONS)
        found[f"best_{key}"] = exhaustive(table, errors, budget)
        found[f"evolution_{key}"] = searched(table, errors, budget, make())
        random = RandomSearch(table.grid(), number, band, evaluations=EVALUATIONS)
        found[f"random_{key}"] = searched(table, errors, budget, random)
    return found


def columns() -> list[str]:
    regrets = [f"{kind}_{100 * share:.0f}" for share in SHARES for kind in ("best", "evolution", "random")]
    taus = ["tau", "banded", *(f"tau_{100 * centre:.0f}" for centre in CENTRES)]
    return ["variant", "seed", "epochs", *taus, *regrets, *MEASURED, "wrong"]


def as_text(line: Line, table: GroundTruth) -> str:
    """A line of the file."""
    numbers = figures(table, line.errors, line.seed) | line.measured
    wrong = " ".join(map(str, line.wrong.tolist()))
    cells = [f"{numbers[name]:.4f}" for name in columns()[3:-1]]
    return ",".join([line.variant, str(line.seed), str(line.epochs), *cells, wrong]) + "\n"


def read(path: Path = PATH) -> list[tuple[Line, dict[str, float]]]:
    """The lines of a file, each with the figures as they stand in it; a line that was cut off is left out."""
    with path.open() as file:
        rows = list(csv.DictReader(line for line in file if line.endswith("\n") and not line.startswith("#")))
    found = []
    for row in rows:
        numbers = {name: float(row[name]) for name in columns()[3:-1]}
        wrong = torch.tensor(list(map(int, row["wrong"].split())))
        measured = {name: numbers[name] for name in MEASURED}
        found.append((Line(row["variant"], int(row["seed"]), int(row["epochs"]), wrong, measured), numbers))
    return found


def mean_and_sd(values: Tensor) -> tuple[float, float]:
    """Mean and standard deviation over seeds; the latter is NaN for one seed."""
    return float(values.mean()), float(values.std()) if len(values) > 1 else math.nan
