import numpy as np
import pytest

from src.evolution.budget import UniqueEvaluations, keys
from tests.evolution.row_problems import Recorded, sorted_members, synthetic


def random_rows(count: int, seed: int = 0, alphabet: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, alphabet, size=(count, 3))


def test_each_canonical_row_is_evaluated_once_and_every_answer_is_its_value():
    """Repeats within a batch, over batches, and in another form of the same row."""
    recorded = Recorded(synthetic)
    evaluations = UniqueEvaluations(recorded, 10_000, sorted_members)
    for seed in range(5):
        rows = random_rows(100, seed)
        assert np.array_equal(evaluations(rows), synthetic(sorted_members(rows)))
    assert len(np.unique(recorded.rows, axis=0)) == len(recorded.rows) == evaluations.used == 56  # 6 of 3 with repeats
    assert np.array_equal(recorded.rows, evaluations.rows)
    assert np.array_equal(evaluations.objectives, synthetic(evaluations.rows))


def test_what_the_budget_has_no_room_for_is_infinite_and_not_kept():
    rows = np.unique(random_rows(200), axis=0)[:30]
    recorded = Recorded(synthetic)
    evaluations = UniqueEvaluations(recorded, 20)
    twice = np.concatenate([rows[:8], rows, rows])
    values = evaluations(twice)
    assert evaluations.exhausted
    assert evaluations.used == len(recorded.rows) == 20
    place = np.concatenate([np.arange(8), np.arange(30), np.arange(30)])
    assert np.isinf(values[place >= 20]).all()
    assert np.array_equal(values[place < 20], synthetic(rows[place[place < 20]]))
    assert np.isinf(evaluations(rows[20:])).all()
    assert np.array_equal(evaluations(rows[:20]), synthetic(rows[:20]))


def test_joined_are_the_new_rows_that_entered_the_archive():
    """Forced improvement takes a row for a success by this; a row known for long must not count."""
    evaluations = UniqueEvaluations(lambda rows: rows.astype(float), 100)
    first = evaluations.ask(np.array([[2, 2], [3, 3], [2, 2]]))
    assert first.new.tolist() == [True, True, False]
    assert first.joined.tolist() == [True, False, False]
    second = evaluations.ask(np.array([[2, 2], [1, 3], [5, 5]]))
    assert second.new.tolist() == [False, True, True]
    assert second.joined.tolist() == [False, True, False]


def test_known_rows_count_when_asked_for_but_are_not_evaluated():
    rows = np.unique(sorted_members(random_rows(100)), axis=0)[:20]
    recorded, other_forms = Recorded(synthetic), rows[:10, ::-1]
    evaluations = UniqueEvaluations(recorded, 15, sorted_members, known=(other_forms, synthetic(rows[:10]) + 0.5))
    assert evaluations.used == len(evaluations.archive) == 0
    values = evaluations(rows)
    assert np.array_equal(values[:10], synthetic(rows[:10]) + 0.5)
    assert np.array_equal(values[10:15], synthetic(rows[10:15]))
    assert np.isinf(values[15:]).all()
    assert np.array_equal(recorded.rows, rows[10:15])


def test_rows_of_huge_spaces_are_told_apart():
    """519^5 * 51^4 rows and more: a number in one word, or a hash, would confuse some."""
    rows = np.array([[1, 0], [256, 0], [65536, 0], [0, 65536], [2**40, 1], [-1, 1], [65535, 1], [1, 0]])
    assert len(set(keys(rows))) == 7
    assert keys(rows[:1])[0] == keys(rows)[0]  # whatever else is in the batch


@pytest.mark.parametrize(
    ("values", "message"),
    [(lambda rows: np.full((len(rows), 2), np.nan), "NaN"), (lambda rows: np.zeros(len(rows)), "shape")],
)
def test_values_that_cannot_be_used_are_refused(values, message: str):
    with pytest.raises(ValueError, match=message):
        UniqueEvaluations(values, 10)(np.array([[1, 2]]))
