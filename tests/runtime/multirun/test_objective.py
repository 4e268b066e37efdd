"""What a sweeper is told of a job: a wrong number would lead it to the wrong networks, without a word."""

import pytest

from src.runtime.multirun.objective import objective

TABLE = [
    {"network": "base net", "val_error": "1.0", "macs": "900"},
    {"network": "found", "val_error": "5.0", "macs": "400"},
    {"network": "found", "val_error": "3.0", "macs": "400"},
    {"network": "found", "val_error": "4.0", "macs": "400"},
]
CANDIDATES = [{"error": "7.5", "macs": "10"}, {"error": "2.5", "macs": "30"}, {"error": "nan", "macs": "1"}]


@pytest.mark.parametrize(
    ("table", "candidates", "error", "macs"),
    [
        (TABLE, CANDIDATES, 4.0, 400),  # the found network, not the base, and not a lucky repeat
        ([{"network": "resnet20", "val_error": "6.0", "macs": "70"}], [], 6.0, 70),  # a training
        ([{"network": "found", "val_error": "", "macs": "400"}], CANDIDATES, 2.5, 30),  # not trained
        ([], CANDIDATES, 2.5, 30),
    ],
)
def test_it_is_the_validation_error_of_the_found_network(table, candidates, error, macs):
    assert objective(table, candidates) == error
    assert objective(table, candidates, with_macs=True) == (error, macs)


@pytest.mark.parametrize("candidates", [[], CANDIDATES[2:], [{"error": "inf", "macs": "3"}]])
def test_a_job_without_a_finite_error_is_worth_nothing(candidates):
    assert objective([{"network": "found", "val_error": "nan", "macs": "3"}], candidates) is None


def test_two_objectives_need_two_numbers():
    assert objective([{"network": "found", "val_error": "3.0", "macs": ""}], [], with_macs=True) is None
