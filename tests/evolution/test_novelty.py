"""When a search is taken to have run dry."""

import numpy as np
import pytest

from src.evolution.budget import UniqueEvaluations
from src.evolution.novelty import Novelty
from tests.evolution.row_problems import synthetic


def asked(evaluations: UniqueEvaluations, new: int, rows: int = 100) -> None:
    """Asks for `rows` rows of which `new` are new, and the others are 0."""
    numbers = np.zeros(rows, dtype=np.int64)
    numbers[:new] = evaluations.used + np.arange(new)
    evaluations(np.stack([numbers, numbers], axis=1))


@pytest.fixture
def evaluations() -> UniqueEvaluations:
    evaluations = UniqueEvaluations(synthetic, 10_000)
    asked(evaluations, 1, 1)
    return evaluations


def test_a_stretch_with_too_few_new_rows_is_the_end_for_good(evaluations):
    novelty, seen = Novelty(evaluations, 0.1, 200), []
    for new in (50, 0, 10, 10, 10, 9, 100, 100):
        asked(evaluations, new)
        seen.append(novelty.gone())
    assert seen == [False] * 5 + [True] * 3  # two batches make a stretch: 50 + 0, 10 + 10 and 10 + 9 of 200


def test_stretches_that_grow_bear_a_lull_that_others_do_not(evaluations):
    kinds = Novelty(evaluations, 0.1, 100), Novelty(evaluations, 0.1, 100, growing=True)
    seen = []
    for new in (50, 50, 0, 50, 0, 0, 0, 0):
        asked(evaluations, new)
        seen.append([novelty.gone() for novelty in kinds])
    assert [first for first, _ in seen] == [False] * 2 + [True] * 6
    assert [second for _, second in seen] == [False] * 7 + [True]
