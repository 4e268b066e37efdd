"""Seconds per 100,000 unique evaluations of the searches over rows, and how much of that is not `evaluate`.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.row_searchers [--budget 600000] [--nsga2-budget 60000]
    OMP_NUM_THREADS=1 python -m tests.benchmarks.row_searchers --members 3 --slots 3 --nsga2-budget 600000

The rows are those of cascades, canonical ones; the two objectives are made up and cheap. NSGA-II has a budget of its
own, because pymoo is slow. Of few members in few slots there are fewer rows than the budget has room for: then the
table tells how many rows a search asked for until it took the space for exhausted.
"""

import argparse
import time

import numpy as np

from src.cascades.exact import count_cascades
from src.cascades.genotype import alphabet, canonical
from src.evolution.budget import UniqueEvaluations
from src.evolution.mo_gomea import mo_gomea
from src.evolution.nsga2_rows import nsga2
from src.evolution.random_rows import random_rows
from src.evolution.variation import VARIED

LEVELS = 51


class Timed:
    """Two smooth sums over genes, one with a term for neighbouring pairs; keeps the time that it took."""

    def __init__(self, genes: np.ndarray) -> None:
        generator, most = np.random.default_rng(0), int(genes.max())
        self.worth, self.cost = generator.random((2, len(genes), most))
        self.together = generator.random((most, most))
        self.places = np.arange(len(genes))
        self.seconds, self.calls = 0.0, 0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        began = time.perf_counter()
        pairs = self.together[rows[:, :-1], rows[:, 1:]].sum(1)
        values = np.stack([self.worth[self.places, rows].sum(1) + pairs, self.cost[self.places, rows].sum(1)], axis=1)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        return values


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", type=int, default=600_000)
    parser.add_argument("--nsga2-budget", type=int, default=60_000)
    parser.add_argument("--members", type=int, default=18)
    parser.add_argument("--slots", type=int, default=5)
    options = parser.parse_args()
    genes = alphabet(options.members, options.slots, LEVELS)
    count = count_cascades(options.members, options.slots, LEVELS) + 1  # one of no member
    searches = {
        "random": (random_rows, options.budget, {}),
        "MO-GOMEA": (mo_gomea, options.budget, {}),
        "MO-GOMEA, varied": (mo_gomea, options.budget, {"variation": VARIED}),
        "NSGA-II": (nsga2, options.nsga2_budget, {}),
    }
    print(f"there are {count:,} rows")
    print(f"{'search':18s} {'rows':>8s} {'asked':>10s} {'seconds':>8s} {'s / 100,000':>12s} ", end="")
    print(f"{'not evaluate':>13s} {'batches':>8s} {'front':>6s}")
    for name, (search, budget, arguments) in searches.items():
        evaluate = Timed(genes)
        evaluations = UniqueEvaluations(evaluate, min(budget, count), canonical)
        began = time.perf_counter()
        search(evaluations, genes, 0, **arguments)
        seconds = time.perf_counter() - began
        share, each = 1 - evaluate.seconds / seconds, 1e5 * seconds / evaluations.used
        print(f"{name:18s} {evaluations.used:8,} {evaluations.asked:10,} {seconds:8.1f} {each:12.2f} ", end="")
        print(f"{share:13.0%} {evaluate.calls:8,} {len(evaluations.archive):6,}", flush=True)


if __name__ == "__main__":
    main()
