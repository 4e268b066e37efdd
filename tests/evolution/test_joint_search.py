"""ENCAS-joint: what joint rows mean, what the surrogate predicts of them, and what the search makes of that."""

import numpy as np
import pytest
from moocore import hypervolume
from scipy.stats import spearmanr

from src.evolution.dominance import nondominated
from src.evolution.joint_proposals import propose_joint
from src.evolution.joint_rows import JointRows
from src.evolution.joint_surrogate import JointSurrogate
from src.evolution.nsga2_rows import nsga2

ALPHABETS = ((5, 5, 1, 5), (4, 4, 4))
LAYOUT = JointRows(ALPHABETS)
CANONICALS = (None, lambda rows: np.sort(rows, axis=1))
MACS = [lambda rows: 100 * (3 + rows.sum(1)), lambda rows: 100 * (1 + rows.sum(1))]


def rows_of(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).integers(LAYOUT.alphabet, size=(count, len(LAYOUT.alphabet)))
    return LAYOUT.canonical(rows, CANONICALS)


def measured(rows: np.ndarray):
    """Errors (n, 2), cascade errors (n,), MACs (n, 2), average MACs (n,), as of networks that agree on nothing."""
    parts, positions, thresholds = LAYOUT.split(rows)
    macs = np.stack([count(part) for count, part in zip(MACS, parts, strict=True)], axis=1)
    errors = 1 / (2 + macs / 300)
    order = LAYOUT.order(positions)
    first, second = np.take_along_axis(errors, order, 1).T
    reach = np.take_along_axis((thresholds + 1) / 10, order, 1)[:, 0] ** 2
    costs = np.take_along_axis(macs, order, 1)
    return errors, first * (1 - 0.5 * reach) + 0.3 * second * reach, macs, costs[:, 0] + reach * costs[:, 1]


def fitted(rows: np.ndarray, **options) -> JointSurrogate:
    return JointSurrogate(LAYOUT, members=30, **options).fit(rows, *measured(rows))


def test_the_layout_of_a_row():
    """Genes of every super-net, then positions, then thresholds: what is stored means the same in every run."""
    assert LAYOUT.alphabet.tolist() == [5, 5, 1, 5, 4, 4, 4, 2, 2, 10, 10]
    rows = np.arange(22).reshape(2, 11)
    parts, positions, thresholds = LAYOUT.split(rows)
    assert [part[0].tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6]]
    assert positions[0].tolist() == [7, 8]
    assert thresholds[1].tolist() == [20, 21]
    assert np.array_equal(LAYOUT.joined(parts, positions, thresholds), rows)


def test_order_is_by_decreasing_position_and_of_ties_the_later_net_is_first():
    assert LAYOUT.order(np.array([[1, 0, 2], [0, 0, 0], [2, 2, 1]])).tolist() == [[2, 0, 1], [2, 1, 0], [1, 0, 2]]


def test_canonical_rows_mean_what_the_given_ones_mean():
    """Rows of one cascade would be evaluated several times; and a canonical form that changes the order, wrongly."""
    layout = JointRows([(3,), (3,), (3,)])
    rows = np.random.default_rng(0).integers(layout.alphabet, size=(200, 9))
    found = layout.canonical(rows, [None] * 3)
    assert np.array_equal(layout.canonical(found, [None] * 3), found)
    (parts, positions, thresholds), (same, ranks, kept) = layout.split(rows), layout.split(found)
    order = layout.order(positions)
    assert np.array_equal(layout.order(ranks), order)
    assert np.array_equal(np.sort(ranks, axis=1), np.tile([0, 1, 2], (200, 1)))
    assert np.array_equal(np.concatenate(parts), np.concatenate(same))
    used = order[:, :-1]
    assert np.array_equal(np.take_along_axis(kept, used, 1), np.take_along_axis(thresholds, used, 1))
    assert (np.take_along_axis(kept, order[:, -1:], 1) == 9).all()
    assert np.array_equal(LAYOUT.split(rows_of(50))[0][1], np.sort(LAYOUT.split(rows_of(50))[0][1], axis=1))


@pytest.mark.parametrize("subsets", [True, False])
def test_the_surrogate_orders_cascades_that_it_has_not_seen(subsets: bool):
    """And all inputs at once do it better than random subsets of so few."""
    asked = rows_of(300, seed=1)
    _, error, macs, cost = measured(asked)
    predicted = fitted(rows_of(120), subsets=subsets).predict(asked, macs)
    least = 0.8 if subsets else 0.95
    assert spearmanr(predicted[:, 0], error).statistic > least
    assert spearmanr(predicted[:, 1], cost).statistic > least
    first = np.take_along_axis(macs, LAYOUT.order(LAYOUT.split(asked)[1])[:, :1], 1)[:, 0]
    assert (first <= predicted[:, 1]).all()
    assert (predicted[:, 1] <= macs.sum(1)).all()


def test_sub_nets_that_were_predicted_before_are_not_predicted_again():
    """A proposal of 10,000 rows takes seconds because of that; a new fit must forget it, though."""
    rows, asked = rows_of(60), rows_of(40, seed=1)
    surrogate, counts = fitted(rows), []
    parts = LAYOUT.split(asked)[0]
    expected = np.stack([net.predict(part) for net, part in zip(surrogate.nets, parts, strict=True)], axis=1)
    for net in surrogate.nets:
        predict = net.predict
        net.predict = lambda some, predict=predict: counts.append(len(some)) or predict(some)
    for some in (asked[:25], asked, asked):
        assert np.allclose(surrogate.net_errors(LAYOUT.split(some)[0]), expected[: len(some)], rtol=0, atol=1e-10)
    assert sum(counts) == sum(len(np.unique(part, axis=0)) for part in parts)
    errors, *others = measured(rows)
    surrogate.fit(rows, errors + 1, *others)
    assert np.allclose(surrogate.net_errors(parts), expected + 1, atol=1e-6)


def test_proposals_are_the_front_of_the_budget_and_better_than_random_rows():
    """The rows are canonical, their MACs those of the super-nets' sub-nets, and an equal seed proposes the same."""
    surrogate, used = fitted(rows_of(80), subsets=False), []
    rows, objectives = propose_joint(surrogate, MACS, CANONICALS, 0, evaluations=3000, report=used.append)
    assert used[-1] == 3000
    assert np.array_equal(LAYOUT.canonical(rows, CANONICALS), rows)
    assert np.allclose(objectives, surrogate.predict(rows, measured(rows)[2]), rtol=1e-9)
    assert len(nondominated(objectives)) == len(rows)
    at_random = rows_of(3000, seed=2)
    at_random = surrogate.predict(at_random, measured(at_random)[2])
    worst = at_random.max(0)
    assert hypervolume(objectives, ref=worst) > hypervolume(at_random, ref=worst)
    runs = [propose_joint(surrogate, MACS, CANONICALS, seed, 200, search=nsga2)[0] for seed in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_more_proposals_than_the_front_has():
    """An archive of 300 is to be filled from fronts of twenty rows; rows to start with are among those to choose."""
    surrogate, start = fitted(rows_of(80)), rows_of(10, seed=3)
    rows, objectives = propose_joint(surrogate, MACS, CANONICALS, 0, evaluations=200, start=start, count=190)
    assert rows.shape == (190, 11)
    assert objectives.shape == (190, 2)
    assert len(np.unique(rows, axis=0)) == 190
    kept = set(map(tuple, rows.tolist()))
    assert len(kept & set(map(tuple, start.tolist()))) >= 5
