"""A search over a pool of the size of the paper's, within 8 GB: 518 members x 20,683 samples x 1,000 classes.

    python -m tests.benchmarks.synthetic_pool /tmp/pool518                    makes it: 21 GB, three minutes
    python -m tests.benchmarks.large_pool /tmp/pool518 [evaluations=20000] [searcher=gomea] [memory_gb=2]

The limit is real: the process may not have more than 8 GiB of memory of its own (the kernel's cache of files apart).
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from src.cascades.evaluation import CascadeEvaluator
from src.cascades.genotype import alphabet, canonical
from src.cascades.pool import Member, Pool
from src.evolution.budget import UniqueEvaluations
from tests.benchmarks.cascade_search import SEARCHES


def opened(folder: Path) -> Pool:
    """The pool that `synthetic_pool` has written."""
    described = json.loads((folder / "models.json").read_text())
    members = tuple(Member(entry["name"], entry["macs"], entry["params"]) for entry in described)
    outputs = [np.load(folder / f"{member.name}.npy", mmap_mode="r") for member in members]
    return Pool(members, np.load(folder / "labels.npy"), outputs)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (8 * 2**30, 8 * 2**30))
    options = {"evaluations": "20000", "searcher": "gomea", "memory_gb": "2", "seed": "0"}
    options |= dict(part.split("=") for part in sys.argv[2:])
    began = time.perf_counter()
    pool = opened(Path(sys.argv[1]))
    evaluator = CascadeEvaluator(pool, memory=float(options["memory_gb"]) * 2**30)
    read, began = time.perf_counter() - began, time.perf_counter()
    buckets = evaluator.tables.buckets
    kept = sum((bucket.classes >= 0).sum() for bucket in buckets) / pool.samples
    print(f"read in {read:.0f} s: {kept:.1f} of {pool.classes} classes are viable in an average sample")
    evaluations = UniqueEvaluations(evaluator.objectives, int(options["evaluations"]), canonical)
    SEARCHES[options["searcher"]](evaluations, alphabet(len(pool), 5, 51), int(options["seed"]))
    seconds, front = time.perf_counter() - began, evaluations.archive.objectives
    print(f"{evaluations.used:,} evaluations in {seconds:.0f} s: {evaluator.tables.built:,} sets were made")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {memory:.1f} GiB; {len(front)} cascades on the front, from {front[0]} to {front[-1]}")
    singles = np.zeros((len(pool), 9), dtype=np.int64)
    singles[:, 0] = 1 + np.arange(len(pool))
    print(f"the best single network: {evaluator.objectives(singles)[:, 0].min():.2f} % error")


if __name__ == "__main__":
    main()
