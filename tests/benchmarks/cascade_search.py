"""Searches for cascades on the real pool of CIFAR-10: MO-GOMEA, NSGA-II, random search and the greedy cascade.

    python -m tests.benchmarks.cascade_search                                  K=5, ten seeds, three budgets
    python -m tests.benchmarks.cascade_search slots=3 budgets=2000,20000       short cascades, against their exact front
    python -m tests.benchmarks.cascade_search shuffle=1 budgets=2000,20000     each seed with halves of its own
    python -m tests.benchmarks.cascade_search --show                           the tables again, from what is kept

Searched on test images 0 to 4,999 of CIFAR-10, reported on 5,000 to 9,999: every network of the pool has seen the
whole training set, so there is no cleaner part. Hypervolume is of the front found on the search part, with its values
there and on the other part; reference point 15 % error and the MACs of the dearest network, normalised to 1. With
shuffle=1 seed s halves the images at random, keyed by s: what one split favours by chance does not decide then.
"""

import csv
import itertools
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from moocore import hypervolume
from scipy.stats import wilcoxon

from src.cascades.evaluation import CascadeEvaluator
from src.cascades.exact import exact_front
from src.cascades.genotype import alphabet, canonical
from src.cascades.greedy import evaluate_gap_cascade, greedy_cascades
from src.evolution.budget import UniqueEvaluations
from src.evolution.mo_gomea import mo_gomea
from src.evolution.nsga2_rows import nsga2
from src.evolution.random_rows import random_rows
from src.evolution.variation import VARIED
from tests.cascades.pools import cifar10_pool, half_softmax, logit_gaps
from tests.cascades.test_evaluation import pool_of

SEARCHES = {
    "gomea": mo_gomea,  # as published
    "varied": partial(mo_gomea, variation=VARIED),  # with mutation and donors from the archive
    "nsga2": nsga2,
    "random": random_rows,
}
KEPT = Path(__file__).with_name("cascade_search.csv")
HALF = 5000


class Harness:
    """The two parts of the pool, with evaluators and the hypervolume of fronts."""

    def __init__(self, slots: int, split: int | None = None) -> None:
        self.slots, self.real = slots, cifar10_pool()
        whole = pool_of(half_softmax(self.real.logits), self.real.labels, self.real.macs)
        order = np.arange(2 * HALF) if split is None else np.random.default_rng(split).permutation(2 * HALF)
        self.parts = [order[:HALF], order[HALF:]]
        self.search, self.report = (CascadeEvaluator(whole.part(part), slots) for part in self.parts)
        self.reference = np.array([15.0, self.real.macs.max()])

    def volume(self, objectives: np.ndarray) -> float:
        return float(hypervolume(objectives, ref=self.reference) / self.reference.prod())

    def run(self, name: str, budget: int, seed: int) -> dict:
        """One search: hypervolumes on both parts, seconds and what it evaluated."""
        began = time.perf_counter()
        evaluations = UniqueEvaluations(self.search.objectives, budget, canonical)
        SEARCHES[name](evaluations, alphabet(len(self.search.pool), self.slots, len(self.search.grid)), seed)
        seconds, front = time.perf_counter() - began, evaluations.archive
        return {
            "slots": self.slots,
            "search": name,
            "budget": budget,
            "seed": seed,
            "evaluations": evaluations.used,
            "validation": self.volume(front.objectives),
            "test": self.volume(self.report.objectives(front.rows)),
            "seconds": round(seconds, 2),
        }

    def greedy(self) -> tuple[float, float, int, float]:
        """Hypervolumes of the greedy cascades on both parts, how many lie on the front, and seconds."""
        right = half_softmax(self.real.logits).argmax(2) == self.real.labels
        gaps, began = logit_gaps(self.real.logits), time.perf_counter()
        parts = [(right[:, part], gaps[:, part], self.real.macs) for part in self.parts]
        cascades = greedy_cascades(*parts[0])
        seconds = time.perf_counter() - began
        values = [np.array([evaluate_gap_cascade(c.plan, *part)[:2] for c in cascades]) for part in parts]
        return self.volume(values[0]), self.volume(values[1]), len(cascades), seconds

    def exact(self) -> tuple[float, float]:
        """Hypervolumes of the exact front on both parts."""
        rows, _, _ = exact_front(self.search.tables, self.search.pool.costs("macs"), self.slots)
        return self.volume(self.search.objectives(rows)), self.volume(self.report.objectives(rows))


