"""How progress is shown: one live bar in a terminal, single plain lines in a log. Knows nothing of training."""

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.text import Text

from src.reporting.quantities import clock


@dataclass
class ProgressState:
    """What a display shows.

    Args:
        phase: what is being done, for example "trial 2/6".
        place: where in the work it is, for example "epoch 3/30"; may be empty.
        done, total: steps; a total of None means that nobody knows.
        remaining: seconds, None where not known.
        best: the best so far, for example "best 1.39 %"; may be empty.
    """

    phase: str
    place: str = ""
    done: int = 0
    total: int | None = None
    remaining: float | None = None
    best: str = ""


class _ClockColumn(ProgressColumn):
    """Elapsed and remaining time; both run on between two updates."""

    def render(self, task) -> Text:
        fields = task.fields
        now = fields["ended"] or time.monotonic()
        elapsed = clock(now - fields["started"])
        if fields["ended"]:
            return Text(elapsed)
        left = clock(max(0.0, fields["end"] - now)) if fields["end"] else "?"
        return Text(f"{elapsed}, {left} left")


class ProgressDisplay:
    """Shows a `ProgressState`: `start`, then `update` and `line` as often as wished, then `finish` once.

    In a terminal `update` moves the bar and `line` does nothing; elsewhere `line` prints and `update` does nothing.
    """

    def __init__(self, console: Console, refresh_per_second: float):
        self.console = console
        self.refresh_per_second = refresh_per_second
        self.live = console.is_terminal
        self.started = time.monotonic()
        self._progress: Progress | None = None
        self._task = None
        self._redirected: list[tuple[logging.StreamHandler, TextIO]] = []

    def start(self, state: ProgressState, extent: str = "") -> None:
        """Opens the bar; without a terminal prints what is about to be done, where `extent` says how much it is."""
        self.started = time.monotonic()
        if not self.live:
            if extent:
                self._print([f"{state.phase}: {extent}"])
            return
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[place]}", markup=False),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            _ClockColumn(),
            TextColumn("{task.fields[best]}", markup=False),
            console=self.console,
            refresh_per_second=self.refresh_per_second,
            expand=True,
        )
        fields = {"place": state.place, "best": state.best, "started": self.started, "end": None, "ended": None}
        self._task = self._progress.add_task(state.phase, total=state.total, completed=state.done, **fields)
        streams = sys.stdout, sys.stderr
        self._progress.start()
        self._redirected = _redirect_log(streams, (sys.stdout, sys.stderr))

    def update(self, state: ProgressState) -> None:
        """Brings a running bar to `state`."""
        if self._progress is not None:
            end = None if state.remaining is None else time.monotonic() + state.remaining
            self._progress.update(
                self._task,
                description=state.phase,
                completed=state.done,
                total=state.total,
                place=state.place,
                best=state.best,
                end=end,
                refresh=True,
            )

    def line(self, state: ProgressState, before: str = "") -> None:
        """Prints the state as one line, without control characters and never wrapped, `before` in front of it."""
        if self.live:
            return
        share = f"{100 * state.done / state.total:.0f} %" if state.total else ""
        times = f"{clock(time.monotonic() - self.started)} elapsed, {clock(state.remaining)} left"
        self._print([before, state.phase, state.place, share, times, state.best])

    def finish(self, state: ProgressState, text: str) -> None:
        """Ends with `text` in the place of the phase; the bar stays on the screen where it is."""
        now = time.monotonic()
        if self._progress is not None:
            self.update(state)
            self._progress.update(self._task, description=text, place="", ended=now)
            self._progress.stop()
            for handler, stream in self._redirected:
                handler.setStream(stream)
            self._progress, self._redirected = None, []
        elif not self.live:
            self._print([f"{text} in {clock(now - self.started)}", state.best])

    def _print(self, parts: list[str]) -> None:
        text = ", ".join(part for part in parts if part)
        self.console.print(text, markup=False, highlight=False, soft_wrap=True, emoji=False)


def _redirect_log(old: Sequence[TextIO], new: Sequence[TextIO]) -> list[tuple[logging.StreamHandler, TextIO]]:
    """Lets log handlers that write to the streams `old` write to `new`; returns them with what they had.

    rich prints above the bar what goes to sys.stdout and sys.stderr, but a handler holds the stream of its making and
    would write into the bar.
    """
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = {handler for logger in loggers for handler in getattr(logger, "handlers", [])}
    changed = []
    for handler in handlers:
        stream = getattr(handler, "stream", None) if isinstance(handler, logging.StreamHandler) else None
        for before, after in zip(old, new, strict=True):
            if stream is not None and stream is before and after is not before:
                changed.append((handler, stream))
                handler.setStream(after)
                break
    return changed
