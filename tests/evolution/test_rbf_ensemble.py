"""The RBF ensemble against one member after the other by scipy, and what it does with rows that are hard to fit."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator

from src.evolution.rbf_ensemble import RBFEnsemble
from src.evolution.rbf_members import draw_members

ALPHABET = np.array([17, 1, 2, 2] + [10] * 8)
ETA = 1e-6


def rows_of(count: int, alphabet=ALPHABET, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(alphabet, size=(count, len(alphabet)))


def smooth(rows: np.ndarray, alphabet=ALPHABET) -> np.ndarray:
    """Like errors of sub-nets: each gene helps, the less the better the others are; not linear."""
    worth = (rows / alphabet) @ np.linspace(0.2, 1, len(alphabet))
    return 1 / (1 + worth) + 0.1 * (rows[:, -1] / 10) * (rows[:, -2] / 10)


def one_by_one(rows, values, genes, asked, alphabet) -> np.ndarray:
    """Predictions (M, m) of members (M, d), each fitted by scipy on the first of its equal rows."""
    found = []
    for mask in genes:
        own, first = np.unique(rows[:, mask] / alphabet[mask], axis=0, return_index=True)
        member = RBFInterpolator(own, values[first], kernel="cubic", degree=1, smoothing=ETA)
        found.append(member(asked[:, mask] / alphabet[mask]))
    return np.array(found)


@pytest.mark.parametrize("count", [60, 15])
def test_every_member_is_the_interpolant_that_scipy_fits(count: int):
    """Padding, grouping and squared distances by products must not change a member: 1e-8 of the values' range."""
    rows, asked = rows_of(count), rows_of(40, seed=1)
    ensemble = RBFEnsemble(ALPHABET, 60, ETA, seed=3).fit(rows, smooth(rows))
    genes, _ = draw_members(rows / ALPHABET, 60, np.random.default_rng(3))
    expected = one_by_one(rows, smooth(rows), genes, asked, ALPHABET)
    assert np.abs(ensemble.predictions(asked) - expected).max() < 1e-8 * np.ptp(expected)
    assert np.allclose(ensemble.predict(asked), np.median(expected, axis=0), rtol=0, atol=1e-9)


def test_order_of_rows_that_were_never_seen():
    """Better than a linear model, the tail alone, and than the nearest row: else the ensemble is not worth its name."""
    rows, asked = rows_of(200), rows_of(500, seed=1)
    predicted = RBFEnsemble(ALPHABET, 100).fit(rows, smooth(rows)).predict(asked)
    columns = np.c_[rows, np.ones(len(rows))]
    linear = np.c_[asked, np.ones(len(asked))] @ np.linalg.lstsq(columns, smooth(rows), rcond=None)[0]
    nearest = smooth(rows)[((asked[:, None] - rows) ** 2).sum(2).argmin(1)]
    correlations = [np.corrcoef(found, smooth(asked))[0, 1] for found in (predicted, linear, nearest)]
    assert correlations[0] > max(0.93, *correlations[1:])


def test_values_that_are_known_are_all_but_kept():
    """eta smooths very little; of equal rows the first one's value counts, not the last one's or their mean."""
    rows = np.concatenate([rows_of(50), rows_of(50)])
    values = np.concatenate([smooth(rows[:50]), np.full(50, 99.0)])
    ensemble = RBFEnsemble(ALPHABET, 5, smallest=len(ALPHABET)).fit(rows, values)
    assert np.allclose(ensemble.predict(rows[:50]), values[:50], atol=1e-4)


def test_seed_alone_decides_and_rows_are_predicted_alike_in_batches_of_any_size():
    """Ranks predict the same; MO-GOMEA asks for few rows at a time, NSGA-III for many."""
    rows, asked = rows_of(40), rows_of(30, seed=1)

    def predicted(seed):
        return RBFEnsemble(ALPHABET, 30, seed=seed).fit(rows, smooth(rows)).predict(asked)

    first = predicted(0)
    np.random.default_rng().random()
    assert np.array_equal(first, predicted(0))
    assert not np.allclose(first, predicted(1), rtol=0, atol=1e-6)
    ensemble = RBFEnsemble(ALPHABET, 30).fit(rows, smooth(rows))
    single = [ensemble.predict(row[None])[0] for row in asked]
    assert np.allclose(single, first, rtol=0, atol=1e-12)
    assert ensemble.predict(asked[:0]).shape == (0,)


def test_threads_change_nothing_and_are_given_back():
    """Training goes on with as many threads as it had, and a machine with more cores predicts the same."""
    rows, before, found = rows_of(40), torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(RBFEnsemble(ALPHABET, 30).fit(rows, smooth(rows)).predict(rows_of(30, seed=1)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*found)


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_fewer_rows_than_genes(count: int):
    """NAT starts with few sub-nets: members with as many genes as rows would be drawn again for ever."""
    rows = rows_of(count)
    predicted = RBFEnsemble(ALPHABET, 40).fit(rows, smooth(rows)).predict(rows_of(20, seed=1))
    assert np.isfinite(predicted).all()
    assert (np.ptp(predicted) > 0) == (count > 1)


def test_genes_that_do_not_vary_or_repeat_others_do_no_harm():
    """They make systems singular: a constant gene and the constant of the tail are one, and so are twins."""
    rows, asked = rows_of(60), rows_of(50, seed=1)
    rows[:, 2] = 1  # no row of the archive has another value here
    rows[:, 3], asked[:, 3] = rows[:, 4], asked[:, 4]
    alphabet = np.concatenate([ALPHABET, [1, 1]])
    values = smooth(rows)
    predicted = RBFEnsemble(alphabet, 200).fit(np.pad(rows, ((0, 0), (0, 2))), values)
    predicted = predicted.predict(np.pad(asked, ((0, 0), (0, 2))))
    assert np.isfinite(predicted).all()
    assert np.corrcoef(predicted, smooth(asked))[0, 1] > 0.9


def test_rows_that_are_all_equal_predict_their_median():
    rows = np.repeat(rows_of(1), 3, axis=0)
    assert RBFEnsemble(ALPHABET, 10).fit(rows, np.array([1.0, 5.0, 2.0])).predict(rows_of(2)).tolist() == [2, 2]


def test_no_rows_or_values_that_are_not_finite_are_refused():
    for rows, values in ((rows_of(0), []), (rows_of(2), [1.0, np.nan]), (rows_of(2), [1.0])):
        with pytest.raises(ValueError, match="finite"):
            RBFEnsemble(ALPHABET, 10).fit(rows, values)


def test_members_have_more_distinct_rows_than_genes_and_numbers_of_genes_are_uniform():
    """The law of section 1.5 of the specification: |F| uniform in 1..d, drawn again where rows are too few."""
    genes, first = draw_members(rows_of(100, [10] * 12).astype(float), 3000, np.random.default_rng(0))
    sizes = np.bincount(genes.sum(1), minlength=13)[1:]
    assert np.abs(sizes / 3000 - 1 / 12).max() < 0.03  # six standard deviations
    assert np.abs(genes.mean(0) - 6.5 / 12).max() < 0.06
    few = rows_of(8, [10] * 12)
    genes, first = draw_members(few.astype(float), 200, np.random.default_rng(0))
    for mask, known in zip(genes, first, strict=True):
        distinct, places = np.unique(few[:, mask], axis=0, return_index=True)
        assert len(distinct) > mask.sum()
        assert np.array_equal(np.sort(places), np.flatnonzero(known))
    assert genes.sum(1).max() == 7