def kept() -> list[dict]:
    if not KEPT.is_file():
        return []
    with open(KEPT, newline="") as file:
        kinds = {"search": str, "validation": float, "test": float, "seconds": float}
        return [{key: kinds.get(key, int)(value) for key, value in row.items()} for row in csv.DictReader(file)]


def measure(slots: int, shuffle: int, budgets: list[int], seeds: list[int], searches: list[str]) -> None:
    """Adds the runs that are not kept yet."""
    done = kept()
    have = {(row["slots"], row["shuffle"], row["search"], row["budget"], row["seed"]) for row in done}
    harness = None if shuffle else Harness(slots)
    for seed in seeds:
        lacking = [(name, budget) for budget in budgets for name in searches]
        lacking = [run for run in lacking if (slots, shuffle, *run, seed) not in have]
        harness = Harness(slots, seed) if shuffle and lacking else harness
        for name, budget in lacking:
            done.append({"shuffle": shuffle, **harness.run(name, budget, seed)})
            with open(KEPT, "w", newline="") as file:
                writer = csv.DictWriter(file, list(done[-1]))
                writer.writeheader()
                writer.writerows(done)


def show(slots: int, shuffle: int) -> None:
    """The tables of what is kept."""
    rows, exact = [row for row in kept() if (row["slots"], row["shuffle"]) == (slots, shuffle)], None
    print(f"K={slots}; hypervolume on the search and on the report part" + ("; halves by seed" if shuffle else ""))
    if not shuffle:
        harness = Harness(slots)
        singles = np.zeros((len(harness.search.pool), 2 * slots - 1), dtype=np.int64)
        singles[:, 0] = 1 + np.arange(len(singles))
        alone = (harness.volume(part.objectives(singles)) for part in (harness.search, harness.report))
        print("single networks   {:.5f}            {:.5f}".format(*alone))
        print(
            "greedy cascades   {:.5f}            {:.5f}            ({} on the front, {:.2f} s)".format(
                *harness.greedy()
            )
        )
        exact = harness.exact() if slots <= 3 else None
        if exact:
            print("exact front       {:.5f}            {:.5f}".format(*exact))
    for budget in sorted({row["budget"] for row in rows}):
        values = {name: _values(rows, name, budget) for name in SEARCHES}
        for name, (both, seconds) in values.items():
            if not len(both):
                continue
            means, spread = both.mean(0), both.std(0, ddof=1)
            told = "  ".join(f"{mean:.5f} ± {sd:.5f}" for mean, sd in zip(means, spread, strict=True))
            gap = f"  gap {100 * (1 - means[0] / exact[0]):.3f} %" if exact else ""
            print(f"{budget:7,} {name:8}  {told}  {seconds:.1f} s{gap}")
        for one, other in itertools.product(("gomea", "varied"), ("random", "nsga2")):
            _compare(values[one][0], values[other][0], f"{one} > {other}")


def _values(rows: list[dict], name: str, budget: int) -> tuple[np.ndarray, float]:
    """Hypervolumes on both parts, (seeds, 2), by seed, and the mean of seconds."""
    runs = sorted((r for r in rows if r["search"] == name and r["budget"] == budget), key=lambda run: run["seed"])
    both = np.array([[run["validation"], run["test"]] for run in runs]).reshape(-1, 2)
    return both, float(np.mean([run["seconds"] for run in runs] or [0]))


def _compare(ones: np.ndarray, others: np.ndarray, name: str) -> None:
    """One-sided Wilcoxon tests, paired by seed, that the first has more."""
    if len(ones) == len(others) > 1:
        tests = [wilcoxon(ones[:, part], others[:, part], alternative="greater").pvalue for part in (0, 1)]
        wins = (ones > others).sum(0)
        told = [f"p = {p:.4f}, {win} of {len(ones)}" for p, win in zip(tests, wins, strict=True)]
        print(f"        {name}: {told[0]}; on the report part {told[1]}")


def main() -> None:
    options = {"slots": "5", "shuffle": "0", "budgets": "2000,20000,600000", "seeds": "0,1,2,3,4,5,6,7,8,9"}
    options |= {"searches": ",".join(SEARCHES)} | dict(part.split("=") for part in sys.argv[1:] if "=" in part)
    slots, shuffle = int(options["slots"]), int(options["shuffle"])
    if "--show" not in sys.argv:
        budgets, seeds = ([int(value) for value in options[name].split(",")] for name in ("budgets", "seeds"))
        measure(slots, shuffle, budgets, seeds, options["searches"].split(","))
    show(slots, shuffle)


if __name__ == "__main__":
    try:
        main()
    except pytest.skip.Exception as absent:
        sys.exit(str(absent))
