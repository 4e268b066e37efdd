"""Clusters of a population in the space of its objectives, as MO-GOMEA makes them: equal in size, overlapping."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MIDDLE = -1  # in place of an objective: the cluster looks after all of them


class Clusters(NamedTuple):
    """k clusters of a population of n.

    members: int64 (k, size), places in the population, the nearest first. extreme: int64 (k,), the objective that a
    cluster alone looks after, or MIDDLE. own: int64 (n,), the cluster of each individual: one of those that it is a
    member of, at random; the one with the nearest mean where it is in none.
    """

    members: NDArray
    extreme: NDArray
    own: NDArray


def clustered(
    objectives: NDArray, clusters: int, generator: np.random.Generator, overlap: float = 2.0, tolerance: float = 1e-10
) -> Clusters:
    """Clusters of `overlap` n / k individuals, round the means of k-means, in objectives scaled to their ranges.

    A cluster takes first what k-means gave it, then others, each time the nearest first. For each objective, in random
    order, one cluster that has no objective yet and the best mean in it becomes its extreme cluster. Objectives
    that are not finite count as the worst of their kind; one without a range counts as 0.

    Args:
        objectives: (n, n_obj), all minimised.
        tolerance: k-means ends when no mean moves by more than this.
    """
    scaled = scaled_to_range(objectives)
    means = k_means(scaled, leaders(scaled, clusters, generator), tolerance)
    distances = squared_distances(scaled, means)
    far = distances.max(initial=0) + 1
    taken = distances + far
    nearest = distances.argmin(1)
    taken[np.arange(len(scaled)), nearest] -= far
    size = min(len(scaled), max(1, int(overlap * len(scaled) / clusters)))
    members = np.argsort(taken.T, axis=1, kind="stable")[:, :size]
    member = np.zeros((len(scaled), clusters), dtype=bool)
    member[members, np.arange(clusters)[:, None]] = True
    drawn = np.where(member, generator.random(member.shape), -1).argmax(1)
    own = np.where(member.any(1), drawn, nearest)
    return Clusters(members, extremes(means, generator), own)


def scaled_to_range(objectives: NDArray) -> NDArray:
    """Objectives (n, n_obj) scaled to [0, 1] by the range of those that are finite; those that are not become 1."""
    finite = np.isfinite(objectives)
    low = np.where(finite, objectives, np.inf).min(0)
    high = np.where(finite, objectives, -np.inf).max(0)
    span = np.where(high > low, high - low, 1)
    return np.where(finite, np.where(finite, objectives, 0) - np.where(np.isfinite(low), low, 0), span) / span


def leaders(scaled: NDArray, count: int, generator: np.random.Generator) -> NDArray:
    """Scattered points (count, n_obj): the best in a random objective, then again and again the farthest from all."""
    chosen = [int(scaled[:, generator.integers(scaled.shape[1])].argmin())]
    distances = np.full(len(scaled), np.inf)
    for _ in range(count - 1):
        distances = np.minimum(distances, ((scaled - scaled[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(distances.argmax()))
    return scaled[chosen]


def k_means(points: NDArray, means: NDArray, tolerance: float = 1e-10, most: int = 1000) -> NDArray:
    """Lloyd's means (k, n_obj) from given ones, until none moves by more than `tolerance`; an empty one stays."""
    clusters = len(means)
    for _ in range(most):
        nearest = squared_distances(points, means).argmin(1)
        counts = np.bincount(nearest, minlength=clusters)
        sums = np.stack([np.bincount(nearest, weights=column, minlength=clusters) for column in points.T], axis=1)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], means)
        if np.abs(moved - means).max() <= tolerance:
            return moved
        means = moved
    return means


def extremes(means: NDArray, generator: np.random.Generator) -> NDArray:
    """The objective of each cluster (k,), MIDDLE for most: each objective goes to one cluster, while there are any."""
    found = np.full(len(means), MIDDLE)
    for objective in generator.permutation(means.shape[1])[: len(means)]:
        order = np.argsort(means[:, objective], kind="stable")
        found[order[found[order] == MIDDLE][0]] = objective
    return found


def squared_distances(points: NDArray, means: NDArray) -> NDArray:
    """(n, k) between points (n, n_obj) and means (k, n_obj)."""
    return ((points[:, None] - means[None]) ** 2).sum(2)
