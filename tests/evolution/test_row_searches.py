"""What MO-GOMEA, NSGA-II and random search over rows have in common, and what they find."""

import numpy as np
import pytest

from src.cascades.evaluation import CascadeEvaluator
from src.cascades.exact import count_cascades, exact_front
from src.cascades.genotype import alphabet as row_alphabet
from src.cascades.genotype import canonical
from src.cascades.pool import Member, Pool
from src.cascades.thresholds import ThresholdGrid
from src.evolution.budget import UniqueEvaluations
from src.evolution.mo_gomea import mo_gomea
from src.evolution.nsga2_rows import nsga2
from src.evolution.random_rows import random_rows
from src.evolution.variation import VARIED
from tests.cascades.pools import small
from tests.evolution.row_problems import (
    BITS,
    BLOCKS,
    TRAP_FRONT,
    Recorded,
    points,
    sorted_members,
    synthetic,
    traps,
    zeros_and_ones,
)

ALPHABET = (19, 19, 19, 51, 51)


def varied(evaluations, alphabet, seed, **options):
    mo_gomea(evaluations, alphabet, seed, variation=VARIED, **options)


SEARCHES = [mo_gomea, varied, nsga2, random_rows]
each_search = pytest.mark.parametrize("search", SEARCHES, ids=["mo_gomea", "mo_gomea varied", "nsga2", "random"])


@each_search
@pytest.mark.parametrize("budget", [5, 1000])
def test_the_budget_is_used_up_by_unique_canonical_rows_and_never_exceeded(search, budget: int):
    recorded, reports = Recorded(synthetic), []
    evaluations = UniqueEvaluations(recorded, budget, sorted_members)
    search(evaluations, ALPHABET, 0, report=lambda: reports.append(evaluations.used))
    assert evaluations.used == len(recorded.rows) == budget
    assert len(np.unique(recorded.rows, axis=0)) == budget
    assert np.array_equal(recorded.rows, sorted_members(recorded.rows))
    assert (recorded.rows >= 0).all()
    assert (recorded.rows < 51).all()
    assert reports == sorted(reports)
    assert reports[-1] == budget


@each_search
def test_the_seed_alone_decides_and_a_replay_is_the_same_run(search):
    """Resume: a run that was cut off after 300 rows goes on as if it had not been, evaluating only what is missing."""
    runs = []
    for seed in (1, 1, 2):
        runs.append(UniqueEvaluations(synthetic, 800))
        search(runs[-1], ALPHABET, seed)
    assert np.array_equal(runs[0].rows, runs[1].rows)
    assert not np.array_equal(runs[0].rows, runs[2].rows)
    recorded = Recorded(synthetic)
    resumed = UniqueEvaluations(recorded, 800, known=(runs[0].rows[:300], runs[0].objectives[:300]))
    search(resumed, ALPHABET, 1)
    assert np.array_equal(resumed.rows, runs[0].rows)
    assert np.array_equal(resumed.archive.rows, runs[0].archive.rows)
    assert np.array_equal(recorded.rows, runs[0].rows[300:])


@each_search
def test_a_space_smaller_than_the_budget_is_searched_and_the_search_ends(search):
    """20 rows, sorted: it must find them all and then not go on for ever."""
    evaluations = UniqueEvaluations(synthetic, 10_000, sorted_members)
    search(evaluations, (4, 4, 4), 0)
    every = np.unique(sorted_members(np.indices((4, 4, 4)).reshape(3, -1).T), axis=0)
    assert np.array_equal(np.unique(evaluations.rows, axis=0), every)


@pytest.mark.parametrize("search", [varied, nsga2, random_rows], ids=["mo_gomea varied", "nsga2", "random"])
def test_a_space_of_some_thousand_rows_is_not_asked_for_ever(search):
    """Three networks with the default budget: the last rows came so slowly that a search took minutes for nothing."""
    softmax, labels, macs = small(3, 200)
    members = tuple(Member(f"m{number}", cost, 1) for number, cost in enumerate(macs.tolist()))
    evaluator = CascadeEvaluator(Pool(members, labels, tuple(softmax), None), slots=3, grid=ThresholdGrid(31))
    exact = evaluator.objectives(exact_front(evaluator.tables, macs, 3)[0])
    evaluations = UniqueEvaluations(evaluator.objectives, 600_000, canonical)
    search(evaluations, row_alphabet(3, 3, 31), 0)
    assert evaluations.asked < 1_000_000
    assert 0.9 * count_cascades(3, 3, 31) < evaluations.used <= count_cascades(3, 3, 31) + 1
    assert len(set(map(tuple, exact.tolist())) - points(evaluations)) <= 1


@each_search
def test_a_single_row_is_the_end_at_once(search):
    evaluations = UniqueEvaluations(synthetic, 10)
    search(evaluations, (1, 1), 0)
    assert evaluations.used == 1


@each_search
def test_objectives_that_are_infinite_do_no_harm(search):
    """A cascade without members has infinite costs, and there may be many such rows at first."""

    def values(rows):
        found = synthetic(rows)
        found[rows[:, 0] > 2, 1] = np.inf
        return found

    evaluations = UniqueEvaluations(values, 2000)
    search(evaluations, ALPHABET, 0)
    assert evaluations.used == 2000
    assert np.isfinite(evaluations.archive.objectives).all()


@pytest.mark.parametrize("seed", range(3))
def test_mo_gomea_solves_linked_traps_where_random_search_does_not(seed: int):
    """2^30 rows whose genes count only by blocks of five: whoever tears blocks apart does not find their front."""
    found, at_random = (UniqueEvaluations(traps, 20_000) for _ in range(2))
    mo_gomea(found, [2] * BLOCKS * BITS, seed)
    random_rows(at_random, [2] * BLOCKS * BITS, seed)
    assert points(found) == TRAP_FRONT
    assert len(points(at_random) & TRAP_FRONT) < len(TRAP_FRONT) / 2


@pytest.mark.parametrize("seed", range(3))
def test_mo_gomea_finds_both_ends_of_a_long_front(seed: int):
    """Zeromax and onemax of 40 bits: all rows are equally good, so it is the extreme clusters that get to the ends."""
    found, at_random = (UniqueEvaluations(zeros_and_ones, 10_000) for _ in range(2))
    mo_gomea(found, [2] * 40, seed)
    random_rows(at_random, [2] * 40, seed)
    assert len(points(found)) == 41
    assert len(points(at_random)) < 32


@pytest.mark.parametrize("objectives", [1, 3])
def test_any_number_of_objectives(objectives: int):
    targets = np.array([[3, 3, 3, 9, 9], [9, 9, 9, 30, 30], [0, 18, 0, 50, 0]])[:objectives]

    def distances(rows):
        return np.abs(rows[:, None] - targets).sum(2).astype(float)

    found, at_random = (UniqueEvaluations(distances, 5000) for _ in range(2))
    mo_gomea(found, ALPHABET, 0)
    random_rows(at_random, ALPHABET, 0)
    assert (found.archive.objectives.min(0) < at_random.archive.objectives.min(0)).all()
