"""Fast evaluation of cascades, against a plain loop over samples."""

import numpy as np
import pytest

from src.cascades.device_tables import DeviceTables
from src.cascades.evaluation import CascadeEvaluator
from src.cascades.pool import Member, Pool
from src.errors import UserError
from tests.cascades.pools import cifar10_pool, half_softmax, naive, naive_plan, small


def pool_of(softmax: np.ndarray, labels: np.ndarray, macs: np.ndarray) -> Pool:
    members = [Member(f"m{number}", float(cost), 10.0 * (number + 1)) for number, cost in enumerate(macs)]
    return Pool(tuple(members), labels, list(softmax))


def made(**sizes) -> Pool:
    return pool_of(*small(**sizes))


def real(samples: int) -> Pool:
    pool = cifar10_pool()
    return pool_of(half_softmax(pool.logits[:, :samples]), pool.labels[:samples], pool.macs)


def coarse(seed: int = 0) -> Pool:
    """Probabilities in eighths: ties of classes, and means that equal a threshold, are everywhere."""
    generator = np.random.default_rng(seed)
    softmax = generator.multinomial(8, [0.4, 0.3, 0.2, 0.1], size=(5, 300)) / 8
    return pool_of(softmax.astype(np.float16), generator.integers(0, 4, 300), np.arange(1.0, 6.0))


def random_rows(pool: Pool, count: int, slots: int = 5, levels: int = 51, seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    numbers = generator.integers(0, len(pool) + 1, (count, slots))
    return np.concatenate([numbers, generator.integers(0, levels, (count, slots - 1))], 1)


def judged(pool: Pool, row: np.ndarray, repeats: str, softmax: np.ndarray) -> tuple[int, list[int]]:
    """A row of genes, with 51 levels, decoded and run slot by slot and sample by sample."""
    slots = (len(row) + 1) // 2
    members, thresholds = naive_plan(row, slots, repeats=repeats)
    if not members:
        return pool.samples, [0] * slots
    errors, reached = naive(members, thresholds, softmax, pool.labels)
    return errors, [*reached, *[0] * (slots - len(members))]


@pytest.mark.parametrize("repeats", ["refuse", "charge"])
@pytest.mark.parametrize("make", [lambda: made(samples=130), coarse, lambda: real(120)], ids=["made", "ties", "real"])
def test_counts_equal_a_loop_over_samples(make, repeats):
    """Else the search looks for cascades that do something else than what they are said to do."""
    pool = make()
    evaluator = CascadeEvaluator(pool, repeats=repeats)
    rows = random_rows(pool, 150)
    errors, reached = evaluator.counts(rows)
    softmax = np.stack(pool.outputs)
    expected = [judged(pool, row, repeats, softmax) for row in rows]
    assert errors.tolist() == [wrong for wrong, _ in expected]
    assert reached.tolist() == [stages for _, stages in expected]


def test_the_last_threshold_is_the_ensemble_and_the_first_the_first_member():
    pool = made(samples=200)
    evaluator = CascadeEvaluator(pool, slots=3)
    (ensemble, first), reached = evaluator.counts(np.array([[4, 2, 6, 50, 50], [4, 2, 6, 0, 0]]))
    mean = np.stack(pool.outputs)[[3, 1, 5]].astype(np.float64).mean(0).astype(np.float32)
    assert ensemble == (mean.argmax(1) != pool.labels).sum()
    assert first == (pool.outputs[3].argmax(1) != pool.labels).sum()
    assert reached.tolist() == [[200, 200, 200], [200, 0, 0]]


def test_empty_slots_change_nothing_wherever_they_stand():
    """Else the same cascade has two errors, or a threshold gates the wrong member."""
    pool = made(samples=200)
    rows = np.array([[3, 1, 5, 0, 0, 20, 30, 0, 0], [0, 3, 1, 0, 5, 7, 20, 9, 30], [3, 0, 0, 1, 5, 1, 2, 20, 30]])
    errors, reached = CascadeEvaluator(pool).counts(rows)
    assert len(set(errors.tolist())) == 1
    assert (reached == reached[0]).all()


def test_order_of_samples_and_a_bound_on_memory_change_nothing():
    """Tables that have made room for others are made again, and are the same."""
    pool = made(samples=300)
    rows = random_rows(pool, 400)
    shuffled = pool.part(np.random.default_rng(3).permutation(300))
    large, other = CascadeEvaluator(pool), CascadeEvaluator(shuffled)
    tight = CascadeEvaluator(pool, memory=12 * large.tables.bytes_per_set, threads=2)
    expected = large.objectives(rows, ("error", "macs", "params"))
    np.testing.assert_array_equal(other.objectives(rows, ("error", "macs", "params")), expected)
    for part in np.array_split(rows, 9):
        tight.counts(part)
    np.testing.assert_array_equal(tight.objectives(rows, ("error", "macs", "params")), expected)
    assert tight.tables.built > large.tables.built


def test_costs():
    pool = pool_of(*small(members=3, samples=100))
    evaluator = CascadeEvaluator(pool, slots=2)
    rows = np.array([[1, 3, 25], [2, 0, 0], [0, 0, 7]])
    _, reached = evaluator.counts(rows)
    found = evaluator.objectives(rows, ("macs", "params", "error"))
    costs = pool.costs("macs")
    assert found[0, 0] == pytest.approx(costs[0] + costs[2] * reached[0, 1] / 100)
    assert found[:, 1].tolist() == [10 + 30, 20, np.inf]
    assert found[1, 0] == costs[1]
    assert found[2].tolist() == [np.inf, np.inf, 100]


def test_wrong_rows_are_refused():
    evaluator = CascadeEvaluator(made(samples=50), slots=2)
    for rows in ([[1, 2]], [[1, 7, 0]], [[1, 2, 51]], [[-1, 2, 0]]):
        with pytest.raises(UserError, match="not allowed"):
            evaluator.counts(np.array(rows))


def test_bounds_that_cannot_hold_are_refused():
    with pytest.raises(UserError, match="memory_gb"):
        CascadeEvaluator(made(samples=50), memory=100)
    with pytest.raises(UserError, match="at most 22 slots"):
        CascadeEvaluator(made(samples=50), slots=40)


@pytest.mark.parametrize("repeats", ["refuse", "charge"])
@pytest.mark.parametrize("make", [made, coarse], ids=["made", "ties"])
def test_tables_of_torch_say_the_same(make, repeats):
    """The tables of a GPU, here on the CPU: else results depend on the device."""
    pool = make()
    evaluator, other = CascadeEvaluator(pool, repeats=repeats), CascadeEvaluator(pool, repeats=repeats)
    other.tables = DeviceTables(pool.outputs, pool.labels, 5, other.grid, memory=40e6, device="cpu")
    rows = random_rows(pool, 300)
    for one, another in zip(evaluator.counts(rows), other.counts(rows), strict=True):
        np.testing.assert_array_equal(one, another)
