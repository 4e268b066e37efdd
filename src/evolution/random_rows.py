"""Random rows, the search that every other search is to beat."""

from collections.abc import Callable, Sequence

import numpy as np

from src.evolution.budget import UniqueEvaluations
from src.evolution.novelty import Novelty

NOVELTY = 0.002, 65_536  # share of new rows below which the search ends, rows of a stretch (see Novelty)


def random_rows(
    evaluations: UniqueEvaluations,
    alphabet: Sequence[int],
    seed: int,
    batch: int = 4096,
    report: Callable[[], None] | None = None,
) -> None:
    """Asks for uniformly random rows until the budget is used up, or they are hardly ever new.

    That is fewer than 1 in 500 (see Novelty): the last few rows of a small space would take longer than all others.

    Args:
        alphabet: (d,) how many values each gene has; they are 0 .. alphabet - 1.
        seed: of all draws; keyed by the caller.
        batch: rows drawn at once.
        report: called after every batch.
    """
    generator, alphabet = np.random.default_rng(seed), np.asarray(alphabet)
    novelty = Novelty(evaluations, *NOVELTY)
    while not evaluations.exhausted and not novelty.gone():
        evaluations(generator.integers(alphabet, size=(batch, len(alphabet))))
        if report is not None:
            report()
