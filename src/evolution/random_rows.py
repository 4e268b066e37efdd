"""Random search over rows: the baseline that every other search is to beat."""

from collections.abc import Callable, Sequence

import numpy as np

from src.evolution.budget import UniqueEvaluations


def random_rows(
    evaluations: UniqueEvaluations,
    alphabet: Sequence[int],
    seed: int,
    batch: int = 4096,
    barren: int = 16,
    report: Callable[[], None] | None = None,
) -> None:
    """Asks for uniformly random rows until the budget is used up, or none was new for `barren` batches in a row.

    Args:
        alphabet: (d,) how many values each gene has; they are 0 .. alphabet - 1.
        seed: of all draws; keyed by the caller.
        batch: rows drawn at once.
        report: called after every batch.
    """
    generator, alphabet, without = np.random.default_rng(seed), np.asarray(alphabet), 0
    while not evaluations.exhausted and without < barren:
        before = evaluations.used
        evaluations(generator.integers(alphabet, size=(batch, len(alphabet))))
        without = 0 if evaluations.used > before else without + 1
        if report is not None:
            report()
