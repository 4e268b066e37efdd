"""A job of a multirun as a process of its own: started, watched, stopped together with the multirun.

The process leads a group of its own, so that Ctrl-C in the terminal reaches it once, through us, and so that its ranks
and workers can be ended with it.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

SECONDS_TO_END = 30.0  # for a job that is told to stop: it saves a checkpoint
_SECONDS_FOR_GROUP = 5.0  # for the other ranks once the first has ended
_SECONDS_BETWEEN_LOOKS = 0.05
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class StopSign:
    """Says to all processes of a multirun that it ends; they share a folder, not a parent.

    Args:
        folder: of this multirun only. On another machine it is not there, and no sign is ever seen.
    """

    def __init__(self, folder: str):
        self.folder = folder

    def put_up(self, number: int) -> None:
        """Tells the jobs to end by signal `number`; told twice, they are killed."""
        name = "again" if self.number() else "signal"
        with contextlib.suppress(OSError):
            Path(self.folder, name).write_text(str(int(number)))

    def number(self) -> int | None:
        """The signal by which the jobs have to end; None while they may run."""
        try:
            return int(Path(self.folder, "signal").read_text())
        except (OSError, ValueError):
            return None

    def is_urgent(self) -> bool:
        """Whether the jobs have to end at once."""
        return Path(self.folder, "again").exists()


def run_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: str,
    stop: StopSign,
    prefix: str | None = None,
    with_parent: bool = False,
) -> int:
    """Runs `command` to its end and returns its exit code, negative where a signal killed it.

    Args:
        command: the program and its arguments.
        environment: of the process, all of it.
        folder: that it is started in.
        stop: once it is up, the process gets the signal, and SIGKILL when it has not ended 30 seconds later.
        prefix: of each line that it prints; without one, it writes to our own terminal or file itself.
        with_parent: whether the multirun ends when the parent of this process dies, as a worker's does.
    """
    pipe = subprocess.PIPE if prefix is not None else None
    process = subprocess.Popen(
        command,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )
    readers = []
    if prefix is not None:
        readers = [_reader(process.stdout, 1, prefix), _reader(process.stderr, 2, prefix)]
    try:
        return _wait(process, stop, os.getppid() if with_parent else None)
    finally:
        _end_group(process)
        for reader in readers:
            reader.join(timeout=_SECONDS_FOR_GROUP)


def _end_with_parent() -> None:
    """Runs in the new process: it gets SIGTERM when we die without having told it."""
    if _LIBC is not None:
        _LIBC.prctl(_PARENT_DEATH_SIGNAL, int(signal.SIGTERM))


def _wait(process: subprocess.Popen, stop: StopSign, parent: int | None) -> int:
    told_at = None
    while process.poll() is None:
        if parent is not None and os.getppid() != parent and stop.number() is None:
            stop.put_up(signal.SIGTERM)
        if told_at is None and stop.number() is not None:
            told_at = time.monotonic()
            process.send_signal(stop.number())
        if told_at is not None and (stop.is_urgent() or time.monotonic() - told_at > SECONDS_TO_END):
            _signal_group(process, signal.SIGKILL)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return process.returncode


def _end_group(process: subprocess.Popen) -> None:
    """Ends what the process has left behind; another rank may still be ending by itself."""
    if process.poll() is None:  # an exception has ended the wait
        _signal_group(process, signal.SIGKILL)
        process.wait()
        return
    deadline = time.monotonic() + _SECONDS_FOR_GROUP
    while _signal_group(process, 0) and time.monotonic() < deadline:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen, number: int) -> bool:
    """Sends a signal to all processes of the group (0: to none); False where none is left."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of ended processes
        return False
    return True


def _reader(stream: IO[bytes], target: int, prefix: str) -> threading.Thread:
    """Starts to copy lines from `stream` to the file descriptor `target`, each with the prefix and in one piece."""

    def copy() -> None:
        for line in stream:
            with contextlib.suppress(OSError):  # nobody reads any more: the job goes on
                os.write(target, prefix.encode() + line.rstrip(b"\n") + b"\n")

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread
