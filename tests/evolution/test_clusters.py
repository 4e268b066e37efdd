import numpy as np
import pytest

from src.evolution.clusters import MIDDLE, clustered, k_means, leaders, scaled_to_range, squared_distances


def objectives(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 2)) * [1.0, 1e6]


@pytest.mark.parametrize(("count", "clusters"), [(8, 3), (16, 4), (128, 7), (3, 3), (8, 8)])
def test_clusters_are_equal_in_size_and_everyone_has_one_of_its_own(count: int, clusters: int):
    found = clustered(objectives(count), clusters, np.random.default_rng(1))
    assert found.members.shape == (clusters, min(count, 2 * count // clusters))
    assert all(len(set(members)) == len(members) for members in found.members.tolist())
    in_one = np.isin(np.arange(count), found.members)
    for one, own in enumerate(found.own.tolist()):
        assert one in found.members[own] or not in_one[one]


@pytest.mark.parametrize("seed", range(5))
def test_each_objective_has_one_extreme_cluster_that_is_good_in_it(seed: int):
    points = objectives(64, seed)
    found = clustered(points, 5, np.random.default_rng(seed))
    assert sorted(found.extreme.tolist()) == [MIDDLE, MIDDLE, MIDDLE, 0, 1]
    for objective in (0, 1):
        means = points[found.members].mean(1)[:, objective]
        assert np.argsort(means).tolist().index(found.extreme.tolist().index(objective)) <= 1


def test_a_cluster_holds_its_own_first_and_then_the_nearest():
    """Two far-apart heaps of four: with overlap 1 a cluster is its heap, with 2 all."""
    points = np.concatenate([objectives(4) * 0.01, 1e3 * (1 + objectives(4))])
    points[:, 1] = points[:, 0]
    alone = clustered(points, 2, np.random.default_rng(0), overlap=1.0)
    assert {frozenset(members) for members in alone.members.tolist()} == {frozenset(range(4)), frozenset(range(4, 8))}
    both = clustered(points, 2, np.random.default_rng(0))
    heaps = [frozenset(members[:4]) for members in both.members.tolist()]
    assert set(heaps) == {frozenset(range(4)), frozenset(range(4, 8))}


def test_k_means_ends_where_every_mean_is_that_of_its_points():
    points = objectives(200) / [1.0, 1e6]
    means = k_means(points, leaders(points, 6, np.random.default_rng(0)))
    nearest = squared_distances(points, means).argmin(1)
    for number, mean in enumerate(means):
        assert points[nearest == number].mean(0) == pytest.approx(mean, abs=1e-9)


def test_leaders_are_scattered():
    points = np.array([[0.0, 1.0], [0.01, 0.99], [1.0, 0.0], [0.5, 0.5], [0.51, 0.49]])
    found = leaders(points, 3, np.random.default_rng(0))
    assert {tuple(point) for point in found.tolist()} in ({(0, 1), (1, 0), (0.5, 0.5)}, {(0, 1), (1, 0), (0.51, 0.49)})


def test_no_range_and_infinity_do_no_harm():
    """A division by zero or inf - inf would make every distance NaN, and all one cluster."""
    scaled = scaled_to_range(np.array([[1.0, np.inf], [1.0, 3.0], [1.0, 5.0]]))
    assert scaled.tolist() == [[0, 1], [0, 0], [0, 1]]
    assert scaled_to_range(np.full((2, 1), np.inf)).tolist() == [[1], [1]]
    same = clustered(np.ones((8, 2)), 3, np.random.default_rng(0))
    assert sorted(same.extreme.tolist()) == [MIDDLE, 0, 1]
