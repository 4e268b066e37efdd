"""One bar for a whole fit: what it is doing, how far it is, how long it will take and the best so far.

When to use: always; it also serves plain training, testing and validation. Cost: a clock reading a batch. Where the
output is no terminal it prints plain lines instead: one an epoch, but not too often, one a candidate, one at the end.
"""

import math
import time
from collections import deque

from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.utilities.exceptions import SIGTERMException
from rich.console import Console

from src.errors import check_range
from src.reporting import quantities
from src.reporting.candidates import Candidate, best_candidate
from src.reporting.progress_display import ProgressDisplay, ProgressState

_RECENT = 10  # the remaining time follows from so many epochs: a search changes its network, and with it the speed


class SearchProgress(ProgressBar):
    """Shows the progress of a search, or of any other fit or test, on rank 0.

    The module may offer `phase()`, a short text such as "trial 2/6", and `candidates`, the list of what was evaluated;
    with `many_candidates = True` not each of them gets a line. `progress()` gives (done, total) candidates while they
    are evaluated without training, None else, `best_so_far` (error, MACs) before the first of them, and `doing` says
    in words what is predicted. Of a module without `phase()` callbacks may say theirs, as an attribute `phase`.
    Without candidates the best is the lowest "val/error" (in percent) that was logged. A `prefix` of the module, for
    example "found/", stands before the names of its metrics and says in the bar which network is trained.

    Args:
        refresh_per_second: redraws of the bar in a terminal.
        plain_every_seconds: without a terminal, the least time between two lines for epochs.
        console: where to show it; by default standard output. Whether it is a terminal decides between bar and lines.
    """

    def __init__(self, refresh_per_second: float = 4, plain_every_seconds: float = 10, console: Console | None = None):
        super().__init__()
        self.refresh_per_second = check_range("refresh_per_second", refresh_per_second, 0.1, 60)
        self.plain_every_seconds = check_range("plain_every_seconds", plain_every_seconds, 0)
        self._console = console
        self._enabled = True
        self._display: ProgressDisplay | None = None  # made at the start of a run, so that the callback can be pickled
        self._best_error = math.inf
        self._forget_run()

    def __repr__(self) -> str:
        values = f"refresh_per_second={self.refresh_per_second}, plain_every_seconds={self.plain_every_seconds}"
        return f"SearchProgress({values})"

    def _forget_run(self) -> None:
        self._done, self._total = 0, None  # batches
        self._epochs_done = 0
        self._evaluating_since: tuple[float, int] | None = None
        self._epoch_seconds: deque[float] = deque(maxlen=_RECENT)
        self._epoch_mark = self._drawn_at = self._line_at = time.monotonic()

    def disable(self):
        self._enabled = False

    def enable(self):
        self._enabled = True

    def print(self, *args, **kwargs):
        (self._display.console if self._display else Console()).print(*args, **kwargs)

    def state_dict(self) -> dict:
        return {"best_error": self._best_error}

    def load_state_dict(self, state_dict):
        self._best_error = state_dict["best_error"]

    def setup(self, trainer, pl_module, stage):
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._best_error = math.inf

    # A fit

    def on_train_start(self, trainer, pl_module):
        self._forget_run()
        self._count(trainer, pl_module)
        last = _last_epoch(trainer, pl_module)
        epochs = f"{_epochs(last)} of " if last > 0 else ""
        trains = last < 0 or trainer.current_epoch < last  # else it goes on without
        self._open(trainer, pl_module, f"{epochs}{trainer.num_training_batches} batches" if trains else "")

    def on_train_epoch_start(self, trainer, pl_module):
        self._count(trainer, pl_module)
        self._draw(trainer, pl_module)

    def _count(self, trainer, pl_module) -> None:
        """Batches done and in all; both follow from the trainer, so that they are right after a resume."""
        finite = math.isfinite(trainer.num_training_batches)
        batches = int(trainer.num_training_batches) if finite else 0
        self._epochs_done, self._done = trainer.current_epoch, trainer.current_epoch * batches
        last = _last_epoch(trainer, pl_module)
        limits = [last * batches] if finite and last > 0 else []
        if trainer.max_steps > 0:
            limits.append(self._done + (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches)
        self._total = min(limits, default=None)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._advance(trainer, pl_module)

    def on_validation_end(self, trainer, pl_module):
        error = trainer.callback_metrics.get(f"{getattr(pl_module, 'prefix', '')}val/error")
        if trainer.state.fn == "validate":
            self._finish(trainer, pl_module, "validated")
        elif not trainer.sanity_checking and error is not None and math.isfinite(error):
            self._best_error = min(float(error), self._best_error)

    def on_train_epoch_end(self, trainer, pl_module):
        now = time.monotonic()
        self._epoch_seconds.append(now - self._epoch_mark)
        self._epoch_mark = now
        self._epochs_done = trainer.current_epoch + 1
        self._draw(trainer, pl_module)
        if self._display and now - self._line_at >= self.plain_every_seconds:
            self._line_at = now
            self._display.line(self._state(trainer, pl_module))

    def on_candidate(self, trainer, pl_module, candidate: Candidate):
        """Called by the search after `candidate` has joined `pl_module.candidates`."""
        self._draw(trainer, pl_module)
        if self._display and self._worth_a_line(pl_module, candidate):
            costs = f"{quantities.amount(candidate.macs)} MACs, {quantities.amount(candidate.params)} parameters"
            result = f"candidate {candidate.id}: error {quantities.percent(candidate.error)} %, {costs}"
            self._line_at = time.monotonic()
            self._display.line(self._state(trainer, pl_module), before=result)

    def on_search_progress(self, trainer, pl_module):
        """Called now and then by a search that evaluates without candidates to tell of."""
        self._draw(trainer, pl_module)
        if self._display and time.monotonic() - self._line_at >= self.plain_every_seconds:
            self._line_at = time.monotonic()
            self._display.line(self._state(trainer, pl_module))

    def _worth_a_line(self, pl_module, candidate: Candidate) -> bool:
        """Where candidates are many: a new best one, or the first after some time."""
        if not getattr(pl_module, "many_candidates", False):
            return True
        new = best_candidate(pl_module.candidates) is candidate
        return new or time.monotonic() - self._line_at >= self.plain_every_seconds

    def on_train_end(self, trainer, pl_module):
        last = _last_epoch(trainer, pl_module)
        done = self._epochs_done if last < 0 else min(self._epochs_done, last)
        text = f"finished {_epochs(done)}" if done else "finished"
        if self._total is not None and self._done < self._total:
            of = f" of {last}" if last > 0 else ""
            text = f"stopped after {self._epochs_done}{of} epochs"
        self._finish(trainer, pl_module, text)

    def on_exception(self, trainer, pl_module, exception):
        told = isinstance(exception, (KeyboardInterrupt, SIGTERMException))
        word = "stopped" if told else "failed"
        self._finish(trainer, pl_module, f"{word} after {_epochs(self._epochs_done)}")

    def teardown(self, trainer, pl_module, stage):
        self._finish(trainer, pl_module, "ended")

    # A test, validation or prediction of its own

    def on_test_start(self, trainer, pl_module):
        self._begin(trainer, pl_module, trainer.num_test_batches)

    def on_test_batch_end(self, trainer, pl_module, *args, **kwargs):
        self._advance(trainer, pl_module)

    def on_test_end(self, trainer, pl_module):
        self._finish(trainer, pl_module, "tested")

    def on_validation_start(self, trainer, pl_module):
        if trainer.state.fn == "validate":
            self._begin(trainer, pl_module, trainer.num_val_batches)

    def on_validation_batch_end(self, trainer, pl_module, *args, **kwargs):
        if trainer.state.fn == "validate":
            self._advance(trainer, pl_module)

    def on_predict_start(self, trainer, pl_module):
        self._begin(trainer, pl_module, trainer.num_predict_batches)

    def on_predict_batch_end(self, trainer, pl_module, *args, **kwargs):
        self._advance(trainer, pl_module)

    def on_predict_end(self, trainer, pl_module):
        self._finish(trainer, pl_module, getattr(pl_module, "doing", "") or "predicted")

    # What they share

    def _begin(self, trainer, pl_module, batches: list) -> None:
        """Begins a test or the like, with `batches` of each loader."""
        self._forget_run()
        self._total = int(sum(batches)) if math.isfinite(sum(batches)) else None
        self._open(trainer, pl_module)

    def _open(self, trainer, pl_module, extent: str = "") -> None:
        if self._enabled:
            self._display = ProgressDisplay(self._console or Console(), self.refresh_per_second)
            self._display.start(self._state(trainer, pl_module), extent)

    def _advance(self, trainer, pl_module) -> None:
        self._done += 1
        if time.monotonic() - self._drawn_at >= 1 / self.refresh_per_second:
            self._draw(trainer, pl_module)

    def _draw(self, trainer, pl_module) -> None:
        self._drawn_at = time.monotonic()
        if self._display:
            self._display.update(self._state(trainer, pl_module))

    def _finish(self, trainer, pl_module, text: str) -> None:
        if self._display:
            self._display.finish(self._state(trainer, pl_module), text)
            self._display = None

    def _state(self, trainer, pl_module) -> ProgressState:
        doing = str(getattr(trainer.state.fn, "value", trainer.state.fn))
        if doing != "fit":
            named = getattr(pl_module, "doing", "") or "predicting"
            phase = {"test": "testing", "validate": "validating"}.get(doing, named)
            return ProgressState(phase, done=self._done, total=self._total)
        phase = f"training {getattr(pl_module, 'prefix', '').rstrip('/')}".strip()
        told = [text for text in (getattr(callback, "phase", "") for callback in trainer.callbacks) if text]
        phase = ", ".join([phase, *told])
        if callable(getattr(pl_module, "phase", None)):
            phase = str(pl_module.phase())
        evaluated = pl_module.progress() if callable(getattr(pl_module, "progress", None)) else None
        if evaluated is not None:
            return self._evaluating(phase, *evaluated, self._best(pl_module))
        epoch, last = trainer.current_epoch + 1, _last_epoch(trainer, pl_module)
        place = f"epoch {min(epoch, last)}/{last}" if last > 0 else f"epoch {epoch}"
        remaining = None
        if self._epoch_seconds and self._total is not None:
            batch_seconds = sum(self._epoch_seconds) / len(self._epoch_seconds) / max(trainer.num_training_batches, 1)
            remaining = max(self._total - self._done, 0) * batch_seconds
        return ProgressState(phase, place, self._done, self._total, remaining, self._best(pl_module))

    def _evaluating(self, phase: str, done: int, total: int, best: str) -> ProgressState:
        """Of a search that goes on without training: `done` of `total` candidates, as fast as since the first look."""
        now = time.monotonic()
        self._evaluating_since = self._evaluating_since or (now, done)
        began, first = self._evaluating_since
        remaining = (now - began) / (done - first) * (total - done) if done > first else 0 if done >= total else None
        return ProgressState(phase, f"{done}/{total}", done, total, remaining, best)

    def _best(self, pl_module) -> str:
        best = best_candidate(getattr(pl_module, "candidates", []))
        found = (best.error, best.macs) if best else getattr(pl_module, "best_so_far", None)
        if found:
            return f"best {quantities.percent(found[0])} % at {quantities.amount(found[1])} MACs"
        return f"best {quantities.percent(self._best_error)} %" if math.isfinite(self._best_error) else ""


def _last_epoch(trainer, pl_module) -> int:
    """How many epochs of training there are; after them a search may go on in an epoch without any."""
    return getattr(pl_module, "epochs", trainer.max_epochs)


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
