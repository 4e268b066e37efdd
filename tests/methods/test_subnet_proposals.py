"""The next archive of sub-nets: new, different, within the bound, and better by what the surrogate has seen."""

import numpy as np
import pytest

from src.errors import UserError
from src.evolution.budget import keys
from src.methods.subnet_draws import distinct_rows
from src.methods.subnet_proposals import Proposals
from src.spaces.subnet_space import SubnetSpace
from tests.evolving import ELASTIC

WAYS = [("nsga3", "rbf_ensemble"), ("nsga2", "rbf_ensemble"), ("nsga3", "none"), ("random", "none")]


@pytest.fixture(scope="module")
def space() -> SubnetSpace:
    return SubnetSpace({**ELASTIC, "space": "tiny_images"}, (1, 8, 8))


@pytest.fixture(scope="module")
def archive(space):
    """Rows, and errors that fall with MACs, in percent."""
    rows = distinct_rows(space, 30, space.reachable()[1], 0)
    return rows, 60 - 40 * space.macs_of(rows) / space.reachable()[1]


@pytest.mark.parametrize(("searcher", "surrogate"), WAYS)
@pytest.mark.parametrize("anew", [False, True])
def test_archives_are_different_rows_within_the_bound(space, archive, searcher, surrogate, anew):
    """A row twice would be trained twice and judged once; one over the bound is none that was asked for."""
    rows, errors = archive
    most = int(np.median(space.macs_of(rows)))
    within = space.macs_of(rows) <= most
    proposals = Proposals(searcher, surrogate, evaluations=200, population=12, members=20)
    given = (space, rows[within], errors[within], 8, most, 1)
    found, predicted = proposals.next_archive(*given, anew=anew)
    assert len(found) == len(set(keys(found))) == 8
    assert np.array_equal(found, space.canonical(found))
    assert space.macs_of(found).max() <= most
    assert len(predicted) == (8 if proposals.models else 0)
    if anew:  # with weights that stay an old row says nothing new
        assert not set(keys(found)) & set(keys(rows[within]))
    again, _ = proposals.next_archive(*given, anew=anew)
    assert np.array_equal(found, again)


def test_a_surrogate_finds_more_of_the_front_than_chance(space, archive):
    """Without it, errors would play no part in what comes next."""
    rows, _ = archive
    errors = 60 - 40 * (rows == space.largest).mean(1)
    found, predicted = Proposals(evaluations=600, population=20, members=50).next_archive(
        space, rows, errors, 8, space.reachable()[1], 0, anew=True
    )
    drawn, _ = Proposals("random", "none", survivors=0).next_archive(space, rows, errors, 8, space.reachable()[1], 0)

    def alike(some) -> float:
        return float((some == space.largest).mean(1).max())

    assert alike(found) > alike(drawn)
    assert np.corrcoef(predicted, (found == space.largest).mean(1))[0, 1] < -0.5


def test_the_best_of_the_archive_stay_where_there_is_no_surrogate(space, archive):
    rows, errors = archive
    found, _ = Proposals("random", "none", survivors=0.5).next_archive(space, rows, errors, 8, 10**9, 0)
    stayed = set(keys(found)) & set(keys(rows))
    assert len(stayed) == 4
    assert keys(rows[[errors.argmin()]])[0] in stayed


def test_errors_that_are_no_numbers_take_no_part(space, archive):
    rows, errors = archive
    spoilt = np.where(np.arange(len(rows)) % 2, errors, np.nan)
    found, predicted = Proposals(evaluations=100, population=8, members=10).next_archive(
        space, rows, spoilt, 5, space.reachable()[1], 0
    )
    assert len(found) == 5
    assert np.isfinite(predicted).all()
    with pytest.raises(UserError, match="too few sub-nets"):
        Proposals().next_archive(space, rows, np.full(len(rows), np.nan), 5, 10**9, 0)


def test_the_first_archive_holds_both_ends_where_the_bound_allows(space):
    """The two ends tell a surrogate how far errors reach."""
    least, most = space.reachable()
    rows = distinct_rows(space, 6, most, 0)
    assert space.macs_of(rows[:2]).tolist() == [most, least]
    assert len(set(keys(rows))) == 6
    bounded = distinct_rows(space, 6, 2 * least, 0)  # hardly any uniform draw is as small
    assert len(bounded) == 6
    assert space.macs_of(bounded).max() <= 2 * least
    assert len(distinct_rows(space, 6, least, 0)) < 6
