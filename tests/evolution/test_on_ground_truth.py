"""Searches with the trained table as a perfect evaluator (test 19 of the specification)."""

from functools import cache

import pytest
import torch

from src.evolution.evolution import Evolution
from src.evolution.grid import Band
from src.evolution.random_search import RandomSearch
from tests.evolution.spaces import run_out
from tests.ground_truth.table import ground_truth

TABLE = ground_truth()
TRUTH = {tuple(row): float(error) for row, error in zip(TABLE.rows.tolist(), TABLE.truth, strict=True)}
SEEDS = 20
CLOSE = 0.1  # points of error


@cache
def regrets(kind, share: float, evaluations: int) -> list[torch.Tensor]:
    """For each seed the regret after every evaluation."""
    band = Band(0, TABLE.budget(share))
    optimum = TABLE.optimum(band.most)
    runs = [
        run_out(kind(TABLE.grid(), seed, band, evaluations=evaluations), lambda row: (TRUTH[row],))
        for seed in range(SEEDS)
    ]
    return [torch.tensor([value for (value,) in run.values()]).cummin(0).values - optimum for run in runs]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_optimum_is_found_in_150_evaluations(share: float):
    """Under 25 % there are 65 rows, so that is a matter of course; under 50 and 75 % there are 184 and 243."""
    found = [bool(regret[-1] <= CLOSE) for regret in regrets(Evolution, share, 150)]
    assert sum(found) >= 19


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_it_beats_random_search_of_equal_size(share: float):
    """Mean regret over the seeds, at every size at which random rows have not come to the end of the table."""
    ours, random = (torch.stack(regrets(kind, share, 150)).mean(0) for kind in (Evolution, RandomSearch))
    sizes = [count for count in (40, 60, 100, 150) if count <= len(random) and random[count - 1] > 0]
    assert sizes
    assert all(ours[count - 1] < random[count - 1] for count in sizes)
