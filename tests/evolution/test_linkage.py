import itertools
import math

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from src.evolution.linkage import jittered, linkage_tree, mutual_information


def by_counting(first: list[int], second: list[int]) -> float:
    """Mutual information from the table of counts, by its definition as a divergence."""
    size, total = len(first), 0.0
    for x, y in itertools.product(set(first), set(second)):
        joint = sum(a == x and b == y for a, b in zip(first, second, strict=True)) / size
        if joint:
            total += joint * math.log2(joint / (first.count(x) / size * (second.count(y) / size)))
    return total


def test_information_is_that_of_the_table_of_counts():
    groups = np.random.default_rng(0).integers(0, [2, 3, 51, 4], size=(3, 17, 4))
    found = mutual_information(groups)
    for group, row, column in itertools.product(range(3), range(4), range(4)):
        wanted = by_counting(groups[group, :, row].tolist(), groups[group, :, column].tolist())
        assert found[group, row, column] == pytest.approx(wanted, abs=1e-12)


def test_independent_genes_share_nothing_and_copied_ones_their_entropy():
    grid = np.array(list(itertools.product(range(4), range(8))))  # every pair of values equally often
    found = mutual_information(np.stack([np.column_stack([grid, grid[:, 0]])]))[0]
    assert found == pytest.approx(np.array([[2, 0, 2], [0, 3, 0], [2, 0, 2]]), abs=1e-12)


@pytest.mark.parametrize("genes", [2, 5, 9])
def test_the_tree_is_that_of_average_linkage(genes: int):
    generator = np.random.default_rng(genes)
    distances = generator.random((6, genes, genes))
    distances += distances.transpose(0, 2, 1)
    distances[:, np.arange(genes), np.arange(genes)] = 0
    found = linkage_tree(1 - distances)
    for sets, one in zip(found, distances, strict=True):
        wanted = [frozenset([gene]) for gene in range(genes)]
        for first, second, _, _ in linkage(squareform(one), "average"):
            wanted.append(wanted[int(first)] | wanted[int(second)])
        assert [frozenset(np.flatnonzero(one_set).tolist()) for one_set in sets] == wanted


def test_one_gene_is_its_own_tree():
    assert linkage_tree(np.ones((2, 1, 1))).tolist() == [[[True]], [[True]]]


def test_equal_similarities_merge_in_random_order_and_others_in_theirs():
    """Without noise the same genes would be merged in every small group, as if they belonged together."""
    generator = np.random.default_rng(0)
    flat = np.zeros((400, 5, 5))
    first = linkage_tree(jittered(flat, generator))[:, 5]
    assert (first.sum(0) > 100).all()  # each of five genes is in 160 of 400 first pairs, on average
    flat[:, 1, 3] = flat[:, 3, 1] = 1e-3
    assert linkage_tree(jittered(flat, generator))[:, 5].tolist() == [[False, True, False, True, False]] * 400
