"""How fast cascades are evaluated, that this is exact, and how fast the exact front is known, on the pool of CIFAR-10.

python -m tests.benchmarks.cascade_evaluation            speed on one core, a minute
python -m tests.benchmarks.cascade_evaluation --four     the exact front of up to four networks too
python -m tests.benchmarks.cascade_evaluation --exact    10,000 random cascades a pool against a plain loop, minutes
"""

import sys
import time

import numpy as np
import pytest
import torch

from src.cascades.evaluation import CascadeEvaluator
from src.cascades.exact import count_cascades, exact_front
from tests.cascades.pools import cifar10_pool, half_softmax, small
from tests.cascades.test_evaluation import coarse, judged, pool_of, random_rows, real


def speed() -> None:
    """Cascades a second by one core, tables at hand and not."""
    for samples in (5000, 10000):
        evaluator = CascadeEvaluator(real(samples))
        rows = random_rows(evaluator.pool, 200_000)
        began = time.perf_counter()
        evaluator.counts(rows)
        cold, began = time.perf_counter() - began, time.perf_counter()
        evaluator.counts(rows)
        hot = time.perf_counter() - began
        built = f"{evaluator.tables.built} sets made"
        print(f"N={samples}, K=5: {len(rows) / hot:,.0f} cascades/s; with {built} {len(rows) / cold:,.0f}")


def fronts() -> None:
    """Seconds for the exact front, search part of the pool."""
    for slots in (1, 2, 3, 4) if "--four" in sys.argv else (1, 2, 3):
        evaluator = CascadeEvaluator(real(5000), slots)
        began = time.perf_counter()
        rows, _, _ = exact_front(evaluator.tables, evaluator.pool.costs("macs"), slots)
        seconds, count = time.perf_counter() - began, count_cascades(18, slots, 51)
        print(f"exact front, K <= {slots}: {count:,} cascades in {seconds:.2f} s, {len(rows)} on the front")


def exactness(cascades: int = 10_000, samples: int = 250) -> None:
    """Error and reach counts of random cascades, no-ops and repeats among them, against the loop over samples."""
    logits = cifar10_pool()
    pools = {
        "real": pool_of(half_softmax(logits.logits[:, :samples]), logits.labels[:samples], logits.macs),
        "made-up, 100 classes": pool_of(*small(members=12, samples=samples, classes=100)),
        "ties everywhere": coarse().part(slice(samples)),
    }
    for name, pool in pools.items():
        for repeats in ("refuse", "charge"):
            evaluator = CascadeEvaluator(pool, repeats=repeats)
            rows = random_rows(pool, cascades, seed=7)
            errors, reached = evaluator.counts(rows)
            softmax = np.stack(pool.outputs)
            wrong = 0
            for row, error, stages in zip(rows, errors, reached, strict=True):
                wrong += judged(pool, row, repeats, softmax) != (error, stages.tolist())
            print(f"{name}, repeats={repeats}: {wrong} of {len(rows):,} cascades differ")


def main() -> None:
    torch.set_num_threads(1)
    if "--exact" in sys.argv:
        exactness()
    else:
        speed()
        fronts()


if __name__ == "__main__":
    try:
        main()
    except pytest.skip.Exception as absent:
        sys.exit(str(absent))
