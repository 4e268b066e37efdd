"""Work of rank 0 in a thread: its result, its failures, and the signal that ends it."""

import time
from types import SimpleNamespace

import pytest
from pytorch_lightning.utilities.exceptions import SIGTERMException

import src.runtime.ranks.alone as alone
from src.errors import UserError
from src.runtime.ranks.alone import Stopped, done_by_first


def trainer(told=lambda: False) -> SimpleNamespace:
    """A trainer of one process; `told` says whether a signal has come."""
    made = SimpleNamespace(is_global_zero=True, received_sigterm=False)

    def agree() -> None:
        made.received_sigterm = told()

    made._signal_connector = SimpleNamespace(agree=agree)
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(alone, "BEAT_S", 0.01)


def test_the_result_is_that_of_the_work_and_it_is_saved_when_it_is_time():
    saved = []
    result = done_by_first(trainer(), lambda stop: time.sleep(0.1) or 7, lambda: True, lambda: saved.append(1))
    assert result == 7
    assert saved


def test_a_failure_is_raised_where_it_is_waited_for():
    def failing(stop) -> None:
        raise UserError("the pool is empty")

    with pytest.raises(UserError, match="the pool is empty"):
        done_by_first(trainer(), failing)


def test_a_signal_stops_the_work_and_saves_after_it():
    """Saved while the work goes on, a state would lack its last batch, or hold half of it."""
    seen = []

    def endless(stop) -> None:
        try:
            while True:
                stop.check()
                time.sleep(0.001)
        except Stopped:
            seen.append("stopped")
            raise

    began = time.monotonic()
    with pytest.raises(SIGTERMException):
        done_by_first(trainer(lambda: time.monotonic() - began > 0.05), endless, save=lambda: seen.append("saved"))
    assert seen == ["stopped", "saved"]
