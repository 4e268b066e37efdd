"""Seconds per 100,000 unique evaluations of the searches over rows, and how much of that is not `evaluate`.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.row_searchers [--budget 600000] [--nsga2-budget 60000]

The rows are those of cascades of 18 members in 5 slots (5 genes of 19 values, 4 of 51); the two objectives are made up
and cheap. NSGA-II has a budget of its own, because pymoo is slow.
"""

import argparse
import time

import numpy as np

from src.evolution.budget import UniqueEvaluations
from src.evolution.mo_gomea import mo_gomea
from src.evolution.nsga2_rows import nsga2
from src.evolution.random_rows import random_rows
from src.evolution.variation import VARIED

ALPHABET = [19] * 5 + [51] * 4
GENERATOR = np.random.default_rng(0)
WORTH, COST = GENERATOR.random((2, len(ALPHABET), max(ALPHABET)))
TOGETHER = GENERATOR.random((max(ALPHABET), max(ALPHABET)))
GENES = np.arange(len(ALPHABET))


class Timed:
    """Two smooth sums over genes, one with a term for neighbouring pairs; keeps the time that it took."""

    def __init__(self) -> None:
        self.seconds, self.calls = 0.0, 0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        began = time.perf_counter()
        pairs = TOGETHER[rows[:, :-1], rows[:, 1:]].sum(1)
        values = np.stack([WORTH[GENES, rows].sum(1) + pairs, COST[GENES, rows].sum(1)], axis=1)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        return values


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", type=int, default=600_000)
    parser.add_argument("--nsga2-budget", type=int, default=60_000)
    options = parser.parse_args()
    searches = {
        "random": (random_rows, options.budget, {}),
        "MO-GOMEA": (mo_gomea, options.budget, {}),
        "MO-GOMEA, varied": (mo_gomea, options.budget, {"variation": VARIED}),
        "NSGA-II": (nsga2, options.nsga2_budget, {}),
    }
    print(f"{'search':18s} {'rows':>8s} {'s / 100,000':>12s} {'not evaluate':>13s} {'batches':>8s} {'front':>6s}")
    for name, (search, budget, arguments) in searches.items():
        evaluate = Timed()
        evaluations = UniqueEvaluations(evaluate, budget)
        began = time.perf_counter()
        search(evaluations, ALPHABET, 0, **arguments)
        seconds = time.perf_counter() - began
        share, each = 1 - evaluate.seconds / seconds, 1e5 * seconds / evaluations.used
        front = len(evaluations.archive)
        print(f"{name:18s} {evaluations.used:8,} {each:12.2f} {share:13.0%} {evaluate.calls:8,} {front:6,}", flush=True)


if __name__ == "__main__":
    main()
