"""Children without a surrogate, and the mutation that NSGA-III shares with them."""

import numpy as np

from src.evolution.offspring import offspring, polynomial_mutation
from tests.evolution.row_problems import sorted_members, synthetic

ALPHABET = np.array([9, 9, 9, 9, 1])


def test_children_are_new_and_different_and_canonical():
    """What is known would be trained and evaluated again."""
    rows = sorted_members(np.random.default_rng(0).integers(9, size=(50, 5)))
    found = offspring(rows, synthetic(rows), 60, [9] * 5, 0, sorted_members)
    assert found.shape == (60, 5)
    assert len(np.unique(np.concatenate([rows, found]), axis=0)) == len(np.unique(rows, axis=0)) + 60
    assert np.array_equal(found, sorted_members(found))
    assert np.array_equal(found, offspring(rows, synthetic(rows), 60, [9] * 5, 0, sorted_members))
    assert not np.array_equal(found, offspring(rows, synthetic(rows), 60, [9] * 5, 1, sorted_members))


def test_a_space_without_room_for_so_many_children():
    found = offspring(np.zeros((1, 3), int), np.array([[np.inf, 1]]), 20, [2, 2, 1], 0)
    assert sorted(map(tuple, found.tolist())) == [(0, 1, 0), (1, 0, 0), (1, 1, 0)]


def test_better_rows_have_more_children():
    """Half the rows dominate the other half: a tournament takes them three times in four, a draw every other time."""
    rows = np.repeat([[0] * 30, [1] * 30], 20, axis=0)
    objectives = np.repeat([[0.0, 0], [1, 1]], 20, axis=0)
    found = offspring(rows, objectives, 1000, [2] * 30, 0, crossover=0, mutation=0.5)
    assert 0.68 < (found.mean(1) < 0.5).mean() < 0.82


def test_polynomial_mutation_stays_within_the_alphabet_and_reaches_all_of_it():
    """A share of the genes changes, all values come up, genes of one value stay, larger eta makes smaller steps."""
    rows, generator = np.full((4000, 5), 4) * (ALPHABET > 1), np.random.default_rng(0)
    moved = polynomial_mutation(rows, ALPHABET, 0.5, 1.0, generator)
    assert (np.unique(moved[:, :4]) == np.arange(9)).all()
    assert (moved[:, 4] == 0).all()
    assert 0.3 < (moved[:, :4] != 4).mean() < 0.5  # a step that rounds to none is no change
    smaller = polynomial_mutation(rows, ALPHABET, 0.5, 20.0, generator)
    assert np.abs(smaller - rows).mean() < 0.6 * np.abs(moved - rows).mean()
    bits = polynomial_mutation(np.tile([0, 1], (4000, 1)), np.array([2, 2]), 1.0, 1.0, generator)
    assert np.abs(bits[:, 0].mean() - (1 - bits[:, 1]).mean()) < 0.05
    assert bits[:, 0].mean() > 0.15
