import numpy as np
import pytest

from src.evolution.archive import Archive
from src.evolution.dominance import covered, nondominated


def brute_force(points: np.ndarray) -> list[int]:
    """The first ones of points that no other dominates, one pair after the other."""
    kept = []
    for i, point in enumerate(points):
        dominated = any((other <= point).all() and (other < point).any() for other in points)
        twin = any((points[j] == point).all() for j in range(i))
        if not dominated and not twin:
            kept.append(i)
    return kept


def draws(objectives: int, seed: int, count: int = 300) -> np.ndarray:
    """Few values, so that ties in one objective and equal points come often."""
    return np.random.default_rng(seed).integers(0, 12, size=(count, objectives)).astype(float)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_front_is_that_of_a_comparison_of_all_pairs(objectives: int, seed: int):
    points = draws(objectives, seed, count=200)
    assert sorted(nondominated(points).tolist()) == brute_force(points)


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_one_by_one_and_in_batches_the_archive_is_the_front_of_all(objectives: int):
    """Whatever the batches: members, and which row stands for equal points, must not depend on them."""
    points = draws(objectives, 7)
    rows = np.arange(len(points))[:, None]
    wanted = set(brute_force(points))
    for size in (1, 7, 300):
        archive = Archive()
        for start in range(0, len(points), size):
            batch = slice(start, start + size)
            before = set(archive.rows[:, 0].tolist()) if len(archive) else set()
            entered = archive.add(rows[batch], points[batch])
            assert set(rows[batch][entered, 0].tolist()) == set(archive.rows[:, 0].tolist()) - before
        assert set(archive.rows[:, 0].tolist()) == wanted
        assert np.array_equal(points[archive.rows[:, 0]], archive.objectives)


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_dominated_means_dominated_and_not_equal(objectives: int):
    members, asked = draws(objectives, 1, 40), np.concatenate([draws(objectives, 2), draws(objectives, 1, 40)])
    archive = Archive()
    archive.add(np.arange(40)[:, None], members)
    wanted = [any((m <= p).all() and (m < p).any() for m in members) for p in asked]
    assert archive.dominated(asked).tolist() == wanted
    assert covered(asked, members).tolist() == [any((m <= p).all() for m in members) for p in asked]


def test_infinity_never_enters_and_is_dominated():
    archive = Archive()
    assert not archive.add(np.array([[1]]), np.array([[0.0, np.inf]])).any()
    assert len(archive) == 0
    archive.add(np.array([[2]]), np.array([[1.0, 1.0]]))
    assert archive.dominated(np.array([[1.0, np.inf], [0.5, np.inf], [np.inf, 0.5]])).tolist() == [True, False, False]


@pytest.mark.parametrize("objectives", [2, 3])
def test_above_its_bound_it_is_thinned_evenly_and_keeps_the_extremes(objectives: int):
    """Without the bound, three objectives would make every question slow; the ends of the front must not go."""
    directions = np.abs(np.random.default_rng(0).normal(size=(400, objectives)))
    points = -directions / np.linalg.norm(directions, axis=1, keepdims=True)  # all on one sphere: none dominated
    archive = Archive(target=50, slack=2.0)
    archive.add(np.arange(100)[:, None], points[:100])
    assert len(archive) == 100  # within the slack
    archive.add(np.arange(100, 400)[:, None], points[100:])
    assert 25 <= len(archive) <= 50 + objectives
    assert np.array_equal(archive.objectives.min(0), points.min(0))
    assert np.array_equal(points[archive.rows[:, 0]], archive.objectives)
