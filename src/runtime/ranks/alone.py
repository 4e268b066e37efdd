"""Work that one process does while the others wait for it, all of them awake.

Ranks that wait in a collective operation for minutes run into its timeout, and see no signal. Here the work runs in a
thread of rank 0, and all ranks meet a few times a second.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from src.errors import UserError
from src.runtime.ranks.agreement import gathered

Result = TypeVar("Result")
BEAT_S = 0.5  # between two meetings
_PATIENCE_S = 20  # with work that was told to stop


class Stopped(Exception):
    """Raised within the work, by `Stop.check`, once the run was told to stop."""


class Stop:
    """What the work asks now and then whether it should go on."""

    def __init__(self) -> None:
        self._told = threading.Event()

    def tell(self) -> None:
        self._told.set()

    def check(self) -> None:
        if self._told.is_set():
            raise Stopped


def done_by_first(
    trainer: pl.Trainer,
    work: Callable[[Stop], Result],
    meanwhile: Callable[[], bool] = lambda: False,
    save: Callable[[], None] = lambda: None,
) -> Result:
    """What `work` returns on rank 0, on all ranks; call it on all.

    Args:
        work: gets a `Stop` to look at; its result can be pickled.
        meanwhile: called on rank 0 at each meeting; whether it is time to save.
        save: called on all ranks, then and when the run is told to stop.

    Raises:
        SIGTERMException: the run was told to stop, on whatever rank.
        what `work` raised, on every rank.
    """
    stop, outcome = Stop(), {}
    thread = threading.Thread(target=_run, args=(work, stop, outcome), daemon=True, name="alone")
    first = trainer.is_global_zero
    if first:
        thread.start()
    try:
        done = False
        while not done:
            if first:
                thread.join(BEAT_S)
            ended = first and not thread.is_alive()  # before its result is looked at
            done, due = gathered((ended, first and not ended and meanwhile()))[0]
            trainer._signal_connector.agree()
            if trainer.received_sigterm and not done:
                stop.tell()
                if first:
                    thread.join(_PATIENCE_S)
                save()
                raise SIGTERMException
            if due and not done:
                save()
    finally:
        stop.tell()  # whatever has happened here, Ctrl-C say
    failure = outcome.get("failure")
    told = None if failure is None else (isinstance(failure, UserError), f"{type(failure).__name__}: {failure}")
    result, told = gathered((outcome.get("result"), told))[0]
    if failure is not None:
        raise failure
    if told is not None:
        users, text = told
        raise UserError(text.partition(": ")[2]) if users else RuntimeError(f"rank 0: {text}")
    return result


def _run(work: Callable[[Stop], Any], stop: Stop, outcome: dict[str, Any]) -> None:
    try:
        outcome["result"] = work(stop)
    except BaseException as error:  # whatever it is, it is raised where it is waited for
        outcome["failure"] = error
